"""Registries by address: looked up when they are asked for, so that a config imports nothing."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any


def loaded(address: str) -> Any:
    """Return what stands at ``module:attribute``; the module is imported now."""
    module, _, attribute = address.partition(":")
    return getattr(importlib.import_module(module), attribute)


def names(address: str) -> list[str]:
    """Return the names in a registry, in its order.

    Parameters
    ----------
    address
        ``module:attribute`` of a mapping from names, a sequence of names, or a function that
        returns one of these.
    """
    return list(_registry(address))


def described(address: str) -> list[str]:
    """Return ``name (summary)`` of every entry of a registry.

    An entry is its summary, or has one as an attribute.
    """
    entries = _registry(address)
    return [f"{name} ({getattr(entry, 'summary', entry)})" for name, entry in entries.items()]


def filled(text: str, address: str | None) -> str:
    """Return a help text with ``{names}`` and ``{described}`` replaced by what the registry has."""
    if address is not None:
        for placeholder, entries in (("{names}", names), ("{described}", described)):
            if placeholder in text:
                text = text.replace(placeholder, listed(entries(address)))
    return text


def listed(words: Iterable[str], conjunction: str = "or") -> str:
    """Return words as a sentence has them: ``rnn, lstm or gru``."""
    *first, last = words
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def _registry(address: str) -> Any:
    found = loaded(address)
    return found() if callable(found) else found
