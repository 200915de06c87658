"""Classifiers, segmenters, detectors and video models of torchvision."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from public_models.case import Builder, Case, classifier, dense, first_cross_entropy, images, labels


def _named(name: str, **options: Any) -> Case:
    size = options.pop("size", 64)
    return classifier(models.get_model(name, weights=None, num_classes=10, **options), size=size)


def _segmenter(name: str) -> Case:
    model = models.get_model(name, weights=None, weights_backbone=None, num_classes=5)
    return dense(model, images(2), 5, (2, 64, 64))


def _detector(name: str) -> Case:
    model = models.get_model(
        name, weights=None, weights_backbone=None, num_classes=5, min_size=96, max_size=96
    )
    boxes = torch.tensor([[8.0, 8.0, 60.0, 60.0]])
    targets = [{"boxes": boxes, "labels": torch.tensor([k + 1])} for k in range(2)]
    return Case(model, (list(torch.rand(2, 3, 96, 96)), targets), None, _summed)


def _summed(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def vgg() -> Case:
    """Return VGG-11 as it is used on images of 32 × 32: one dense layer after the convolutions."""
    model = models.vgg11(weights=None)
    model.avgpool, model.classifier = nn.Identity(), nn.Linear(512, 10)
    return classifier(model, batch=16, size=32)


def video() -> Case:
    """Return a 3-d ResNet."""
    model = models.get_model("r3d_18", weights=None, num_classes=10)
    return Case(model, torch.randn(2, 3, 4, 32, 32), labels(2), first_cross_entropy)


MODELS: dict[str, Builder] = {
    "alexnet": functools.partial(_named, "alexnet"),
    "vgg11": vgg,
    "googlenet": functools.partial(_named, "googlenet", aux_logits=False, init_weights=True),
    "squeezenet1_1": functools.partial(_named, "squeezenet1_1"),
    "shufflenet_v2_x0_5": functools.partial(_named, "shufflenet_v2_x0_5"),
    "mnasnet0_5": functools.partial(_named, "mnasnet0_5"),
    "mobilenet_v2": functools.partial(_named, "mobilenet_v2"),
    "fcn_resnet50": functools.partial(_segmenter, "fcn_resnet50"),
    "lraspp": functools.partial(_segmenter, "lraspp_mobilenet_v3_large"),
    "faster_rcnn": functools.partial(_detector, "fasterrcnn_mobilenet_v3_large_320_fpn"),
    "r3d_18": video,
}
