"""Language, speech, image and time-series models of transformers."""

from __future__ import annotations

import functools
from typing import Any

import torch
import transformers

from public_models.case import Builder, Case, images, labels, regression, tokens

_SMALL: dict[str, Any] = {
    "vocab_size": 200,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _causal(family: str, **options: Any) -> Case:
    """Return a decoder that predicts the next token."""
    return _labelled(family, "ForCausalLM", options)


def _masked(family: str, **options: Any) -> Case:
    """Return an encoder that fills in tokens."""
    return _labelled(family, "ForMaskedLM", options)


def _labelled(family: str, head: str, options: dict[str, Any]) -> Case:
    config = getattr(transformers, f"{family}Config")(**_SMALL | options)
    ids = tokens(4, 32)
    model = getattr(transformers, f"{family}{head}")(config)
    return Case(model, {"input_ids": ids, "labels": ids.clone()})


def gpt2() -> Case:
    """Return GPT-2."""
    config = transformers.GPT2Config(vocab_size=200, n_embd=64, n_layer=4, n_head=4, n_positions=64)
    ids = tokens()
    return Case(transformers.GPT2LMHeadModel(config), {"input_ids": ids, "labels": ids.clone()})


def xlnet() -> Case:
    """Return XLNet."""
    config = transformers.XLNetConfig(vocab_size=200, d_model=64, n_layer=4, n_head=4, d_inner=128)
    ids = tokens()
    return Case(transformers.XLNetLMHeadModel(config), {"input_ids": ids, "labels": ids.clone()})


def funnel() -> Case:
    """Return a Funnel transformer."""
    config = transformers.FunnelConfig(
        vocab_size=200, block_sizes=[2, 2], d_model=64, n_head=4, d_head=16, d_inner=128
    )
    ids = tokens()
    return Case(transformers.FunnelForMaskedLM(config), {"input_ids": ids, "labels": ids.clone()})


def distilbert() -> Case:
    """Return DistilBERT."""
    config = transformers.DistilBertConfig(
        vocab_size=200, dim=64, n_layers=4, n_heads=4, hidden_dim=128, max_position_embeddings=64
    )
    ids = tokens()
    return Case(
        transformers.DistilBertForMaskedLM(config), {"input_ids": ids, "labels": ids.clone()}
    )


def mamba() -> Case:
    """Return Mamba in its slow, plain form."""
    config = transformers.MambaConfig(vocab_size=200, hidden_size=64, num_hidden_layers=4)
    ids = tokens(2, 16)
    return Case(transformers.MambaForCausalLM(config), {"input_ids": ids, "labels": ids.clone()})


def t5() -> Case:
    """Return T5."""
    config = transformers.T5Config(
        vocab_size=200, d_model=64, d_kv=16, d_ff=128, num_layers=4, num_heads=4
    )
    config.decoder_start_token_id = 0
    ids = tokens()
    return Case(
        transformers.T5ForConditionalGeneration(config), {"input_ids": ids, "labels": ids.clone()}
    )


def bart() -> Case:
    """Return BART."""
    config = transformers.BartConfig(
        vocab_size=200,
        d_model=64,
        encoder_layers=3,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_position_embeddings=64,
    )
    ids = tokens()
    return Case(
        transformers.BartForConditionalGeneration(config), {"input_ids": ids, "labels": ids.clone()}
    )


def whisper() -> Case:
    """Return Whisper."""
    config = transformers.WhisperConfig(
        vocab_size=200,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_source_positions=50,
        max_target_positions=32,
        num_mel_bins=20,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    inputs = {"input_features": torch.randn(2, 20, 100), "labels": tokens(2, 16)}
    return Case(transformers.WhisperForConditionalGeneration(config), inputs)


def wav2vec2() -> Case:
    """Return wav2vec 2.0, which classifies a sound."""
    config = transformers.Wav2Vec2Config(
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        conv_dim=(32, 32, 32),
        conv_stride=(5, 4, 4),
        conv_kernel=(10, 8, 4),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        num_labels=5,
        classifier_proj_size=32,
        mask_time_prob=0.0,
    )
    inputs = {"input_values": torch.randn(2, 4000), "labels": labels(2, 5)}
    return Case(transformers.Wav2Vec2ForSequenceClassification(config), inputs)


_VISION: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 64,
    "patch_size": 8,
    "num_labels": 10,
}


def _vision(family: str, **options: Any) -> Case:
    config = getattr(transformers, f"{family}Config")(**options)
    model = getattr(transformers, f"{family}ForImageClassification")(config)
    return Case(model, {"pixel_values": images(4), "labels": labels()})


def segformer() -> Case:
    """Return SegFormer."""
    config = transformers.SegformerConfig(
        hidden_sizes=[16, 32, 48, 64], decoder_hidden_size=64, num_labels=5
    )
    inputs = {"pixel_values": images(2), "labels": torch.randint(5, (2, 64, 64))}
    return Case(transformers.SegformerForSemanticSegmentation(config), inputs)


def detr() -> Case:
    """Return DETR on a small ResNet."""
    backbone = transformers.ResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 48, 64],
        depths=[1, 1, 1, 1],
        out_features=["stage4"],
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        num_queries=10,
    )
    return regression(transformers.DetrModel(config), {"pixel_values": images(2)})


