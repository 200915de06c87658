"""A callback for Keras 3 on the torch backend: ``model.fit(…, callbacks=[KerasWatch()])``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from gradflow.errors import GradflowError
from gradflow.integrations.session import Watching, missing

try:
    import keras
except ImportError as error:
    raise missing("keras", error) from None

__all__ = ["KerasWatch"]

#: Layers that call their own activation on the product with their weights.
_WITH_ACTIVATION = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)


class KerasWatch(Watching, keras.callbacks.Callback):
    """Watches what Keras fits on torch; afterwards ``callback.result`` says what was seen.

    Keras keeps its layers in lists of its own, so that torch does not know them as parts of the
    model. A model of torch's own stands beside it while it trains: a part for each layer, which
    shares its weights and is handed what it computes.

    Parameters are those of `gradflow.integrations.session.Watching`.

    Raises
    ------
    GradflowError
        If Keras runs on another backend than torch.

    Examples
    --------
    >>> callback = KerasWatch(fail_on="vanishing")  # doctest: +SKIP
    >>> model.fit(x, y, callbacks=[callback])  # doctest: +SKIP
    >>> callback.result.verdict  # doctest: +SKIP
    'vanishing'
    """

    def __init__(
        self, *, fail_on: str | Iterable[str] = (), check_every: int = 100, **options: Any
    ) -> None:
        if keras.config.backend() != "torch":
            raise GradflowError(
                f"KerasWatch needs the torch backend, this is {keras.config.backend()}",
                "KERAS_BACKEND=torch, set before keras is imported",
            )
        super().__init__(fail_on=fail_on, check_every=check_every, **options)
        self._undo: list[Callable[[], None]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin to watch."""
        self._take_back()
        self.session.begin(self._mirrored())
        self._hear_updates()

    def on_train_batch_end(self, batch: Any, logs: Any = None) -> None:
        """End the training where a finding of `fail_on` is made."""
        if self.session.wrong() is not None:
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """Keep what was seen, and leave the model as it was."""
        self._take_back()
        self.session.end()

    def _mirrored(self) -> nn.ModuleDict:
        """Return the model beside Keras' own, and have every layer hand its numbers over."""
        parts = nn.ModuleDict()
        for layer in self.model._flatten_layers(include_self=False):
            if list(layer._flatten_layers(include_self=False)):
                continue  # its parts do the work
            name = (layer.path if layer.name in parts else layer.name).replace(".", "_")
            if layer.weights:
                parts[name] = self._shared(layer, parts, name)
            elif isinstance(layer, keras.layers.Activation | keras.layers.ReLU):
                parts[name] = layer
        return parts

    def _shared(self, layer: Any, parts: nn.ModuleDict, name: str) -> nn.Module:
        part: nn.Module = type(type(layer).__name__, (_Part,), {})(layer)
        if isinstance(layer, _WITH_ACTIVATION) and _bends(layer.activation):
            parts[f"{name}_activation"] = follower = _Function(layer.activation)
            self._replace(layer, "activation", _through(part, follower, layer.activation))
        else:
            handle = layer.register_forward_hook(lambda _, __, output: _handed(part, output))
            self._undo.append(handle.remove)
        return part

    def _replace(self, owner: Any, name: str, by: Any) -> None:
        before = getattr(owner, name)
        setattr(owner, name, by)
        self._undo.append(lambda: setattr(owner, name, before))

    def _hear_updates(self) -> None:
        """Have every update of the optimizer recorded; it is none of torch's."""
        optimizer, session = self.model.optimizer, self.session
        apply = optimizer.apply

        @functools.wraps(apply)
        def heard(*arguments: Any, **keywords: Any) -> Any:
            if session.watch is None or session.failed:
                return apply(*arguments, **keywords)
            with session.watch.updating():
                return apply(*arguments, **keywords)

        optimizer.apply = heard
        self._undo.append(lambda: delattr(optimizer, "apply"))

    def _take_back(self) -> None:
        while self._undo:
            self._undo.pop()()


class _Part(nn.Module):
    """Stands for a layer of Keras: has its weights, and is called with what it computed."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        for variable in layer.trainable_variables:
            self.register_parameter(variable.name.replace(".", "_"), variable.value)

    def forward(self, output: Tensor) -> Tensor:
        return output


class _Function(nn.Module):
    """An activation function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


def _bends(function: Any) -> bool:
    """Whether it is an activation function that is worth a module of its own."""
    return callable(function) and function is not keras.activations.linear


def _through(part: nn.Module, follower: nn.Module, function: Any) -> Callable[[Tensor], Any]:
    """Return a layer's activation that hands over what comes and what goes.

    It keeps the name under which Keras stores it: a model is saved as ever.
    """

    @functools.wraps(function)
    def activation(inputs: Tensor) -> Any:
        return follower(part(inputs))

    return activation


def _handed(part: nn.Module, output: Any) -> Any:
    return part(output) if isinstance(output, Tensor) else output
