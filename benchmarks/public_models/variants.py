"""Public models with one thing broken, and the findings that name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from public_models.case import Case

Fault = Callable[[Case], Case]


@dataclass(frozen=True)
class Variant:
    """A model, what is done to it, and which codes name that."""

    module: str
    model: str
    fault: str
    codes: tuple[str, ...]

    @property
    def name(self) -> str:
        """What ``--only`` takes."""
        return f"{self.module}/{self.model}+{self.fault}"


def _scaled(case: Case, factor: float) -> Case:
    with torch.no_grad():
        for parameter in case.model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(factor)
    return case


def large_weights(case: Case) -> Case:
    """Every matrix × 20."""
    return _scaled(case, 20.0)


def small_weights(case: Case) -> Case:
    """Every matrix × 0.02."""
    return _scaled(case, 0.02)


def low_biases(case: Case) -> Case:
    """Every bias of a dense or convolutional layer, and of a norm, at -10."""
    with torch.no_grad():
        for name, parameter in case.model.named_parameters():
            if name.rsplit(".", 1)[-1] == "bias":
                parameter.fill_(-10.0)
    return case


def no_norms(case: Case) -> Case:
    """Every norm replaced by nothing."""
    for module in list(case.model.modules()):
        for name, child in module.named_children():
            if "Norm" in type(child).__name__ and not list(child.children()):
                setattr(module, name, nn.Identity())
    return case


def zero_ends(case: Case) -> Case:
    """Embeddings and head at 0: nothing comes in, nothing goes back."""
    with torch.no_grad():
        for module in case.model.modules():
            if isinstance(module, nn.Embedding):
                module.weight.zero_()
        head = [m for m in case.model.modules() if isinstance(m, nn.Linear)][-1]
        head.weight.zero_()
    return case


def not_a_number(case: Case) -> Case:
    """One weight in the middle is NaN."""
    matrices = [p for p in case.model.parameters() if p.dim() >= 2]
    with torch.no_grad():
        matrices[len(matrices) // 2].view(-1)[0] = torch.nan
    return case


def half(case: Case) -> Case:
    """Everything in float16, under a loss so small that its gradients underflow."""

    def small(output: torch.Tensor, *targets: torch.Tensor) -> torch.Tensor:
        loss = case.loss(output, *targets) if case.loss else output["loss"]
        return loss * 1e-5

    inputs = case.inputs
    if isinstance(inputs, torch.Tensor) and inputs.is_floating_point():
        inputs = inputs.half()
    return Case(case.model.half(), inputs, case.targets, small)


def _without_residual(block: nn.Module) -> None:
    for name in ("drop_path1", "drop_path2", "ls1", "ls2"):
        if hasattr(block, name):
            setattr(block, name, nn.Identity())


def no_residuals(case: Case) -> Case:
    """Residual connections of timm's ViT blocks and ResNets, and of GPT-2's, cut."""
    for module in case.model.modules():
        kind = type(module).__name__
        if kind in _CUT:
            module.forward = _CUT[kind].__get__(module)  # type: ignore[method-assign]
    return case


def _vit_block(block: nn.Module, x: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
    x = block.attn(block.norm1(x))
    return block.mlp(block.norm2(x))


def _bert_output(layer: nn.Module, hidden: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return layer.LayerNorm(layer.dropout(layer.dense(hidden)))


def _gpt2_block(block: nn.Module, x: torch.Tensor, *_: object, **kwargs: object) -> torch.Tensor:
    mask = kwargs.get("attention_mask")
    x = block.attn(block.ln_1(x), attention_mask=mask)[0]
    return block.mlp(block.ln_2(x))


_CUT = {
    "Block": _vit_block,
    "BertSelfOutput": _bert_output,
    "BertOutput": _bert_output,
    "GPT2Block": _gpt2_block,
}

FAULTS: dict[str, Fault] = {
    "weights × 20": large_weights,
    "weights × 0.02": small_weights,
    "biases -10": low_biases,
    "no residuals": no_residuals,
    "no norms": no_norms,
    "zero ends": zero_ends,
    "NaN": not_a_number,
    "fp16": half,
}

_LARGE = ("exploding", "saturated", "broken", "collapse", "attention")
_SMALL = ("vanishing", "collapse", "no-gradient")

VARIANTS = (
    Variant("transformers", "gpt2", "weights × 20", _LARGE),
    Variant("transformers", "bert", "weights × 20", _LARGE),
    Variant("torchvision", "vgg11", "weights × 20", _LARGE),
    Variant("timm", "vit_tiny_patch16_224", "weights × 20", _LARGE),
    Variant("torchvision", "vgg11", "weights × 0.02", _SMALL),
    Variant("torchvision", "squeezenet1_1", "weights × 0.02", _SMALL),
    Variant("monai", "basic_unet", "biases -10", ("dead", "no-gradient", "vanishing", "collapse")),
    Variant("torchvision", "vgg11", "biases -10", ("dead", "no-gradient")),
    Variant("timm", "resnet18", "biases -10", ("dead", "no-gradient")),
    Variant("transformers", "gpt2", "no residuals", _SMALL),
    Variant("transformers", "bert", "no residuals", _SMALL),
    Variant("timm", "vit_tiny_patch16_224", "no residuals", _SMALL),
    Variant("torchvision", "mnasnet0_5", "no norms", ("exploding", *_SMALL, "broken")),
    Variant("torchvision", "mobilenet_v2", "no norms", ("exploding", *_SMALL, "broken")),
    Variant("transformers", "gpt2", "zero ends", ("no-gradient", "collapse")),
    Variant("transformers", "bert", "zero ends", ("no-gradient", "collapse")),
    Variant("transformers", "gpt2", "NaN", ("broken",)),
    Variant("timm", "resnet18", "NaN", ("broken",)),
    Variant("torchvision", "squeezenet1_1", "fp16", ("underflow", "precision", "broken")),
    Variant("transformers", "gpt2", "fp16", ("underflow", "precision", "broken")),
)
