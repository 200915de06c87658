"""Turns a config's fields into a command's options."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, get_args, get_type_hints

import typer

from gradflow.configs.fields import OptionSpec, several, value_list


def expand_configs(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of `command` that is a config by one option per field.

    The command is called with the configs built from the options: the fields, their defaults
    and their help stand in one place, the config.
    """
    hints = get_type_hints(command, include_extras=True)
    configs = {
        name: hint
        for name, hint in hints.items()
        if isinstance(hint, type) and dataclasses.is_dataclass(hint)
    }

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        built = {
            name: config(**{f.name: _parsed(f, values.pop(f.name)) for f in _fields(config)})
            for name, config in configs.items()
        }
        command(**values, **built)

    parameters = [
        parameter
        for name, own in inspect.signature(command).parameters.items()
        for parameter in (
            _parameters(configs[name])
            if name in configs
            else [own.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)]
        )
    ]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    del wrapper.__wrapped__
    return wrapper


def _activation_names() -> list[str]:
    from gradflow.activations import ACTIVATIONS

    return list(ACTIVATIONS)


def _initializer_names() -> list[str]:
    from gradflow.networks.initialization import INITIALIZERS

    return list(INITIALIZERS)


#: What shell completion offers for each kind of name, looked up when it is asked.
NAMES: dict[str, Callable[[], Iterable[str]]] = {
    "activation": _activation_names,
    "init": _initializer_names,
    "arch": lambda: ("mlp", "cnn", "resmlp", "rnn", "lstm", "gru", "transformer"),
    "norm": lambda: ("none", "batch", "layer", "rms"),
    "norm-position": lambda: ("pre", "post"),
    "device": lambda: ("auto", "cpu", "cuda", "mps"),
    "dtype": lambda: ("float32", "float64", "float16", "bfloat16"),
    "loss": lambda: ("cross-entropy", "bce", "mse"),
    "data": lambda: ("gaussian", "mnist"),
    "classifier": lambda: ("cnn", "mlp", "deep-mlp"),
    "classifier-init": lambda: ("keras", *_initializer_names()),
    "precision": lambda: ("fp32", "tf32", "bf16"),
    "optimizer": lambda: ("adam", "adamw", "sgd", "rmsprop", "nadam", "adagrad"),
    "policy": lambda: ("none", "value", "norm", "layer-norm", "parameter-norm", "agc", "autoclip"),
    "nonfinite": lambda: ("refuse", "zero"),
    "task": lambda: ("mlp", "deep-mlp", "adding", "copy", "mnist-rows"),
}


def completer(kind: str) -> Callable[[str], list[str]]:
    """Return a shell completion over the known names of a kind."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in NAMES[kind]() if name.startswith(incomplete.lower())]

    return complete


def _fields(config: type[Any]) -> Iterator[dataclasses.Field[Any]]:
    return (f for f in dataclasses.fields(config) if "option" in f.metadata)


def _parsed(f: dataclasses.Field[Any], value: Any) -> Any:
    """Return an option's value as its field has it: lists as tuples, commas taken apart."""
    kind = f.metadata["option"].several
    if kind is not None:
        return value_list(f"--{f.name.replace('_', '-')}", value, kind)
    return tuple(value) if isinstance(value, list) else value


def _parameters(config: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(config)
    for f in _fields(config):
        default, annotation = f.default, hints[f.name]
        if f.metadata["option"].several is not None:
            default, annotation = [str(value) for value in several(default)], list[str]
        elif isinstance(default, tuple):  # repeatable
            default, annotation = list(default), list[get_args(annotation)[0]]  # type: ignore[misc]
        yield inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[annotation, _typer_option(f.metadata["option"])],
        )


def _typer_option(spec: OptionSpec) -> Any:
    return typer.Option(
        *spec.flags,
        help=spec.help,
        metavar=spec.metavar or ("X,…" if spec.several else None),
        rich_help_panel=spec.panel,
        autocompletion=completer(spec.complete) if spec.complete else None,
    )
