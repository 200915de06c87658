"""Networks from a config: many independent replicas (seeds) in one module.

Every parameter carries a leading axis of replicas and every activation is
(replicas, batch, units), so N seeds cost a few batched products instead of N passes.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import nn

from gradflow.activations import Activation, activation
from gradflow.configs.network import NetworkConfig
from gradflow.configs.registries import loaded
from gradflow.networks.checking import check_network
from gradflow.networks.initialization import Initializer, configured, initialize
from gradflow.networks.layers import (
    Attention,
    Block,
    Image,
    Pool,
    ReplicatedConv,
    ReplicatedLinear,
    ReplicatedNorm,
    Residual,
    Split,
)
from gradflow.networks.recurrent import Cell, Recurrent, set_spectral_radius

__all__ = [
    "Block",
    "ReplicatedLinear",
    "ReplicatedNorm",
    "build",
    "network_activation",
]


def network_activation(config: NetworkConfig) -> Activation:
    """Return the activation that `config` names."""
    return activation(config.act, alpha=config.alpha)


def _norm(
    config: NetworkConfig, dtype: torch.dtype, dims: int = 3, units: int | None = None
) -> ReplicatedNorm | None:
    if config.norm == "none":
        return None
    return ReplicatedNorm(config.norm, config.seeds, units or config.width, dtype, dims)


def _chain(layers: OrderedDict[str, nn.Module], **further: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict([*layers.items(), *further.items()]))


def mlp(config: NetworkConfig, inputs: int, outputs: int, dtype: torch.dtype) -> nn.Sequential:
    """Return a fully connected network of `config.depth` hidden layers, not yet initialised."""
    phi = network_activation(config)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    fan_in = inputs
    for index in range(1, config.depth + 1):
        linear = ReplicatedLinear(config.seeds, fan_in, config.width, dtype)
        residual = config.residual and index > 1
        layers[f"hidden{index}"] = Block(
            linear, _norm(config, dtype), phi.module(), residual, _post(config)
        )
        fan_in = config.width
    return _chain(layers, output=ReplicatedLinear(config.seeds, fan_in, outputs, dtype))


def cnn(config: NetworkConfig, inputs: int, outputs: int, dtype: torch.dtype) -> nn.Sequential:
    """Return `config.depth` 3 × 3 convolutions of `config.width` channels, then a mean pool.

    The first has stride 2 where images are larger than 16 × 16.
    """
    phi, image = network_activation(config), Image(inputs)
    layers: OrderedDict[str, nn.Module] = OrderedDict(image=image)
    channels = image.channels
    for index in range(1, config.depth + 1):
        stride = first_stride(image) if index == 1 else 1
        conv = ReplicatedConv(config.seeds, channels, config.width, dtype, stride)
        layers[f"hidden{index}"] = Block(
            conv,
            _norm(config, dtype, dims=5),
            phi.module(),
            config.residual and index > 1,
            _post(config),
        )
        channels = config.width
    output = ReplicatedLinear(config.seeds, config.width, outputs, dtype)
    return _chain(layers, pool=Pool(), output=output)


def first_stride(image: Image) -> int:
    """Return the stride of a convolutional network's first layer."""
    return 2 if image.side > 16 else 1


