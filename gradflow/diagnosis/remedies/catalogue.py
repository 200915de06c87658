"""The remedies: a new one is one entry."""

from __future__ import annotations

from collections.abc import Iterable

from gradflow.diagnosis.remedies import configs, data, inserted, weights
from gradflow.diagnosis.remedies.entry import Remedy, both
from gradflow.diagnosis.remedies.loop import Loop

_SMALL = ("vanishing", "collapse", "no-gradient", "symmetric")
_LARGE = ("exploding", "broken", "saturated", "initial-loss")
_FLOW = (*_SMALL, *_LARGE)
#: What makes the first steps too large; what makes gradients smaller than Adam's ε.
_STEPS = ("step-size", "exploding", "initial-loss")
_LOST = ("vanishing", "underflow", "precision")

_CRITICAL = Remedy(configs.critical, weights.critical, _FLOW)
_LAYER = Remedy(
    configs.normalised("layer"), inserted.normalised(inserted.layer_norm), ("exploding", "broken")
)
_BATCH = Remedy(configs.normalised("batch"), inserted.normalised(inserted.batch_norm), _FLOW)
_RESIDUAL = Remedy(
    configs.where(lambda a: a.residual == "option", configs.having(residual=True)),
    inserted.residual,
    ("vanishing", "dead"),
)
_RELU = Remedy(
    configs.relu,
    inserted.other_activation("torch.nn.ReLU()", "torch.relu(args[0])"),
    ("saturated", "vanishing"),
)
_OWN = Remedy(code=weights.torchs_own, answers=_LARGE)
_HE = Remedy(configs.drawn("he-normal", 2.0), weights.he, ("dead",))
_INPUTS = Remedy(code=data.inputs_standardised, answers=("inputs",))
_TARGETS = Remedy(code=data.targets_standardised, answers=("targets", "initial-loss"))

#: name -> what to change.
REMEDIES: dict[str, Remedy] = {
    "critical weights": _CRITICAL,
    "He initialisation": _HE,
    "LeCun initialisation": Remedy(configs.drawn("lecun-normal", 1.0), weights.lecun),
    "orthogonal initialisation": Remedy(code=weights.orthogonal, answers=("vanishing",)),
    "data-driven scaling (LSUV)": Remedy(code=weights.data_driven, answers=_FLOW),
    "PyTorch's own weights": _OWN,
    "biases at 0": Remedy(configs.unbiased, weights.zero_biases, ("dead", "saturated")),
    "ReLU": _RELU,
    "ReLU, He initialisation": both(_RELU, _HE),
    "Leaky ReLU": Remedy(
        configs.leaky_relu,
        inserted.other_activation(
            "torch.nn.LeakyReLU(0.2)", "torch.nn.functional.leaky_relu(args[0], 0.2)"
        ),
        ("dead",),
    ),
    "LayerNorm": _LAYER,
    "BatchNorm": _BATCH,
    "RMSNorm": Remedy(configs.normalised("rms"), inserted.normalised(inserted.rms_norm)),
    "residual": _RESIDUAL,
    "critical weights, BatchNorm": both(_CRITICAL, _BATCH),
    "critical weights, LayerNorm": both(_CRITICAL, _LAYER),
    "critical weights, residual": both(_CRITICAL, _RESIDUAL),
    "PyTorch's own weights, residual": both(_OWN, _RESIDUAL),
    "spectral radius 1": Remedy(
        configs.where(
            lambda architecture: architecture.recurrent,
            configs.having(spectral_radius=1.0, init="orthogonal"),
        ),
        weights.spectral_radius,
        ("vanishing", "exploding"),
    ),
    "gates that remember": Remedy(code=weights.chrono, answers=("vanishing",)),
    "LSTM": Remedy(configs.other_architecture("lstm")),
    "GRU": Remedy(configs.other_architecture("gru")),
    "inputs standardised": _INPUTS,
    "inputs standardised, critical weights": both(_INPUTS, _CRITICAL),
    "targets standardised": _TARGETS,
    "targets standardised, critical weights": both(_TARGETS, _CRITICAL),
    "no activation behind the output": Remedy(
        code=data.no_output_activation, answers=("output-activation",)
    ),
    "the loss's activation behind the output": Remedy(
        code=data.output_activation, answers=("output-activation", "loss")
    ),
    "a loss that goes with the output": Remedy(
        loss=data.fitting_loss, answers=("loss", "output-activation")
    ),
    "clipping (norm 1)": Remedy(answers=("exploding", "broken"), loop=Loop(clip=1.0)),
    "smaller learning rate": Remedy(answers=_STEPS, loop=Loop(slower=0.01)),
    "warm-up": Remedy(answers=_STEPS, loop=Loop(warm_up=20)),
    "Adam's ε at 1e-15": Remedy(answers=_LOST, loop=Loop(epsilon=1e-15)),
}


def in_order(codes: Iterable[str]) -> list[tuple[str, Remedy]]:
    """Return the remedies, those first that answer the first of these findings."""
    codes = list(dict.fromkeys(codes))

    def rank(item: tuple[str, Remedy]) -> int:
        answered = [codes.index(code) for code in item[1].answers if code in codes]
        return min(answered, default=len(codes))

    return sorted(REMEDIES.items(), key=rank)
