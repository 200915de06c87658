"""`gradflow watch`."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradflow.cli import misplaced
from gradflow.cli.charted import ChartedOutput
from gradflow.cli.endings import signals_as_usual
from gradflow.cli.fail_on import FailOn, parse_fail_on
from gradflow.cli.live import LiveLine
from gradflow.cli.output import Output, exit_code
from gradflow.cli.streams import (
    discard_remarks,
    silence_what_follows,
    stdout_kept,
    stdout_on_stderr,
)
from gradflow.configs.watching import WatchConfig

if TYPE_CHECKING:
    from gradflow.results.watching import WatchResult

Script = Annotated[
    str,
    typer.Argument(
        metavar="SCRIPT",
        help="The program: a file, as of `python SCRIPT`; with -m the name of a module.",
    ),
]
Arguments = Annotated[
    list[str] | None, typer.Argument(metavar="[ARGS]…", help="Its own arguments and options.")
]
IsModule = Annotated[
    bool, typer.Option("-m", help="SCRIPT is the name of a module, as of `python -m`.")
]


def watch(
    context: typer.Context,
    script: Script,
    config: WatchConfig,
    output: ChartedOutput,
    arguments: Arguments = None,
    module: IsModule = False,
    fail_on: FailOn = "",
) -> None:
    """Run a program that trains, unchanged, and say how gradients flow in its models.

    Options of gradflow come before SCRIPT; all that comes after it is the program's. It runs as
    `python SCRIPT ARGS…` would; its own exit code is kept where that is not 0.
    """
    codes = parse_fail_on(fail_on)
    from gradflow.script.program import Program, argv_of

    program = Program(script, argv_of(arguments or ()), module)
    program.refuse_missing()
    from gradflow.script.run import ScriptRun

    signals_as_usual()
    quiet = stdout_on_stderr() if output.json else stdout_kept()

    line = LiveLine()

    def give_up(result: WatchResult) -> None:
        line.__exit__()
        quiet.__exit__(None, None, None)
        exit_at_once(_report(result, output, codes))

    with quiet, line:
        result = ScriptRun(program, config, line if line.on and reports() else None, give_up).run()
    code = _report(result, output, codes)
    said = misplaced.note(context, script, program.argv, result.script_exit_code)
    if said is not None and reports():
        typer.echo(said, err=True)
    if result.script_exit_code is None and others_run():
        exit_at_once(code)
    if code:
        raise typer.Exit(code)


def _report(result: WatchResult, output: Output, codes: frozenset[str]) -> int:
    """Show a result; return what the process exits with."""
    if reports():
        output.show(result)
    if output.json:
        silence_what_follows()
    return result.script_exit_code or exit_code(result, codes)


def reports() -> bool:
    """Return whether this process reports: of several that torchrun started, the first."""
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    return not several or os.environ.get("RANK", "0") == "0"


def others_run() -> bool:
    """Return whether a thread of the program would keep the process from exiting."""
    others: list[Any] = [t for t in threading.enumerate() if t is not threading.main_thread()]
    return any(not thread.daemon for thread in others)


def exit_at_once(code: int) -> None:
    """Exit, whatever threads still run."""
    sys.stdout.flush()
    discard_remarks()
    os._exit(code)
