"""`gradflow width`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradflow.cli import opening
from gradflow.cli.diagnose import InputIds, InputShape, Vocab, refuse_stray_inputs
from gradflow.cli.fail_on import FailOn, parse_fail_on
from gradflow.cli.output import Output
from gradflow.configs.width import WidthConfig, WidthNetwork

if TYPE_CHECKING:
    from gradflow.results.width import WidthResult

Model = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.py:NAME",
        help="A function of the width: file.py:name or package.module:name. It returns a "
        "torch.nn.Module, or a tuple that begins with one: an optimizer in it is trained with, the "
        "rest is (inputs[, targets[, loss]]).",
        rich_help_panel="Your own model",
    ),
]


Apply = Annotated[
    str | None,
    typer.Option(
        "--apply",
        metavar="FILE.py",
        help="Write what repairs it as Python: a function repair(model, optimizer, width).",
        rich_help_panel="Output",
    ),
]


def width(
    config: WidthConfig,
    network: WidthNetwork,
    output: Output,
    model: Model = None,
    input_shape: InputShape = None,
    input_ids: InputIds = None,
    vocab: Vocab = None,
    fail_on: FailOn = "",
    apply: Apply = None,
) -> None:
    """Train networks of several widths for a few steps: does every layer move alike at all of them?

    Where one does not, a learning rate found at one width is wrong at another. The multipliers
    that repair it (μP) are printed, and tried.
    """
    from gradflow.cli.progress import counting, working

    codes = parse_fail_on(fail_on)
    refuse_stray_inputs(model, input_shape, input_ids, vocab)
    target = None if apply is None else _target(apply)
    if model is None:
        opening.training(output, network, config, config.widths)
    with working("loading torch"):
        from gradflow.diagnosis.model_files import Given
        from gradflow.widths.run import of_config, of_file
    with counting("training") as progress:
        if model is None:
            result = of_config(network, config, progress)
        else:
            given = Given(input_shape, input_ids, vocab)
            result = of_file(model, network, config, given, progress)
    if target is not None:
        _write(result, target)
    output.emit(result, codes)


def _target(apply: str) -> Path:
    from gradflow.report.remedied import check_python

    return check_python(apply)


def _write(result: WidthResult, target: Path) -> None:
    from gradflow import report
    from gradflow.report.remedied import write_repair

    if not result.torch:
        report.say(f"nothing to repair: {target} is not written")
        return
    write_repair(result, target)
    report.say(f"wrote {target}")