def resmlp(config: NetworkConfig, inputs: int, outputs: int, dtype: torch.dtype) -> nn.Sequential:
    """Return `config.depth` residual blocks x + W φ(W′x) between two dense layers."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        embed=ReplicatedLinear(config.seeds, inputs, config.width, dtype)
    )
    for index in range(1, config.depth + 1):
        body = _two_layers(config, config.width, dtype)
        layers[f"block{index}"] = Residual(body, _norm(config, dtype), _post(config))
    return _chain(layers, output=ReplicatedLinear(config.seeds, config.width, outputs, dtype))


def _two_layers(config: NetworkConfig, inner: int, dtype: torch.dtype) -> nn.Sequential:
    up = ReplicatedLinear(config.seeds, config.width, inner, dtype)
    down = ReplicatedLinear(config.seeds, inner, config.width, dtype)
    phi = network_activation(config).module()
    return nn.Sequential(OrderedDict(up=up, activation=phi, down=down))


def transformer(
    config: NetworkConfig, inputs: int, outputs: int, dtype: torch.dtype
) -> nn.Sequential:
    """Return `config.depth` blocks of attention and two dense layers (Vaswani et al. 2017).

    Four heads where they divide the width; no positions, no mask; the mean over tokens goes to
    the output. A last normalisation follows pre-normalised blocks.
    """
    tokens, size = token_shape(config, inputs)
    post, heads = _post(config), heads_of(config)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        tokens=Split(tokens, size),
        embed=ReplicatedLinear(config.seeds, size, config.width, dtype),
    )
    for index in range(1, config.depth + 1):
        attention = Attention(config.seeds, config.width, heads, dtype)
        dense = _two_layers(config, 4 * config.width, dtype)
        layers[f"block{index}"] = nn.Sequential(
            OrderedDict(
                attention=Residual(attention, _norm(config, dtype, dims=4), post),
                dense=Residual(dense, _norm(config, dtype, dims=4), post),
            )
        )
    last = None if post else _norm(config, dtype, dims=4)
    if last is not None:
        layers["norm"] = last
    output = ReplicatedLinear(config.seeds, config.width, outputs, dtype)
    return _chain(layers, pool=Pool(), output=output)


def recurrent(
    config: NetworkConfig, inputs: int, outputs: int, dtype: torch.dtype
) -> nn.Sequential:
    """Return one recurrent layer over `config.depth` time steps; the last state is the output's."""
    size = math.ceil(inputs / config.depth)
    phi = network_activation(config).module()
    cell = loaded(config.architecture.cell or "")(config.seeds, size, config.width, phi, dtype)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        steps=Split(config.depth, size), recurrent=Recurrent(cell)
    )
    return _chain(layers, output=ReplicatedLinear(config.seeds, config.width, outputs, dtype))


def heads_of(config: NetworkConfig) -> int:
    """Return the number of a transformer's heads."""
    return 1 if config.width % 4 else 4


def token_shape(config: NetworkConfig, inputs: int) -> tuple[int, int]:
    """Return number and size of the tokens that `inputs` numbers are cut into."""
    if inputs % config.width == 0:
        return inputs // config.width, config.width
    tokens = math.isqrt(inputs)
    return tokens, math.ceil(inputs / tokens)


def _post(config: NetworkConfig) -> bool:
    return config.norm_position == "post"


def build(
    config: NetworkConfig,
    inputs: int,
    outputs: int,
    dtype: torch.dtype,
    device: torch.device,
    rule: Initializer | None = None,
) -> nn.Sequential:
    """Return the initialised network of `config` on `device`.

    It takes (replicas, batch, inputs), whatever its architecture makes of them. Replica r is
    drawn from seed ``config.seed + r`` alone, so it is the same network whatever the number of
    replicas and the device.

    Parameters
    ----------
    rule
        By which weights and biases are drawn instead of that of `config`.

    Raises
    ------
    GradflowError
        If the architecture, activation, normalisation or initialisation is unknown, or an option
        does not apply.
    """
    check_network(config)
    model: nn.Sequential = loaded(config.architecture.builder)(config, inputs, outputs, dtype)
    _draw(model, config, rule)
    return model.to(device)


def _draw(model: nn.Module, config: NetworkConfig, rule: Initializer | None) -> None:
    how = rule or configured(
        config.init, config.gain, config.weight_variance, config.bias_variance, config.bias_mean
    )
    hidden_only = rule or configured(
        config.init, config.gain, config.weight_variance, config.bias_variance
    )
    generators = [torch.Generator().manual_seed(config.seed + r) for r in range(config.seeds)]
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, ReplicatedLinear | ReplicatedConv):
                rule = hidden_only if name == "output" else how
                initialize(module.weight.flatten(2), module.bias, rule, generators)
            elif isinstance(module, Cell):
                # As torch.nn.RNN does, inputs get the recurrent matrix's variance.
                initialize(
                    module.input_weight, module.input_bias, how, generators, fan_in=config.width
                )
                initialize(module.weight, module.bias, hidden_only, generators, gates=module.gates)
                if config.spectral_radius is not None:
                    set_spectral_radius(module.weight, config.spectral_radius, module.gates)
