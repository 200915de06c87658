"""Turns a config's fields into a command's options."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args, get_type_hints

import typer

from gradflow.configs.fields import OptionSpec, several, value_list
from gradflow.configs.registries import filled, names


def expand_configs(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of `command` that is a config by one option per field.

    The command is called with the configs built from the options: the fields, their defaults
    and their help stand in one place, the config.
    """
    # Not get_type_hints: Python 3.10 hides an annotation in an Optional where the default is None.
    signature = inspect.signature(command, eval_str=True).parameters
    hints = {name: parameter.annotation for name, parameter in signature.items()}
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
        for name, own in signature.items()
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


def completer(address: str) -> Callable[[str], list[str]]:
    """Return a shell completion over the names of a registry, looked up when it is asked."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names(address) if name.startswith(incomplete.lower())]

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
        help=filled(spec.help() if callable(spec.help) else spec.help, spec.lists),
        metavar=spec.metavar or ("X,…" if spec.several else None),
        rich_help_panel=spec.panel,
        autocompletion=completer(spec.complete) if spec.complete else None,
    )
