"""Variations on the transformer of x-transformers."""

from __future__ import annotations

import functools
from typing import Any

import x_transformers as x

from public_models.case import Builder, Case, classifier, language, tokens


def _decoder(**options: Any) -> Case:
    layers = x.Decoder(dim=64, depth=4, heads=4, attn_dim_head=16, **options)
    return language(x.TransformerWrapper(num_tokens=200, max_seq_len=64, attn_layers=layers))


def encoder_decoder() -> Case:
    """Return an encoder and a decoder, which returns its own loss."""
    model = x.XTransformer(
        dim=64,
        enc_num_tokens=200,
        enc_depth=2,
        enc_heads=4,
        enc_max_seq_len=64,
        dec_num_tokens=200,
        dec_depth=2,
        dec_heads=4,
        dec_max_seq_len=64,
    )
    return Case(model, (tokens(), tokens()))


def image_encoder() -> Case:
    """Return a vision transformer."""
    layers = x.Encoder(dim=64, depth=4, heads=4)
    model = x.ViTransformerWrapper(image_size=64, patch_size=8, num_classes=10, attn_layers=layers)
    return classifier(model)


MODELS: dict[str, Builder] = {
    "decoder": functools.partial(_decoder),
    "rotary": functools.partial(_decoder, rotary_pos_emb=True, ff_glu=True, use_rmsnorm=True),
    "alibi": functools.partial(_decoder, alibi_pos_bias=True, ff_swish=True),
    "relative": functools.partial(_decoder, rel_pos_bias=True),
    "talking_heads": functools.partial(_decoder, attn_pre_talking_heads=True),
    "sandwich": functools.partial(_decoder, sandwich_norm=True),
    "post_norm": functools.partial(_decoder, pre_norm=False),
    "gated_residual": functools.partial(_decoder, gate_residual=True),
    "macaron": functools.partial(_decoder, macaron=True),
    "qk_norm": functools.partial(_decoder, attn_qk_norm=True),
    "shared_layers": functools.partial(_decoder, weight_tie_layers=True),
    "encoder_decoder": encoder_decoder,
    "image_encoder": image_encoder,
}
