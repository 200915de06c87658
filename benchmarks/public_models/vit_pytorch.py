"""Vision transformers of vit-pytorch."""

from __future__ import annotations

import functools
from typing import Any

import torch

from public_models.case import (
    Builder,
    Case,
    classifier,
    first_cross_entropy,
    images,
    labels,
    load,
)

_VIT = {
    "image_size": 64,
    "patch_size": 8,
    "num_classes": 10,
    "dim": 64,
    "depth": 4,
    "heads": 4,
    "mlp_dim": 128,
}


def _vit(module: str, name: str, left_out: tuple[str, ...] = (), **options: Any) -> Case:
    chosen = {k: v for k, v in (_VIT | options).items() if k not in left_out}
    return classifier(load(f"vit_pytorch.{module}", name)(**chosen))


def mae() -> Case:
    """Return a masked autoencoder, which returns its own loss."""
    encoder = load("vit_pytorch.vit", "ViT")(**_VIT, pool="mean")
    model = load("vit_pytorch.mae", "MAE")(encoder=encoder, decoder_dim=32, decoder_depth=2)
    return Case(model, images(4), None, lambda loss: loss)


def vivit() -> Case:
    """Return a transformer of videos."""
    model = load("vit_pytorch.vivit", "ViViT")(
        image_size=32,
        frames=4,
        image_patch_size=8,
        frame_patch_size=2,
        num_classes=10,
        dim=64,
        spatial_depth=2,
        temporal_depth=2,
        heads=4,
        mlp_dim=128,
    )
    return Case(model, torch.randn(2, 3, 4, 32, 32), labels(2), first_cross_entropy)


MODELS: dict[str, Builder] = {
    "vit": functools.partial(_vit, "vit", "ViT"),
    "simple_vit": functools.partial(_vit, "simple_vit", "SimpleViT"),
    "deepvit": functools.partial(_vit, "deepvit", "DeepViT"),
    "cait": functools.partial(_vit, "cait", "CaiT", cls_depth=2),
    "xcit": functools.partial(_vit, "xcit", "XCiT", cls_depth=2),
    "parallel_vit": functools.partial(_vit, "parallel_vit", "ViT"),
    "t2t": functools.partial(_vit, "t2t", "T2TViT", ("patch_size",), t2t_layers=((7, 4), (3, 2))),
    "small_dataset": functools.partial(_vit, "vit_for_small_dataset", "ViT"),
    "patch_merger": functools.partial(
        _vit, "vit_with_patch_merger", "ViT", patch_merge_layer=2, patch_merge_num_tokens=8
    ),
    "rvt": functools.partial(_vit, "rvt", "RvT"),
    "learnable_memory": functools.partial(_vit, "learnable_memory_vit", "ViT"),
    "flash": functools.partial(_vit, "simple_flash_attn_vit", "SimpleViT"),
    "mae": mae,
    "vivit": vivit,
}
