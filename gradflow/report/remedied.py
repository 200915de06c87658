"""The best remedy as a small Python file: a network that `build` makes, or what `treat` changes."""

from __future__ import annotations

import textwrap
from pathlib import Path

from gradflow.errors import GradflowError
from gradflow.report.files import check_folder, replacing
from gradflow.report.writers import SOFTWARE
from gradflow.results.diagnosis import DiagnosisResult, RemedyRow
from gradflow.results.width import WidthResult

_HINT = "name a new file, or delete it"


def check_python(path: str | Path) -> Path:
    """Return `path` if a Python file can be written there and would replace nobody's own.

    Raises
    ------
    GradflowError
        For another suffix, a missing folder, one that cannot be written to, and a file that
        gradflow did not write.
    """
    path = Path(path)
    if path.suffix != ".py":
        raise GradflowError(f"--apply writes Python, not '{path}'", "end it with .py")
    check_folder(path)
    if path.exists() and SOFTWARE not in path.read_text(encoding="utf-8", errors="replace")[:200]:
        raise GradflowError(f"'{path}' is already here, and gradflow did not write it", _HINT)
    return path


def write(result: DiagnosisResult, path: Path) -> RemedyRow:
    """Write the first remedy to `path`, whole or not at all, and return its row.

    Raises
    ------
    GradflowError
        If there is no remedy that torch has lines for.
    """
    row = next((row for row in result.remedies if row.torch), None)
    if row is None:
        raise GradflowError("there is no remedy to write", "the table says what was tried")
    with replacing(path) as temporary:
        temporary.write_text(_text(result, row), encoding="utf-8")
    return row


def write_repair(result: WidthResult, path: Path) -> None:
    """Write what repairs a network's dependence on its width to `path`."""
    head = f'"""{result.title}.\n\nWritten by {SOFTWARE}.\n"""\n\n'
    with replacing(path) as temporary:
        temporary.write_text(head + result.torch, encoding="utf-8")


def _text(result: DiagnosisResult, row: RemedyRow) -> str:
    head = (
        f'"""{row.remedy}, for a network that was {result.verdict}; {_trained(result, row)}\n\n'
        f'Written by {SOFTWARE}.\n"""\n\nimport torch\n\n\n'
    )
    for beginning, what in _OTHERS.items():
        if row.torch.startswith(beginning):
            return head + _function(what[0], what[1], row.torch, _made(row.torch))
    own = "model" in result.meta.config
    how = ("treat(model)", "Change the model, and return it.") if own else _BUILD
    return head + _function(*how, row.torch, "model")


_BUILD = ("build()", "Return the network.")
#: What changes no network, by how its lines begin: the function that is written, and what it does.
_OTHERS = {
    "torch.nn.utils.clip_grad_norm_": (
        "clip(model)",
        "Call this between loss.backward() and optimizer.step().",
    ),
    "optimizer =": (
        "optimizer_of(model)",
        "Return the optimizer; a scheduler takes a step after each of its.",
    ),
    "loss =": ("fitting(loss)", "Return the loss to train with, in the place of this one."),
}


def _made(lines: str) -> str | None:
    """The names that the lines give, but for those of a call alone."""
    names = [line.partition(" = ")[0] for line in lines.splitlines() if " = " in line]
    return ", ".join(name for name in names if name.isidentifier()) or None


def _trained(result: DiagnosisResult, row: RemedyRow) -> str:
    if row.trained_loss is None or result.untreated_loss is None:
        return "measured, not trained."
    return (
        f"trained for {result.trial_steps} steps,\nits loss is {row.trained_loss:.3g}, and "
        f"{result.untreated_loss:.3g} without."
    )


def _function(signature: str, says: str, lines: str, returned: str | None = None) -> str:
    body = [f'"""{says}"""', lines.rstrip(), *([f"return {returned}"] if returned else [])]
    return f"def {signature}:\n" + textwrap.indent("\n".join(body), "    ") + "\n"
