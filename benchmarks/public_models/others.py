"""Packages of one model or two; the name of each is ``package.model``."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from public_models.case import (
    Builder,
    Case,
    classifier,
    first_cross_entropy,
    first_tensor,
    images,
    labels,
    language,
    load,
    regression,
)

_TOKENS = {"num_tokens": 200, "max_seq_len": 64, "dim": 64, "depth": 4, "heads": 4, "causal": True}


def _language_model(module: str, name: str, **options: Any) -> Case:
    return language(load(module, name)(**_TOKENS | options), length=64)


def local_transformer() -> Case:
    """Return local attention."""
    model = load("local_attention", "LocalTransformer")(
        num_tokens=200, dim=64, depth=4, heads=4, max_seq_len=64, local_attn_window_size=16
    )
    return language(model, length=64)


def linformer() -> Case:
    """Return attention that is linear in the length."""
    model = load("linformer", "LinformerLM")(
        num_tokens=200, dim=64, seq_len=64, depth=4, heads=4, k=16
    )
    return language(model, length=64)


def perceiver() -> Case:
    """Return a Perceiver."""
    model = load("perceiver_pytorch", "Perceiver")(
        num_freq_bands=4,
        depth=2,
        max_freq=10.0,
        num_latents=16,
        latent_dim=64,
        num_classes=10,
        self_per_cross_attn=2,
    )
    return Case(model, torch.randn(2, 32, 32, 3), labels(2), first_cross_entropy)


def perceiver_io() -> Case:
    """Return a Perceiver IO."""
    model = load("perceiver_pytorch", "PerceiverIO")(
        dim=32, queries_dim=32, logits_dim=10, depth=3, num_latents=16, latent_dim=64
    )
    inputs = {"data": torch.randn(2, 48, 32), "queries": torch.randn(8, 32)}
    return regression(model, inputs)


def nystromformer() -> Case:
    """Return Nyström attention."""
    model = load("nystrom_attention", "Nystromformer")(
        dim=64, dim_head=16, heads=4, depth=4, num_landmarks=8
    )
    return regression(model, torch.randn(2, 64, 64))


def conformer() -> Case:
    """Return a Conformer."""
    model = load("conformer", "Conformer")(64, depth=3, dim_head=16, heads=4)
    return regression(model, torch.randn(2, 50, 64))


def g_mlp() -> Case:
    """Return a gated MLP of tokens."""
    return language(load("g_mlp_pytorch", "gMLP")(num_tokens=200, dim=64, depth=4, seq_len=32))


def mlp_mixer() -> Case:
    """Return an MLP mixer."""
    model = load("mlp_mixer_pytorch", "MLPMixer")(
        image_size=64, channels=3, patch_size=8, dim=64, depth=4, num_classes=10
    )
    return classifier(model)


def vector_quantizer() -> Case:
    """Return residual vector quantisation between two dense layers."""
    quantizer = load("vector_quantize_pytorch", "ResidualVQ")(
        dim=32, num_quantizers=2, codebook_size=64
    )
    model = nn.Sequential(nn.Linear(16, 32), quantizer)
    return regression(model, torch.randn(4, 20, 16))


def finite_scalar() -> Case:
    """Return finite scalar quantisation."""
    quantizer = load("vector_quantize_pytorch", "FSQ")(levels=[8, 5, 5, 5], dim=32)
    model = nn.Sequential(nn.Linear(16, 32), quantizer)
    return regression(model, torch.randn(4, 20, 16))


def _diffusion_unet() -> nn.Module:
    unet: nn.Module = load("denoising_diffusion_pytorch", "Unet")(
        dim=16, dim_mults=(1, 2), flash_attn=False
    )
    return unet


def diffusion_unet() -> Case:
    """Return a denoiser of images."""
    return regression(_diffusion_unet(), (images(2, size=32), torch.randint(1000, (2,))))


def gaussian_diffusion() -> Case:
    """Return the whole process, which draws its noise itself and returns its loss."""
    model = load("denoising_diffusion_pytorch", "GaussianDiffusion")(
        _diffusion_unet(), image_size=32, timesteps=50
    )
    return Case(model, torch.rand(2, 3, 32, 32), None, lambda loss: loss)


def x_unet() -> Case:
    """Return a U-Net with nested ones."""
    model = load("x_unet", "XUnet")(
        dim=16,
        channels=3,
        dim_mults=(1, 2),
        nested_unet_depths=(2, 1),
        num_blocks_per_stage=(1, 1),
        num_self_attn_per_stage=(0, 1),
    )
    return regression(model, images(2, size=32))


def siren() -> Case:
    """Return a network of sines."""
    model = load("siren_pytorch", "SirenNet")(
        dim_in=2, dim_hidden=64, dim_out=3, num_layers=5, w0_initial=30.0
    )
    return regression(model, torch.rand(128, 2) * 2 - 1)


def egnn() -> Case:
    """Return a graph network that is equivariant to rotations."""
    model = load("egnn_pytorch", "EGNN_Network")(
        num_tokens=21, num_positions=32, dim=32, depth=3, num_nearest_neighbors=6
    )
    return regression(model, (torch.randint(0, 21, (2, 24)), torch.randn(2, 24, 3)))


_TABLE = {
    "categories": (10, 5, 6),
    "num_continuous": 8,
    "dim": 32,
    "dim_out": 5,
    "depth": 4,
    "heads": 4,
}


def _tabular(name: str, **options: Any) -> Case:
    model = load("tab_transformer_pytorch", name)(**_TABLE | options)
    inputs = (torch.randint(5, (32, 3)), torch.randn(32, 8))
    return Case(model, inputs, labels(32, 5), first_cross_entropy)


def rtdl_transformer() -> Case:
    """Return the feature tokeniser and transformer of its authors."""
    kind = load("rtdl_revisiting_models", "FTTransformer")
    options = kind.get_default_kwargs(n_blocks=3)
    model = kind(n_cont_features=8, cat_cardinalities=[5, 5], d_out=5, **options)
    inputs = (torch.randn(32, 8), torch.randint(5, (32, 2)))
    return Case(model, inputs, labels(32, 5), first_cross_entropy)


def rtdl_resnet() -> Case:
    """Return the residual network of tables."""
    model = load("rtdl_revisiting_models", "ResNet")(
        d_in=16,
        d_out=5,
        n_blocks=4,
        d_block=64,
        d_hidden=None,
        d_hidden_multiplier=2.0,
        dropout1=0.1,
        dropout2=0.0,
    )
    return Case(model, torch.randn(32, 16), labels(32, 5), first_cross_entropy)


def tabnet() -> Case:
    """Return TabNet."""
    model = load("pytorch_tabnet.tab_network", "TabNet")(
        16, 5, group_attention_matrix=torch.eye(16)
    )
    return Case(model, torch.randn(256, 16), labels(256, 5), first_cross_entropy)


def fourier_operator() -> Case:
    """Return a Fourier neural operator, whose weights are complex."""
    model = load("neuralop.models", "FNO")(
        n_modes=(8, 8), hidden_channels=16, in_channels=1, out_channels=1
    )
    return regression(model, images(4, 1, 32))


def u_shaped_operator() -> Case:
    """Return a U-shaped neural operator."""
    model = load("neuralop.models", "UNO")(
        in_channels=1,
        out_channels=1,
        hidden_channels=16,
        uno_out_channels=[16, 16, 16],
        uno_n_modes=[[8, 8], [8, 8], [8, 8]],
        uno_scalings=[[1, 1], [0.5, 0.5], [2, 2]],
        n_layers=3,
        channel_mlp_skip="linear",
    )
    return regression(model, images(4, 1, 32))


def kolmogorov_arnold() -> Case:
    """Return a Kolmogorov-Arnold network."""
    model = load("kan", "KAN")(width=[2, 5, 1], grid=3, k=3, auto_save=False)
    return regression(model, torch.rand(64, 2) * 2 - 1)


def mamba() -> Case:
    """Return Mamba in plain PyTorch."""
    config = load("mambapy.mamba", "MambaConfig")(d_model=32, n_layers=3)
    core = load("mambapy.mamba", "Mamba")(config)
    return language(nn.Sequential(nn.Embedding(200, 32), core, nn.Linear(32, 200)), length=16)


def temporal_convolutions() -> Case:
    """Return a temporal convolutional network."""
    model = load("pytorch_tcn", "TCN")(num_inputs=8, num_channels=[16, 16, 16, 16])
    return regression(model, torch.randn(8, 8, 40))


def spline_flow() -> Case:
    """Return a flow of splines."""
    flow = load("zuko.flows", "NSF")(features=4, transforms=3, hidden_features=(32, 32))
    return Case(_Density(flow), torch.randn(64, 4), None, lambda loss: loss)


class _Density(nn.Module):
    """The mean negative logarithm of a flow's density."""

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor) -> Tensor:
        """Return the loss."""
        loss: Tensor = -self.flow().log_prob(x).mean()
        return loss


