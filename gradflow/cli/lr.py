"""`gradflow lr`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import typer

from gradflow.cli import opening
from gradflow.cli.charted import ChartedOutput
from gradflow.cli.diagnose import (
    InputIds,
    InputShape,
    Model,
    Vocab,
    rate_in_use,
    refuse_stray_inputs,
)
from gradflow.cli.endings import INTERRUPTED, signals_as_usual
from gradflow.cli.fail_on import FailOn, parse_fail_on
from gradflow.cli.output import Output, exit_code
from gradflow.cli.streams import silence_what_follows, stdout_kept, stdout_on_stderr
from gradflow.cli.watch import Arguments, IsModule, exit_at_once, others_run, reports
from gradflow.configs.learning_rate import LearningRateConfig
from gradflow.configs.network import NetworkConfig
from gradflow.errors import GradflowError

if TYPE_CHECKING:
    from gradflow.results.learning_rate import LearningRateResult
    from gradflow.script.program import Program

Script = Annotated[
    str | None,
    typer.Argument(
        metavar="[SCRIPT]",
        help="A program that trains, run until its first training step: a file, as of "
        "`python SCRIPT`; with -m the name of a module.",
        show_default=False,
    ),
]


def lr(
    context: typer.Context,
    config: LearningRateConfig,
    network: NetworkConfig,
    output: ChartedOutput,
    script: Script = None,
    arguments: Arguments = None,
    module: IsModule = False,
    model: Model = None,
    input_shape: InputShape = None,
    input_ids: InputIds = None,
    vocab: Vocab = None,
    fail_on: FailOn = "",
) -> None:
    """Find a learning rate: train copies for a few steps, each at a larger rate than the last.

    Of a built-in network, of a model of your own, or of a program, which is run as `python SCRIPT
    ARGS…` would and ended at its first training step. With --lr, that rate is judged as well; of a
    program its own is.
    """
    codes = parse_fail_on(fail_on)
    refuse_stray_inputs(model, input_shape, input_ids, vocab)
    if script is not None:
        from gradflow.script.program import Program, argv_of

        program = Program(script, argv_of(arguments or ()), module)
        program.refuse_missing()
        _refuse_others(context)
        _of_program(program, config, output, codes)
        return
    if module:
        raise GradflowError("-m needs the name of a module", "gradflow lr -m NAME")
    if model is None and config.momentum is None:
        opening.training(output, network, config)
    output.emit(
        _of_network(context, config, network, model, (input_shape, input_ids, vocab)), codes
    )


def _of_network(
    context: typer.Context,
    config: LearningRateConfig,
    network: NetworkConfig,
    model: str | None,
    inputs: tuple[str | None, int | None, int | None],
) -> LearningRateResult:
    from gradflow.cli.progress import counting, working

    in_use = rate_in_use(context, network)
    with working("loading torch"):
        from gradflow.diagnosis.model_files import Given
        from gradflow.learning_rates.run import learning_rate_of_file, of_config
    with counting("training") as progress:
        if model is None:
            return of_config(network, config, in_use, progress)
        return learning_rate_of_file(model, network, config, Given(*inputs), in_use, progress)


#: What goes with a program: all else describes a network, or an optimizer.
_WITH_PROGRAM = frozenset(
    ("script", "arguments", "module", "steps", "fail_on", *(f.name for f in fields(ChartedOutput)))
)


def _refuse_others(context: typer.Context) -> None:
    """Refuse what a program says itself.

    Raises
    ------
    GradflowError
        Which names the option.
    """
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in _WITH_PROGRAM and source is not None and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            raise GradflowError(
                f"{option} does not go with a program, whose model and optimizer are its own",
                "what is the program's comes after its name",
            )


@dataclass
class _Reported:
    """Shows what a program gave, once, and says what the process exits with."""

    output: Output
    codes: frozenset[str]

    def __call__(self, result: LearningRateResult) -> int:
        if reports():
            self.output.show(result)
        if self.output.json:
            silence_what_follows()
        return exit_code(result, self.codes)


def _of_program(
    program: Program, config: LearningRateConfig, output: Output, codes: frozenset[str]
) -> None:
    from gradflow.script.rates import RateRun

    signals_as_usual()
    quiet = stdout_on_stderr() if output.json else stdout_kept()
    report = _Reported(output, codes)

    def give_up() -> None:
        quiet.__exit__(None, None, None)
        exit_at_once(2 if run.result is None else report(run.result))

    run = RateRun(program, config, last_resort=give_up)
    with quiet:
        result = run.run()
    if result is None:
        raise typer.Exit(INTERRUPTED if run.interrupted else run.code)
    code = report(result)
    if others_run():
        exit_at_once(code)
    if code:
        raise typer.Exit(code)
