"""Remedies that draw or scale the weights of the user's own module again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from gradflow.diagnosis.objective import called, copied
from gradflow.diagnosis.remedies.anatomy import Anatomy, Layer
from gradflow.diagnosis.remedies.code import SEEDED, applied, for_each, grouped, place
from gradflow.measurement.hooks import first_tensor
from gradflow.measurement.preserving import random_states_kept

#: Weight variance times fan-in that keeps δ where theory has no one value: He's for what is like
#: ReLU; LeCun's for SELU, whose fixed point it is.
_LIKE_RELU, _LINEAR = 2.0, 1.0
_FIXED: dict[type[nn.Module], float] = {nn.SELU: _LINEAR}
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def variance(act: nn.Module | None) -> float:
    """Return σ_w², the weight variance times fan-in, that fits the activation behind a layer."""
    from gradflow.networks.conversion import known_activation
    from gradflow.theories.meanfield import critical_weight_variance

    if act is None:
        return _LINEAR
    if type(act) in _FIXED:
        return _FIXED[type(act)]
    try:
        phi = known_activation(act)
    except Exception:  # a class of somebody's own by a known name
        phi = None
    critical = None if phi is None else critical_weight_variance(phi, 0.0)
    return _LIKE_RELU if critical is None else float(f"{critical:.4g}")


def critical(a: Anatomy) -> str | None:
    """Gaussian weights of the variance that fits what follows each layer."""
    return _drawn(a, lambda layer: _normal(layer, variance(layer.follows)))


def he(a: Anatomy) -> str | None:
    """He et al. 2015, whatever follows; the output's layer has nothing behind it."""
    return _drawn(a, lambda layer: _normal(layer, 1.0 if layer is a.layers[-1] else 2.0))


def lecun(a: Anatomy) -> str | None:
    """LeCun et al. 1998."""
    return _drawn(a, lambda layer: _normal(layer, 1.0))


def orthogonal(a: Anatomy) -> str | None:
    """Saxe et al. 2014, with the gain that fits what follows each layer."""
    return _drawn(a, lambda layer: _orthogonal(variance(layer.follows)))


def _orthogonal(v: float) -> str:
    gain = math.sqrt(v)
    return f"torch.nn.init.orthogonal_({{m}}.weight, {gain:.4g})"


def _normal(layer: Layer, v: float) -> str:
    """The line that draws Gaussian weights of variance v/fan-in, {m} being the layer."""
    if isinstance(layer.module, nn.modules.conv._ConvTransposeNd):
        weight = layer.weight
        assert weight is not None
        return f"torch.nn.init.normal_({{m}}.weight, 0, {math.sqrt(v / fan_in(layer)):.4g})"
    if v in (1.0, 2.0):
        like = "relu" if v == 2.0 else "linear"
        return f'torch.nn.init.kaiming_normal_({{m}}.weight, nonlinearity="{like}")'
    return f"torch.nn.init.normal_({{m}}.weight, 0, ({v:g} / {{m}}.weight[0].numel()) ** 0.5)"


def fan_in(layer: Layer) -> float:
    """Return how many inputs one output of a layer is a sum of."""
    weight = layer.weight
    assert weight is not None
    if isinstance(layer.module, nn.modules.conv._ConvTransposeNd):
        stride = math.prod(layer.module.stride)
        return max(weight.shape[0] * weight[0, 0].numel() / stride, 1.0)
    return weight[0].numel()


def _drawn(a: Anatomy, line: Callable[[Layer], str]) -> str | None:
    """Draw the weights of dense and convolutional layers and attention; biases are 0."""
    layers = trained(a)
    lines = [SEEDED]
    for text, names in grouped([(layer.name, line(layer)) for layer in layers]).items():
        lines += for_each(a.model, names, text)
    lines += _zero_biases(a, layers)
    lines += _attention(a)
    lines += recurrent_lines(a)
    return "\n".join(lines) if len(lines) > 1 else None


def trained(a: Anatomy) -> list[Layer]:
    """Return dense and convolutional layers whose weight trains, each weight once."""
    seen: set[int] = set()
    found = []
    for layer in a.layers:
        weight = layer.weight
        if layer.plain and weight is not None and weight.requires_grad and id(weight) not in seen:
            seen.add(id(weight))
            found.append(layer)
    return found


def _zero_biases(a: Anatomy, layers: Iterable[Layer]) -> list[str]:
    names = [layer.name for layer in layers if isinstance(layer.module.bias, Tensor)]
    return for_each(a.model, names, "torch.nn.init.zeros_({m}.bias)")


def zero_biases(a: Anatomy) -> str | None:
    """Biases of dense and convolutional layers at 0, where any is not."""
    layers = [x for x in trained(a) if isinstance(x.module.bias, Tensor)]
    if not any(bool(torch.as_tensor(x.module.bias).any()) for x in layers):
        return None
    return "\n".join(_zero_biases(a, layers))


def _attention(a: Anatomy) -> list[str]:
    """Queries, keys and values of torch's attention, each drawn alone."""
    lines: list[str] = []
    for layer in a.layers:
        if not isinstance(layer.module, nn.MultiheadAttention):
            continue
        m = place(a.model, layer.name)
        if layer.module.in_proj_weight is not None:
            lines += [
                f"for part in {m}.in_proj_weight.data.chunk(3):",
                "    torch.nn.init.xavier_uniform_(part)",
            ]
        lines.append(f"torch.nn.init.xavier_uniform_({m}.out_proj.weight)")
        if layer.module.in_proj_bias is not None:
            lines += [f"torch.nn.init.zeros_({m}.{n})" for n in ("out_proj.bias", "in_proj_bias")]
    return lines


def recurrent_layers(a: Anatomy) -> list[Layer]:
    """Return torch's own recurrent layers and cells."""
    return [layer for layer in a.layers if isinstance(layer.module, _RECURRENT)]


