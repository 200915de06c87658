"""Contrastive models of open_clip."""

from __future__ import annotations

import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from public_models.case import Builder, Case, images, tokens

_VISION = {"image_size": 64, "layers": 4, "width": 64, "head_width": 16, "patch_size": 16}
_TEXT = {"context_length": 16, "vocab_size": 200, "width": 64, "heads": 4, "layers": 3}


def contrastive(output: tuple[Tensor, ...] | dict[str, Tensor]) -> Tensor:
    """Return the loss that draws matching images and texts together."""
    if isinstance(output, dict):
        output = tuple(output[k] for k in ("image_features", "text_features", "logit_scale"))
    image, text, scale = output[:3]
    logits = scale * image @ text.T
    own = torch.arange(len(image))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def clip() -> Case:
    """Return CLIP."""
    model = open_clip.CLIP(32, _VISION, _TEXT)
    return Case(model, (images(4), tokens(4, 16)), None, contrastive)


def coca() -> Case:
    """Return CoCa, which captions as well."""
    decoder = {"context_length": 16, "vocab_size": 200, "width": 64, "heads": 4, "layers": 2}
    text = _TEXT | {"embed_cls": True, "output_tokens": True, "context_length": 16}
    vision = _VISION | {"attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True}
    model = open_clip.CoCa(64, decoder, text, vision)
    return Case(model, (images(4), tokens(4, 16)), None, contrastive)


MODELS: dict[str, Builder] = {"clip": clip, "coca": coca}
