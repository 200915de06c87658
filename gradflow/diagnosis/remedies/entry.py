"""What a remedy is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gradflow.configs.network import NetworkConfig
from gradflow.diagnosis.remedies.anatomy import Anatomy
from gradflow.diagnosis.remedies.loop import Loop

Change = Callable[[NetworkConfig], NetworkConfig | None]
Code = Callable[[Anatomy], str | None]


@dataclass(frozen=True)
class Remedy:
    """One change of a network.

    Attributes
    ----------
    change
        The changed config of a built-in network, or None where the remedy does not apply to it.
    code
        The lines of torch that do it to the user's own module, called `model`, or None. They are
        run on a copy to see what they do, and printed.
    answers
        Codes of findings that it is tried first for.
    loss
        The lines that exchange the function called `loss`, or None.
    loop
        How it is trained, where that is what is changed.
    """

    change: Change | None = None
    code: Code | None = None
    answers: tuple[str, ...] = ()
    loss: Code | None = None
    loop: Loop | None = None


def both(first: Remedy, second: Remedy) -> Remedy:
    """Return one remedy after the other; it applies where both do."""

    def change(config: NetworkConfig) -> NetworkConfig | None:
        once = first.change(config) if first.change else None
        twice = second.change(once) if once is not None and second.change else None
        return None if twice in (once, None) or once == config else twice

    def code(a: Anatomy) -> str | None:
        lines = [remedy.code(a) if remedy.code else None for remedy in (first, second)]
        return None if None in lines else "\n".join(line for line in lines if line)

    answers = tuple(dict.fromkeys((*first.answers, *second.answers)))
    return Remedy(change, code, answers)