def gates_of(module: nn.Module) -> int:
    """Return how many gates lie under one another in a recurrent layer's weights."""
    kind = type(module).__name__
    return next((n for name, n in _GATES.items() if kind.startswith(name)), 1)


def spectral_radius(a: Anatomy) -> str | None:
    """Orthogonal recurrent matrices, gate by gate; the forget gate of an LSTM starts at 1."""
    lines = recurrent_lines(a)
    return "\n".join([SEEDED, *lines]) if lines else None


def recurrent_lines(a: Anatomy, remember: bool = False) -> list[str]:
    """Return the lines that draw torch's recurrent layers.

    Parameters
    ----------
    remember
        Whether gates are set to remember as long as the sequence is (Tallec & Ollivier 2018).
    """
    lines: list[str] = []
    for layer in recurrent_layers(a):
        gates, module = gates_of(layer.module), layer.module
        m = place(a.model, layer.name)
        relu = getattr(module, "nonlinearity", "tanh") == "relu"
        start = "torch.nn.init.eye_(gate)" if relu else "torch.nn.init.orthogonal_(gate)"
        lines += [
            f"for name, p in {m}.named_parameters():",
            f"    for gate in p.data.chunk({gates}) if p.dim() > 1 else ():",
            f'        {start} if "hh" in name else torch.nn.init.xavier_normal_(gate)',
            "    if p.dim() == 1:",
            "        torch.nn.init.zeros_(p)",
        ]
        lines += _gate_biases(layer, gates, remember)
    return lines


def _gate_biases(layer: Layer, gates: int, remember: bool) -> list[str]:
    """The forget gate's bias of an LSTM; with `remember`, those of both gates, and a GRU's."""
    n = int(layer.module.hidden_size)  # type: ignore[arg-type]
    lines: list[str] = []
    condition = '    if "bias_ih" in name:'
    if gates == 4 and not remember:
        lines = [condition, f"        p.data[{n}:{2 * n}] = 1"]
    steps = _steps(layer)
    if remember and gates > 1 and steps > 2:
        # An LSTM's second gate keeps, and its first, of opposite bias, writes; a GRU's second
        # keeps as well.
        lines = [
            condition,
            f"        p.data[{n}:{2 * n}] = torch.empty({n}).uniform_(1, {steps - 1}).log()",
        ]
        if gates == 4:
            lines.append(f"        p.data[:{n}] = -p.data[{n}:{2 * n}]")
    return lines


def _steps(layer: Layer) -> int:
    """How many time steps a recurrent layer takes in."""
    if isinstance(layer.module, nn.RNNBase) and layer.entering and len(layer.entering) == 3:
        return layer.entering[1 if layer.module.batch_first else 0]
    return layer.calls


def chrono(a: Anatomy) -> str | None:
    """Gates that remember for as long as the sequence is (Tallec & Ollivier 2018)."""
    if not any(gates_of(x.module) > 1 and _steps(x) > 2 for x in recurrent_layers(a)):
        return None
    return "\n".join([SEEDED, *recurrent_lines(a, remember=True)])


def torchs_own(a: Anatomy) -> str | None:
    """The weights that torch would have drawn."""
    names = [
        layer.name
        for layer in a.layers
        if callable(getattr(layer.module, "reset_parameters", None))
        and any(p.requires_grad for p in layer.module.parameters(recurse=False))
    ]
    if not names:
        return None
    return "\n".join([SEEDED, *for_each(a.model, names, "{m}.reset_parameters()")])


#: Below this an output's standard deviation says that a layer is cut off, not that it is small.
_LEAST_STD = 1e-12


def data_driven(a: Anatomy) -> str | None:
    """Orthogonal weights, scaled layer by layer until each gives a variance of 1.

    Mishkin & Matas 2016 (LSUV), in one pass: what a layer gives is scaled with its weight.
    """
    drawn = orthogonal_draw(a)
    if drawn is None:
        return None
    model = applied(a.model_copy(), drawn)
    factors = _factors(model, a)
    if not factors:
        return None
    texts = [(name, f"{{m}}.weight.data.mul_({factor:.4g})") for name, factor in factors.items()]
    lines = [drawn]
    if len(factors) <= 3:
        lines += [text.format(m=place(a.model, name)) for name, text in texts]
    else:
        inside = ", ".join(f'"{name}": {factor:.4g}' for name, factor in factors.items())
        lines += [
            f"for name, factor in {{{inside}}}.items():",
            "    model.get_submodule(name).weight.data.mul_(factor)",
        ]
    return "\n".join(lines)


def orthogonal_draw(a: Anatomy) -> str | None:
    """Orthogonal weights of gain 1."""
    return _drawn(a, lambda _: "torch.nn.init.orthogonal_({m}.weight)")


def _factors(model: nn.Module, a: Anatomy) -> dict[str, float]:
    """By what each layer's weight is to be multiplied, in the order of their calls."""
    factors: dict[str, float] = {}

    def scale(name: str) -> Callable[..., Tensor | None]:
        def hook(_module: nn.Module, _: object, output: object) -> Tensor | None:
            made = first_tensor(output)
            if made is None or name in factors:
                return None if made is None else made * factors[name]
            std = float(made.double().std())
            usable = math.isfinite(std) and std > _LEAST_STD
            factors[name] = float(f"{1 / std:.4g}") if usable else 1.0
            return made * factors[name]

        return hook

    handles = [
        model.get_submodule(layer.name).register_forward_hook(scale(layer.name))
        for layer in trained(a)
    ]
    try:
        with random_states_kept(), torch.no_grad():
            called(model, copied(a.objective.inputs))
    finally:
        for handle in handles:
            handle.remove()
    return factors