def clip() -> Case:
    """Return CLIP."""
    text = _SMALL | {"projection_dim": 32}
    config = transformers.CLIPConfig(
        text_config=text, vision_config=_VISION | {"projection_dim": 32}, projection_dim=32
    )
    ids = tokens()
    ids[:, -1] = 2
    inputs = {"input_ids": ids, "pixel_values": images(4), "return_loss": True}
    return Case(transformers.CLIPModel(config), inputs)


def patchtst() -> Case:
    """Return PatchTST, which forecasts a time series."""
    config = transformers.PatchTSTConfig(
        num_input_channels=3,
        context_length=64,
        prediction_length=8,
        patch_length=8,
        patch_stride=8,
        d_model=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        ffn_dim=64,
    )
    inputs = {"past_values": torch.randn(8, 64, 3), "future_values": torch.randn(8, 8, 3)}
    return Case(transformers.PatchTSTForPrediction(config), inputs)


def decision_transformer() -> Case:
    """Return a decision transformer."""
    config = transformers.DecisionTransformerConfig(
        state_dim=6, act_dim=3, hidden_size=64, n_layer=3, n_head=4, max_ep_len=50
    )
    inputs = {
        "states": torch.randn(4, 10, 6),
        "actions": torch.randn(4, 10, 3),
        "rewards": torch.randn(4, 10, 1),
        "returns_to_go": torch.randn(4, 10, 1),
        "timesteps": torch.arange(10).expand(4, 10).contiguous(),
        "attention_mask": torch.ones(4, 10, dtype=torch.long),
        "return_dict": False,
    }
    model = transformers.DecisionTransformerModel(config)
    return Case(model, inputs, None, lambda output: output[1].square().mean())


_GROUPED = {"num_key_value_heads": 2}

MODELS: dict[str, Builder] = {
    "gpt2": gpt2,
    "llama": functools.partial(_causal, "Llama", **_GROUPED),
    "mistral": functools.partial(_causal, "Mistral", **_GROUPED),
    "mixtral": functools.partial(_causal, "Mixtral", num_local_experts=4, **_GROUPED),
    "qwen2": functools.partial(_causal, "Qwen2", **_GROUPED),
    "gemma": functools.partial(_causal, "Gemma", head_dim=16, **_GROUPED),
    "phi": functools.partial(_causal, "Phi"),
    "gpt_neox": functools.partial(_causal, "GPTNeoX"),
    "opt": functools.partial(_causal, "OPT", ffn_dim=128, word_embed_proj_dim=64),
    "bloom": functools.partial(_causal, "Bloom", n_layer=4, n_head=4),
    "falcon": functools.partial(_causal, "Falcon"),
    "olmo": functools.partial(_causal, "Olmo"),
    "mamba": mamba,
    "bert": functools.partial(_masked, "Bert"),
    "roberta": functools.partial(_masked, "Roberta", max_position_embeddings=80),
    "albert": functools.partial(_masked, "Albert", embedding_size=32),
    "electra": functools.partial(_masked, "Electra", embedding_size=32),
    "deberta_v2": functools.partial(_masked, "DebertaV2"),
    "distilbert": distilbert,
    "mpnet": functools.partial(_masked, "MPNet", max_position_embeddings=80),
    "convbert": functools.partial(_masked, "ConvBert", embedding_size=32),
    "fnet": functools.partial(_masked, "FNet"),
    "nystromformer": functools.partial(
        _masked, "Nystromformer", num_landmarks=8, segment_means_seq_len=32
    ),
    "longformer": functools.partial(
        _masked, "Longformer", attention_window=16, max_position_embeddings=80
    ),
    "xlnet": xlnet,
    "funnel": funnel,
    "t5": t5,
    "bart": bart,
    "whisper": whisper,
    "wav2vec2": wav2vec2,
    "vit": functools.partial(_vision, "ViT", **_VISION),
    "dinov2": functools.partial(_vision, "Dinov2", **_VISION | {"mlp_ratio": 2}),
    "swin": functools.partial(
        _vision,
        "Swin",
        image_size=64,
        patch_size=4,
        embed_dim=24,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
        num_labels=10,
    ),
    "convnext": functools.partial(
        _vision, "ConvNext", hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 2, 1], num_labels=10
    ),
    "segformer": segformer,
    "detr": detr,
    "clip": clip,
    "patchtst": patchtst,
    "decision_transformer": decision_transformer,
}
