"""Segmenters of segmentation-models-pytorch."""

from __future__ import annotations

import functools

import segmentation_models_pytorch as segmentation

from public_models.case import Builder, Case, dense, images


def _segmenter(name: str, encoder: str = "resnet18", size: int = 64) -> Case:
    model = getattr(segmentation, name)(encoder_name=encoder, encoder_weights=None, classes=5)
    return dense(model, images(2, size=size), 5, (2, size, size))


MODELS: dict[str, Builder] = {
    "unet": functools.partial(_segmenter, "Unet"),
    "unet_plus_plus": functools.partial(_segmenter, "UnetPlusPlus"),
    "linknet": functools.partial(_segmenter, "Linknet"),
    "fpn": functools.partial(_segmenter, "FPN"),
    "psp_net": functools.partial(_segmenter, "PSPNet"),
    "pan": functools.partial(_segmenter, "PAN", "resnet18", 128),
    "deep_lab_v3_plus": functools.partial(_segmenter, "DeepLabV3Plus", "mobilenet_v2"),
    "ma_net": functools.partial(_segmenter, "MAnet"),
    "segformer": functools.partial(_segmenter, "Segformer", "mit_b0"),
    "uper_net": functools.partial(_segmenter, "UPerNet"),
}
