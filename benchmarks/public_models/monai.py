"""Medical image networks of MONAI, in two and three dimensions."""

from __future__ import annotations

import functools
from typing import Any

from monai.networks import nets

from public_models.case import Builder, Case, classifier, dense, images

_PLAIN = {"spatial_dims": 2, "in_channels": 1, "out_channels": 3}


def _segmenter(name: str, size: int = 64, dims: int = 2, **options: Any) -> Case:
    model = getattr(nets, name)(**options)
    return dense(model, images(2, 1, size, dims), 3, (2, *[size] * dims))


def _classifier(name: str, **options: Any) -> Case:
    return classifier(getattr(nets, name)(**options), channels=1)


MODELS: dict[str, Builder] = {
    "unet": functools.partial(
        _segmenter, "UNet", channels=(8, 16, 32, 64), strides=(2, 2, 2), num_res_units=2, **_PLAIN
    ),
    "basic_unet": functools.partial(
        _segmenter, "BasicUNet", features=(8, 8, 16, 32, 64, 8), **_PLAIN
    ),
    "attention_unet": functools.partial(
        _segmenter, "AttentionUnet", channels=(8, 16, 32), strides=(2, 2), **_PLAIN
    ),
    "seg_res_net": functools.partial(_segmenter, "SegResNet", init_filters=8, **_PLAIN),
    "v_net": functools.partial(
        _segmenter, "VNet", 32, 3, spatial_dims=3, in_channels=1, out_channels=3
    ),
    "dyn_unet": functools.partial(
        _segmenter,
        "DynUNet",
        kernel_size=[3, 3, 3],
        strides=[1, 2, 2],
        upsample_kernel_size=[2, 2],
        filters=[8, 16, 32],
        res_block=True,
        **_PLAIN,
    ),
    "unetr": functools.partial(
        _segmenter,
        "UNETR",
        img_size=64,
        feature_size=8,
        hidden_size=48,
        mlp_dim=96,
        num_heads=4,
        **_PLAIN,
    ),
    "swin_unetr": functools.partial(
        _segmenter, "SwinUNETR", feature_size=12, num_heads=(1, 2, 3, 4), window_size=4, **_PLAIN
    ),
    "high_res_net": functools.partial(
        _segmenter, "HighResNet", 16, 3, spatial_dims=3, in_channels=1, out_channels=3
    ),
    "unet_plus_plus": functools.partial(
        _segmenter, "BasicUNetPlusPlus", features=(8, 8, 16, 32, 64, 8), **_PLAIN
    ),
    "dense_net": functools.partial(
        _classifier, "DenseNet121", spatial_dims=2, in_channels=1, out_channels=10
    ),
    "se_net": functools.partial(
        _classifier, "SEResNet50", spatial_dims=2, in_channels=1, num_classes=10
    ),
}
