"""`gradflow sweep`."""

from __future__ import annotations

from typing import Annotated

import typer

from gradflow.cli import opening
from gradflow.cli.charted import ChartedOutput
from gradflow.cli.fail_on import FailOn, parse_fail_on
from gradflow.configs.sweep import SweepConfig

Resume = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.json",
        help="Measure only the points that this earlier result lacks.",
        rich_help_panel="Measurement",
    ),
]


def sweep(
    config: SweepConfig, output: ChartedOutput, resume: Resume = None, fail_on: FailOn = ""
) -> None:
    """Measure gradients over a grid of depths and weight variances, beside theory.

    Every list takes ranges: --depths 10:50:10 --weight-variances 0.5:4:0.25.
    """
    from gradflow.cli.progress import counting, working

    codes = parse_fail_on(fail_on)
    if resume is None:
        opening.sweeping(output, config)
    with working("loading torch"):
        from gradflow.sweeps.earlier import rows_of_file
        from gradflow.sweeps.run import sweep as measure
    known = () if resume is None else rows_of_file(resume, config)
    with counting("measuring") as progress:
        result = measure(config, known=known, progress=progress)
    output.emit(result, codes)
