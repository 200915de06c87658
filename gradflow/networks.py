"""Networks from a config: many independent replicas (seeds) in one module.

Every parameter carries a leading axis of replicas and every activation is
(replicas, batch, units), so N seeds cost a few batched products instead of N passes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradflow.activations import Activation, activation
from gradflow.configs import NetworkConfig
from gradflow.errors import unknown_name
from gradflow.initialization import configured, initialize


class ReplicatedLinear(nn.Module):
    """`replicas` independent dense layers, applied at once.

    Attributes
    ----------
    weight
        (replicas, fan_out, fan_in).
    bias
        (replicas, fan_out).
    """

    def __init__(self, replicas: int, fan_in: int, fan_out: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(replicas, fan_out, fan_in, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(replicas, fan_out, dtype=dtype))

    def forward(self, inputs: Tensor, bias: Tensor | None = None) -> Tensor:
        """(replicas, batch, fan_in) -> (replicas, batch, fan_out); `bias` replaces its own."""
        bias = self.bias.unsqueeze(1) if bias is None else bias
        return torch.baddbmm(bias, inputs, self.weight.mT)

    def extra_repr(self) -> str:
        """Return the sizes, for `print`."""
        replicas, fan_out, fan_in = self.weight.shape
        return f"replicas={replicas}, in_features={fan_in}, out_features={fan_out}"


class ReplicatedNorm(nn.Module):
    """Normalisation of (replicas, batch, units) pre-activations, with its scale and shift.

    ``batch`` over the examples (Ioffe & Szegedy 2015), ``layer`` over the units (Ba et al. 2016),
    ``rms`` over the units without centring (Zhang & Sennrich 2019).
    """

    def __init__(self, kind: str, replicas: int, units: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.kind = kind
        self.scale = nn.Parameter(torch.ones(replicas, 1, units, dtype=dtype))
        self.shift = nn.Parameter(torch.zeros(replicas, 1, units, dtype=dtype))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the normalised inputs, of the same shape."""
        axis = 1 if self.kind == "batch" else 2
        if self.kind != "rms":
            inputs = inputs - inputs.mean(axis, keepdim=True)
        normal = inputs * torch.rsqrt(inputs.square().mean(axis, keepdim=True) + 1e-5)
        return torch.addcmul(self.shift, normal, self.scale)

    def extra_repr(self) -> str:
        """Return the kind, for `print`."""
        return self.kind


class Block(nn.Module):
    """One hidden layer: φ(norm(Wa + b)), and a added to it where `residual`."""

    def __init__(
        self, linear: nn.Module, norm: nn.Module | None, activation: nn.Module, residual: bool
    ) -> None:
        super().__init__()
        self.linear, self.norm, self.activation = linear, norm, activation
        self.residual = residual

    def forward(self, inputs: Tensor) -> Tensor:
        """(replicas, batch, fan_in) -> (replicas, batch, width)."""
        pre_activation = self.linear(inputs)
        if self.norm is not None:
            pre_activation = self.norm(pre_activation)
        output: Tensor = self.activation(pre_activation)
        return inputs + output if self.residual else output


#: Names that `NetworkConfig.norm` takes.
NORMS = ("none", "batch", "layer", "rms")


def network_activation(config: NetworkConfig) -> Activation:
    """Return the activation that `config` names."""
    return (
        activation(config.act)
        if config.alpha is None
        else activation(config.act, alpha=config.alpha)
    )


def mlp(config: NetworkConfig, inputs: int, outputs: int, dtype: torch.dtype) -> nn.Sequential:
    """Return a fully connected network of `config.depth` hidden layers, not yet initialised."""
    if config.norm not in NORMS:
        raise unknown_name("normalisation", config.norm, NORMS)
    phi = network_activation(config)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    fan_in = inputs
    for index in range(1, config.depth + 1):
        linear = ReplicatedLinear(config.seeds, fan_in, config.width, dtype)
        norm = None
        if config.norm != "none":
            norm = ReplicatedNorm(config.norm, config.seeds, config.width, dtype)
        residual = config.residual and index > 1
        layers[f"hidden{index}"] = Block(linear, norm, phi.module(), residual)
        fan_in = config.width
    layers["output"] = ReplicatedLinear(config.seeds, fan_in, outputs, dtype)
    return nn.Sequential(layers)


#: name -> (config, inputs, outputs, dtype) -> uninitialised network.
ARCHITECTURES: dict[str, Callable[[NetworkConfig, int, int, torch.dtype], nn.Sequential]] = {
    "mlp": mlp,
}


def build(
    config: NetworkConfig, inputs: int, outputs: int, dtype: torch.dtype, device: torch.device
) -> nn.Sequential:
    """Return the initialised network of `config` on `device`.

    Replica r is drawn from seed ``config.seed + r`` alone, so it is the same network whatever
    the number of replicas and the device.

    Raises
    ------
    GradflowError
        If the architecture, activation or initialisation is unknown.
    """
    if config.arch not in ARCHITECTURES:
        raise unknown_name("architecture", config.arch, ARCHITECTURES)
    how = configured(
        config.init, config.gain, config.weight_variance, config.bias_variance, config.bias_mean
    )
    model = ARCHITECTURES[config.arch](config, inputs, outputs, dtype)
    generators = [torch.Generator().manual_seed(config.seed + r) for r in range(config.seeds)]
    hidden_only = configured(config.init, config.gain, config.weight_variance, config.bias_variance)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, ReplicatedLinear):
                rule = hidden_only if name == "output" else how
                initialize(module.weight, module.bias, rule, generators)
    return model.to(device)
