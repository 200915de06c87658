"""`gradflow diagnose`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradflow.cli import opening
from gradflow.cli.charted import ChartedOutput
from gradflow.cli.fail_on import FailOn, parse_fail_on
from gradflow.cli.options import completer
from gradflow.configs.choices import OPTIMIZER_NAMES, OPTIMIZERS
from gradflow.configs.network import NetworkConfig
from gradflow.configs.registries import listed
from gradflow.errors import GradflowError

if TYPE_CHECKING:
    from gradflow.results.diagnosis import DiagnosisResult

_MODEL = "Your own model"
Model = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.py:NAME",
        help="Measure your own module: file.py:name or package.module:name, a torch.nn.Module, a "
        "function that returns one, or either with (model, inputs[, targets[, loss]]).",
        rich_help_panel=_MODEL,
    ),
]
InputShape = Annotated[
    str | None,
    typer.Option(
        metavar="N,…",
        help="Shape of one Gaussian input of --model, without the batch: 3,32,32.",
        rich_help_panel=_MODEL,
    ),
]
InputIds = Annotated[
    int | None,
    typer.Option(
        metavar="LENGTH",
        min=1,
        help="Length of one input of --model of random token numbers, below --vocab.",
        rich_help_panel=_MODEL,
    ),
]
Vocab = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="How many tokens there are.", rich_help_panel=_MODEL),
]
Optimizer = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"Optimizer of torch.optim that the verdict is for: {listed(OPTIMIZER_NAMES)}. Unless "
        "given, sgd for a built-in network; a model of your own is unhealthy where neither SGD "
        "nor Adam would train it.",
        autocompletion=completer(OPTIMIZERS),
        rich_help_panel="Measurement",
    ),
]
_REMEDIES = "Remedies"
TrialSteps = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Steps of each remedy's training: 100 unless given, fewer where they are slow.",
        rich_help_panel=_REMEDIES,
    ),
]
Apply = Annotated[
    str | None,
    typer.Option(
        "--apply",
        metavar="FILE.py",
        help="Write the best remedy as Python: a function build() that makes the remedied built-in "
        "network, or treat(model) for your own.",
        rich_help_panel=_REMEDIES,
    ),
]


def diagnose(
    context: typer.Context,
    network: NetworkConfig,
    output: ChartedOutput,
    model: Model = None,
    input_shape: InputShape = None,
    input_ids: InputIds = None,
    vocab: Vocab = None,
    fail_on: FailOn = "",
    optimizer: Optimizer = None,
    remedies: Annotated[
        bool,
        typer.Option(
            "--remedies/--no-remedies",
            help="Try remedies on copies of an unhealthy network.",
            rich_help_panel=_REMEDIES,
        ),
    ] = True,
    train: Annotated[
        bool,
        typer.Option(
            "--train/--no-train",
            help="Train each remedy for some steps, on what was given or on MNIST.",
            rich_help_panel=_REMEDIES,
        ),
    ] = True,
    trial_steps: TrialSteps = None,
    apply: Apply = None,
) -> None:
    """Run one forward and backward pass and say how gradients flow through every layer."""
    from gradflow.cli.progress import working_then_counting

    codes = parse_fail_on(fail_on)
    refuse_stray_inputs(model, input_shape, input_ids, vocab)
    in_use = rate_in_use(context, network)
    steps, target = trial_steps if train else 0, _target(apply, remedies)
    if model is None:
        opening.measuring(output, network, optimizer)
    first: list[DiagnosisResult] = []
    with working_then_counting("measuring", "trying remedies") as told:
        from gradflow import diagnosis

        def seen(result: DiagnosisResult) -> None:
            told.end_first()
            output.begin(result)
            first.append(result)

        if model is None:
            result = diagnosis.diagnose(
                network,
                lr=in_use,
                remedies=remedies,
                trial_steps=steps,
                optimizer=optimizer,
                progress=told,
                seen=seen,
            )
        else:
            result = diagnosis.diagnose_file(
                model,
                network,
                input_shape,
                input_ids=input_ids,
                vocab=vocab,
                optimizer=optimizer,
                lr=in_use,
                remedies=remedies,
                trial_steps=steps,
                progress=told,
                seen=seen,
            )
    if target is not None:
        _write(result, target)
    output.emit(result, codes, next(iter(first), None))


def rate_in_use(context: typer.Context, network: NetworkConfig) -> float | None:
    """Return the learning rate that was named; None where it is the default."""
    source = context.get_parameter_source("lr")
    return network.lr if source is not None and source.name != "DEFAULT" else None


def refuse_stray_inputs(
    model: str | None, input_shape: str | None, input_ids: int | None, vocab: int | None
) -> None:
    """Refuse what describes the inputs of a model where there is none.

    Raises
    ------
    GradflowError
        Which names the option.
    """
    if model is None and input_shape is not None:
        raise GradflowError("--input-shape goes with --model", "--width sets the built-in inputs")
    if model is None and (input_ids is not None or vocab is not None):
        raise GradflowError("--input-ids and --vocab go with --model")


def _target(apply: str | None, remedies: bool) -> Path | None:
    """Where the best remedy is to be written, checked before any work starts."""
    if apply is None:
        return None
    if not remedies:
        raise GradflowError("--apply needs remedies", "drop --no-remedies")
    from gradflow.report.remedied import check_python

    return check_python(apply)


def _write(result: DiagnosisResult, target: Path) -> None:
    from gradflow import report
    from gradflow.report import remedied

    if result.verdict == "healthy":
        report.say(f"nothing to remedy: {target} is not written")
        return
    report.say(f"wrote {target}: {remedied.write(result, target).remedy}")