def closed_form() -> Case:
    """Return closed-form liquid time constants over a sequence."""
    wiring = load("ncps.wirings", "AutoNCP")(24, 4)
    return regression(load("ncps.torch", "CfC")(8, wiring), torch.randn(8, 20, 8))


def spiking() -> Case:
    """Return leaky integrate-and-fire units between two dense layers."""
    leaky = load("snntorch", "Leaky")
    model = nn.Sequential(
        nn.Linear(16, 64),
        leaky(beta=0.9, init_hidden=True),
        nn.Linear(64, 10),
        leaky(beta=0.9, init_hidden=True, output=True),
    )
    return Case(model, torch.randn(32, 16), labels(32), _potential)


def _potential(output: Any, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(first_tensor(output[1:]), targets)


def efficient_net() -> Case:
    """Return EfficientNet-B0 in its first port."""
    return classifier(
        load("efficientnet_pytorch", "EfficientNet").from_name("efficientnet-b0", num_classes=10)
    )


def soft_experts() -> Case:
    """Return a soft mixture of experts."""
    model = load("soft_moe_pytorch", "SoftMoE")(dim=32, seq_len=16, num_experts=4)
    return regression(model, torch.randn(4, 16, 32))


def sparse_experts() -> Case:
    """Return a sparse mixture of experts in a block."""
    experts = load("st_moe_pytorch", "MoE")(dim=32, num_experts=4, gating_top_n=2)
    return regression(load("st_moe_pytorch", "SparseMoEBlock")(experts), torch.randn(4, 16, 32))


def lora_layers() -> Case:
    """Return loralib's layers beside frozen weights."""
    kind = load("loralib", "Linear")
    model = nn.Sequential(kind(16, 64, r=4), nn.ReLU(), kind(64, 64, r=4), nn.ReLU(), kind(64, 10))
    load("loralib", "mark_only_lora_as_trainable")(model)
    return Case(model, torch.randn(32, 16), labels(32), first_cross_entropy)


def axial() -> Case:
    """Return axial attention on an image."""
    model = load("axial_attention", "AxialImageTransformer")(dim=32, depth=3, reversible=False)
    return regression(model, images(2, 32, 16))


def axial_reversible() -> Case:
    """Return the same in reversible blocks, which run again in the backward pass."""
    model = load("axial_attention", "AxialImageTransformer")(dim=32, depth=3, reversible=True)
    return regression(model, images(2, 32, 16).requires_grad_())


def neural_memory() -> Case:
    """Return Titans' memory, which takes gradients in its forward pass."""
    model = load("titans_pytorch", "NeuralMemory")(dim=32, chunk_size=8, heads=2)
    return regression(model, torch.randn(2, 32, 32))


def self_supervised() -> Case:
    """Return SimCLR's projection on a small ResNet, under its loss."""
    backbone = nn.Sequential(load("torchvision.models", "resnet18")(num_classes=64))
    head = load("lightly.models.modules", "SimCLRProjectionHead")(64, 64, 32)
    loss = load("lightly.loss", "NTXentLoss")()
    return Case(nn.Sequential(backbone, head), images(8), None, lambda z: loss(z[:4], z[4:]))


def basis_expansion() -> Case:
    """Return N-BEATS' blocks of pytorch-forecasting on windows."""
    block = load("pytorch_forecasting.models.nbeats.sub_modules", "NBEATSGenericBlock")
    model = block(units=64, thetas_dim=8, backcast_length=30, forecast_length=6)
    return regression(model, torch.randn(32, 30))


def gated_network() -> Case:
    """Return the gated residual network of temporal fusion transformers."""
    kind = load(
        "pytorch_forecasting.models.temporal_fusion_transformer.sub_modules", "GatedResidualNetwork"
    )
    model = nn.Sequential(*(kind(32, 32, 32, dropout=0.1) for _ in range(4)))
    return regression(model, torch.randn(32, 32))


MODELS: dict[str, Builder] = {
    "performer_pytorch.language_model": functools.partial(
        _language_model, "performer_pytorch", "PerformerLM"
    ),
    "performer_pytorch.reversible": functools.partial(
        _language_model, "performer_pytorch", "PerformerLM", reversible=True
    ),
    "reformer_pytorch.language_model": functools.partial(
        _language_model, "reformer_pytorch", "ReformerLM", bucket_size=16, n_hashes=2
    ),
    "linear_attention_transformer.language_model": functools.partial(
        _language_model,
        "linear_attention_transformer",
        "LinearAttentionTransformerLM",
        n_local_attn_heads=1,
        local_attn_window_size=16,
    ),
    "local_attention.language_model": local_transformer,
    "linformer.language_model": linformer,
    "perceiver_pytorch.perceiver": perceiver,
    "perceiver_pytorch.perceiver_io": perceiver_io,
    "nystrom_attention.nystromformer": nystromformer,
    "conformer.conformer": conformer,
    "g_mlp_pytorch.g_mlp": g_mlp,
    "mlp_mixer_pytorch.mlp_mixer": mlp_mixer,
    "vector_quantize_pytorch.residual": vector_quantizer,
    "vector_quantize_pytorch.finite_scalar": finite_scalar,
    "denoising_diffusion_pytorch.unet": diffusion_unet,
    "denoising_diffusion_pytorch.whole": gaussian_diffusion,
    "x_unet.x_unet": x_unet,
    "siren_pytorch.siren": siren,
    "egnn_pytorch.egnn": egnn,
    "tab_transformer_pytorch.tab_transformer": functools.partial(
        _tabular, "TabTransformer", mlp_act=nn.ReLU()
    ),
    "tab_transformer_pytorch.ft_transformer": functools.partial(_tabular, "FTTransformer"),
    "rtdl_revisiting_models.ft_transformer": rtdl_transformer,
    "rtdl_revisiting_models.resnet": rtdl_resnet,
    "pytorch_tabnet.tabnet": tabnet,
    "neuralop.fno": fourier_operator,
    "neuralop.uno": u_shaped_operator,
    "pykan.kan": kolmogorov_arnold,
    "mambapy.mamba": mamba,
    "pytorch_tcn.tcn": temporal_convolutions,
    "zuko.spline_flow": spline_flow,
    "ncps.closed_form": closed_form,
    "snntorch.leaky": spiking,
    "efficientnet_pytorch.b0": efficient_net,
    "soft_moe_pytorch.soft_moe": soft_experts,
    "st_moe_pytorch.sparse_moe": sparse_experts,
    "loralib.linear": lora_layers,
    "axial_attention.image": axial,
    "axial_attention.reversible": axial_reversible,
    "titans_pytorch.neural_memory": neural_memory,
    "lightly.sim_clr": self_supervised,
    "pytorch_forecasting.n_beats": basis_expansion,
    "pytorch_forecasting.gated_residual": gated_network,
}
