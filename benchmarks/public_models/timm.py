"""Image classifiers of timm."""

from __future__ import annotations

import functools
from typing import Any

import timm
from timm.models.convmixer import ConvMixer

from public_models.case import Builder, Case, classifier

_TINY_VIT = {"embed_dim": 64, "depth": 6, "num_heads": 4, "img_size": 64}

#: Options by model; all classify ten classes.
_OPTIONS: dict[str, dict[str, Any]] = {
    "resnet18": {},
    "resnet50": {},
    "resnext50_32x4d": {},
    "seresnet50": {},
    "res2net50_26w_4s": {},
    "densenet121": {},
    "inception_v3": {},
    "xception41": {},
    "efficientnet_b0": {},
    "mobilenetv3_small_050": {},
    "ghostnet_100": {},
    "regnetx_002": {},
    "repvgg_a0": {},
    "dla34": {},
    "hrnet_w18_small": {},
    "nfnet_l0": {},
    "convnext_atto": {},
    "convnextv2_atto": {},
    "poolformer_s12": {},
    "mobilevit_xxs": {},
    "vit_tiny_patch16_224": _TINY_VIT | {"patch_size": 8},
    "deit3_small_patch16_224": _TINY_VIT | {"patch_size": 8},
    "beit_base_patch16_224": _TINY_VIT | {"patch_size": 8},
    "eva02_tiny_patch14_224": _TINY_VIT | {"patch_size": 8},
    "cait_xxs24_224": {"depth": 8, "img_size": 64},
    "xcit_nano_12_p8_224": {"img_size": 64, "depth": 6},
    "swin_tiny_patch4_window7_224": {"img_size": 64, "window_size": 4, "embed_dim": 32},
    "mixer_s16_224": {"img_size": 64},
    "gmlp_ti16_224": {"img_size": 64},
    "resmlp_12_224": {"img_size": 64},
}


def _image_classifier(name: str) -> Case:
    model = timm.create_model(name, pretrained=False, num_classes=10, **_OPTIONS[name])
    return classifier(model, size=96 if name in ("inception_v3", "xception41") else 64)


def conv_mixer() -> Case:
    """Return a small ConvMixer."""
    return classifier(ConvMixer(dim=64, depth=8, patch_size=4, num_classes=10))


MODELS: dict[str, Builder] = {name: functools.partial(_image_classifier, name) for name in _OPTIONS}
MODELS["conv_mixer"] = conv_mixer
