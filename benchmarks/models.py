"""Is `diagnose` right on models that others published?

Builds well over a hundred public model definitions from their configs, small, with random
weights and offline, and measures each with `gradflow.diagnose`. Of each: whether it ran; whether
every row's gradient norm equals that of plain autograd; whether the model and the random states
are bit for bit what they were; the share of trained entries that a row shows; verdict and
findings; time and memory over a plain forward and backward pass. Then twenty of them with one
thing broken: is it named?

    pip install -r benchmarks/public_models/requirements.txt   # an environment of its own
    python benchmarks/models.py -o models.jsonl
    python benchmarks/models.py --only transformers/gpt2 timm/ --watch
    python benchmarks/models.py --from models.jsonl             # print the table again

Each package is measured in a process of its own; where one ends, the next takes up the rest. A
package that is not installed is left out and said.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from public_models import table

PACKAGES = tuple(
    sorted(
        p.stem
        for p in (Path(__file__).parent / "public_models").glob("*.py")
        if "MODELS" in p.read_text() and p.stem != "__init__"
    )
)
SECONDS = 600  # for one model
Row = dict[str, Any]


def wanted(name: str, only: list[str]) -> bool:
    """Return whether ``--only`` asks for the name: all of it, or how it starts."""
    return not only or any(name == o or (o.endswith("/") and name.startswith(o)) for o in only)


def names_of(package: str, only: list[str]) -> list[str]:
    """Return the models and broken variants that a package has, of those asked for."""
    from public_models.variants import VARIANTS  # noqa: PLC0415

    module = importlib.import_module(f"public_models.{package}")
    models = [f"{package}/{name}" for name in module.MODELS]
    models += [v.name for v in VARIANTS if v.module == package]
    return [name for name in models if wanted(name, only)]


def work(package: str, options: argparse.Namespace) -> None:
    """Measure a package's models, and print a JSON line for each before and after."""
    _quiet()
    try:
        names = names_of(package, options.only)
    except ImportError as error:
        _say({"left_out": package, "why": str(error)})
        return
    _say({"names": [name for name in names if name not in options.skip]})
    for name in names:
        if name not in options.skip and not options.list:
            _say({"begun": name})
            _say({"name": name, **_guarded(name, options)})


def _guarded(name: str, options: argparse.Namespace) -> Row:
    signal.alarm(SECONDS)
    start = time.perf_counter()
    try:
        row = _measured(name, options)
    except ModuleNotFoundError as error:
        row = {"left_out": str(error)}
    except Exception as error:
        where = traceback.format_exc(limit=-3)
        row = {"ran": f"not measured: {type(error).__name__}: {error}", "traceback": where}
    finally:
        signal.alarm(0)
    return row | {"took": time.perf_counter() - start}


def _measured(name: str, options: argparse.Namespace) -> Row:
    from public_models import checks  # noqa: PLC0415
    from public_models.variants import VARIANTS  # noqa: PLC0415

    package, _, model = name.partition("/")
    model, _, fault = model.partition("+")
    builder = importlib.import_module(f"public_models.{package}").MODELS[model]
    if fault:
        (variant,) = (v for v in VARIANTS if v.name == name)
        return {"fault": fault, **checks.broken(builder, variant, train=options.train)}
    return checks.published(
        builder, watch=options.watch, costs=not options.no_costs, batch=options.batch
    )


def _quiet() -> None:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_long)


def _too_long(*_: object) -> None:
    raise TimeoutError(f"not done after {SECONDS} s")


def _say(message: Row) -> None:
    print(f"\n@ {json.dumps(message, default=str)}", flush=True)


def measured(package: str, options: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows of a package; a worker that dies is followed by one for the rest."""
    skip: list[str] = []
    while True:
        begun, left = None, None
        for message in _messages(package, options, skip):
            if "names" in message:
                left = message["names"]
            elif "begun" in message:
                begun = message["begun"]
            else:
                yield message
                skip.append(message.get("name", ""))
        if options.list:
            print(*(left or []), sep="\n")
        if options.list or left is None or begun is None or begun in skip:
            return
        yield {"name": begun, "ran": "the process ended"}
        skip.append(begun)


def _messages(package: str, options: argparse.Namespace, skip: list[str]) -> Iterator[Row]:
    command = [sys.executable, __file__, "--worker", package, "--only", *options.only]
    command += ["--skip", *skip]
    for flag in ("watch", "train", "no_costs", "batch", "list"):
        command += [f"--{flag.replace('_', '-')}"] * getattr(options, flag)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as worker:
        assert worker.stdout is not None
        for line in worker.stdout:
            if line.startswith("@ "):
                yield json.loads(line[2:])


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description="Measure public models with gradflow.")
    parser.add_argument("--only", nargs="*", default=[], help="PACKAGE/MODEL, or PACKAGE/ for all")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--watch", action="store_true", help="time a watched step too")
    parser.add_argument(
        "--train", action="store_true", help="train the broken ones for a moment too"
    )
    parser.add_argument("--no-costs", action="store_true", help="time and memory left out")
    parser.add_argument(
        "--batch", action="store_true", help=f"time a batch {table.TIMES} times as large as well"
    )
    parser.add_argument("-o", "--output", type=Path, help="JSON lines, one a model")
    parser.add_argument(
        "--from", dest="stored", type=Path, nargs="+", help="print what -o wrote, put together"
    )
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--skip", nargs="*", default=[], help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def stored(files: list[Path]) -> list[Row]:
    """Return what was written; what a later file says of a model is added to it."""
    found: dict[str, Row] = {}
    for line in (line for file in files for line in file.read_text().splitlines()):
        row = json.loads(line)
        found.setdefault(row.get("name", row.get("left_out")), {}).update(row)
    return list(found.values())


def rows_of(options: argparse.Namespace) -> list[Row]:
    """Measure, with a line of progress each; or read what was stored."""
    if options.stored:
        return stored(options.stored)
    rows = []
    if options.output:
        options.output.write_text("")
    for package in PACKAGES:
        if options.only and not any(o.split("/")[0] == package for o in options.only):
            continue
        for row in measured(package, options):
            rows.append(row)
            print(table.progress(row), file=sys.stderr, flush=True)
            if options.output:
                with options.output.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    return rows


def main() -> None:
    """Measure and print the table, the goals, and what is beside them."""
    options = options_of()
    if options.worker:
        work(options.worker, options)
        return
    rows = rows_of(options)
    if not options.list:
        print(table.page(rows, markdown=options.markdown))


if __name__ == "__main__":
    main()
