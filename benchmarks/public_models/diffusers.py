"""Denoisers and autoencoders of diffusers."""

from __future__ import annotations

import diffusers
import torch

from public_models.case import Builder, Case, images, regression, to_noise

_BLOCKS = {"block_out_channels": (32, 64), "layers_per_block": 1, "norm_num_groups": 8}


def _steps(batch: int = 2) -> torch.Tensor:
    return torch.randint(1000, (batch,))


def unet2d() -> Case:
    """Return the U-Net of unconditional diffusion."""
    model = diffusers.UNet2DModel(
        sample_size=32,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        **_BLOCKS,
    )
    return regression(model, (images(2, size=32), _steps()))


_CROSS = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "cross_attention_dim": 32,
    "attention_head_dim": 8,
    **_BLOCKS,
}


def unet2d_condition() -> Case:
    """Return Stable Diffusion's U-Net."""
    model = diffusers.UNet2DConditionModel(
        sample_size=16, up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **_CROSS
    )
    return regression(model, (images(2, 4, 16), _steps(), torch.randn(2, 8, 32)))


def controlnet() -> Case:
    """Return a ControlNet, whose output layers start at 0."""
    model = diffusers.ControlNetModel(conditioning_embedding_out_channels=(16, 32), **_CROSS)
    inputs = {
        "sample": images(2, 4, 16),
        "timestep": _steps(),
        "encoder_hidden_states": torch.randn(2, 8, 32),
        "controlnet_cond": images(2, 3, 32),
        "return_dict": False,
    }
    return Case(model, inputs, None, _all_to_noise)


def _all_to_noise(output: tuple[list[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    residuals, middle = output
    return sum(map(to_noise, residuals), to_noise(middle))


def unet1d() -> Case:
    """Return a U-Net of sequences."""
    model = diffusers.UNet1DModel(
        sample_size=64,
        in_channels=2,
        out_channels=2,
        extra_in_channels=64,
        block_out_channels=(32, 32, 64),
    )
    return regression(model, (torch.randn(2, 2, 64), _steps()))


def autoencoder_kl() -> Case:
    """Return Stable Diffusion's autoencoder."""
    model = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        **_BLOCKS,
    )
    return regression(model, images(2, size=32))


def vq_model() -> Case:
    """Return a vector-quantised autoencoder."""
    model = diffusers.VQModel(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        num_vq_embeddings=32,
        **_BLOCKS,
    )
    return regression(model, images(2, size=32))


def autoencoder_tiny() -> Case:
    """Return the tiny autoencoder."""
    model = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(32, 32),
        decoder_block_out_channels=(32, 32),
        num_encoder_blocks=(1, 2),
        num_decoder_blocks=(2, 1),
    )
    return regression(model, images(2, size=32))


_HEADS = {"num_attention_heads": 4, "attention_head_dim": 16, "sample_size": 16}


def dit() -> Case:
    """Return a diffusion transformer."""
    model = diffusers.DiTTransformer2DModel(num_layers=4, num_embeds_ada_norm=1000, **_HEADS)
    inputs = {"hidden_states": images(2, 4, 16), "timestep": _steps()}
    return regression(model, inputs | {"class_labels": torch.tensor([1, 2])})


def pixart() -> Case:
    """Return PixArt's transformer."""
    model = diffusers.PixArtTransformer2DModel(
        num_layers=3, cross_attention_dim=64, caption_channels=32, **_HEADS
    )
    inputs = {
        "hidden_states": images(2, 4, 16),
        "encoder_hidden_states": torch.randn(2, 8, 32),
        "timestep": _steps(),
        "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
    }
    return regression(model, inputs)


def stable_diffusion_3() -> Case:
    """Return the transformer of Stable Diffusion 3."""
    model = diffusers.SD3Transformer2DModel(
        num_layers=3,
        in_channels=4,
        out_channels=4,
        joint_attention_dim=32,
        caption_projection_dim=64,
        pooled_projection_dim=48,
        **_HEADS,
    )
    inputs = {
        "hidden_states": images(2, 4, 16),
        "encoder_hidden_states": torch.randn(2, 8, 32),
        "pooled_projections": torch.randn(2, 48),
        "timestep": _steps(),
    }
    return regression(model, inputs)


def prior() -> Case:
    """Return the prior of DALL-E 2."""
    model = diffusers.PriorTransformer(
        num_attention_heads=4,
        attention_head_dim=16,
        num_layers=3,
        embedding_dim=32,
        num_embeddings=8,
        additional_embeddings=4,
    )
    inputs = {
        "hidden_states": torch.randn(2, 32),
        "timestep": _steps(),
        "proj_embedding": torch.randn(2, 32),
        "encoder_hidden_states": torch.randn(2, 8, 32),
    }
    return regression(model, inputs)


MODELS: dict[str, Builder] = {
    "unet2d": unet2d,
    "unet2d_condition": unet2d_condition,
    "controlnet": controlnet,
    "unet1d": unet1d,
    "autoencoder_kl": autoencoder_kl,
    "vq_model": vq_model,
    "autoencoder_tiny": autoencoder_tiny,
    "dit": dit,
    "pixart": pixart,
    "stable_diffusion_3": stable_diffusion_3,
    "prior": prior,
}
