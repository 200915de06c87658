"""Change valid files at random and read them: each is read as a whole, or refused in a line.

    python scripts/fuzz_readers.py --count 1000000              # of each reader
    python scripts/fuzz_readers.py --only images --seed 1

Readers: `images` (a folder of IDX files), `document` (a result's JSON), `run` (the files of a run
folder), `checkpoint`. Bits are flipped, slices cut, doubled, moved and replaced; in JSON, values
are replaced by others as well. Broken is what raises anything but the reader's own refusal, and
what is read and cannot be written and read again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kill_runs import write_images

from gradflow.benchmarking import stored
from gradflow.benchmarking.storage import checkpoints
from gradflow.cli.app import app
from gradflow.datasets import images
from gradflow.errors import GradflowError
from gradflow.results.base import Result
from gradflow.results.benchmark import Setting
from gradflow.results.decoding import parse
from gradflow.results.nonfinite import encoded

#: What takes the place of a slice of bytes.
PIECES = [
    *(b"\x00", b"\xff", b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff", b"\x00\x00\x08\x03"),
    *(b"null", b"true", b"NaN", b'"NaN"', b"-1", b"1e999", b"1e308", b"9" * 400, b"0.5", b"[]"),
    *(b"{}", b"[" * 2000, b'{"a":' * 2000, b'"\\ud800"', b'"', b"}", b"]", b",", b":", b"\n"),
    *(b"\xed\xa0\x80", b"\xef\xbb\xbf", b"PK\x03\x04", b"\x80\x02", b"."),
]
#: What takes the place of a value in JSON.
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, 5e-324, "NaN", "", "x"),
    *("Infinity", "-Infinity", "1", "relu", "\x1b[31m", "../..", "δ" * 100, [], {}, [1], [[]]),
    *({"a": 1}, [None], ["NaN"], [1, 2, 3], {"": {"": {}}}),
]


class Reader(NamedTuple):
    """What is read, what it is made of, and how; `read` raises `refusal` for what it refuses."""

    files: dict[Path, bytes]
    read: Callable[[], Any]
    refusal: type[Exception]


def changed(content: bytes, drawn: random.Random) -> bytes:
    """Return a file with one to three changes."""
    if drawn.random() < 0.5 and (text := _other_value(content, drawn)) is not None:
        return text
    for _ in range(drawn.choice((1, 1, 2, 3))):
        content = drawn.choice(CHANGES)(content, drawn)
    return content


def _flip(content: bytes, drawn: random.Random) -> bytes:
    if not content:
        return content
    place, bit = drawn.randrange(len(content)), 1 << drawn.randrange(8)
    return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


def _replace(content: bytes, drawn: random.Random) -> bytes:
    start, end = _slice(content, drawn)
    return content[:start] + drawn.choice(PIECES) + content[end:]


def _insert(content: bytes, drawn: random.Random) -> bytes:
    place = drawn.randint(0, len(content))
    return content[:place] + drawn.choice(PIECES) + content[place:]


def _cut(content: bytes, drawn: random.Random) -> bytes:
    start, end = _slice(content, drawn)
    return content[:start] + content[end:]


def _double(content: bytes, drawn: random.Random) -> bytes:
    start, end = _slice(content, drawn)
    return content[:end] + content[start:]


def _move(content: bytes, drawn: random.Random) -> bytes:
    (start, end), place = _slice(content, drawn), drawn.randint(0, len(content))
    return content[:place] + content[start:end] + content[place:]


def _end(content: bytes, drawn: random.Random) -> bytes:
    return content[: drawn.randint(0, len(content))]


CHANGES = (_flip, _flip, _replace, _insert, _cut, _double, _move, _end)


def _slice(content: bytes, drawn: random.Random) -> tuple[int, int]:
    start = drawn.randint(0, len(content))
    return start, min(len(content), start + drawn.choice((1, 2, 4, 8, 64, 1024)))


def _other_value(content: bytes, drawn: random.Random) -> bytes | None:
    """Return JSON, or a line of it, with one value replaced, left out or moved; None for others."""
    lines = content.split(b"\n")
    index = drawn.randrange(len(lines) - 1) if content[:1] == b"{" and lines[1:] else 0
    lined = len(lines) > 2 and lines[0][-1:] == b"}"
    try:
        document = json.loads(lines[index] if lined else content)
    except ValueError:
        return None
    _change_in(document, drawn)
    text = json.dumps(document).encode()
    return b"\n".join([*lines[:index], text, *lines[index + 1 :]]) if lined else text + b"\n"


def _change_in(document: Any, drawn: random.Random) -> None:
    """Change one value of an object or list, however deep."""
    places = list(document) if isinstance(document, dict) else list(range(len(document)))
    if not places:
        return
    place = drawn.choice(places)
    inside = document[place]
    if isinstance(inside, dict | list) and inside and drawn.random() < 0.8:
        _change_in(inside, drawn)
    elif drawn.random() < 0.15:
        del document[place]
    elif isinstance(document, dict) and drawn.random() < 0.1:
        document[drawn.choice(("a", "", "rows", "seed", "schema"))] = document.pop(place)
    else:
        document[place] = drawn.choice(VALUES)


def tried(
    reader: Reader, count: int, drawn: random.Random, minutes: float = math.inf
) -> Counter[str]:
    """Read so many changed files; return how many were read, refused and broken."""
    ends: Counter[str] = Counter()
    paths, start = list(reader.files), time.perf_counter()
    for _ in range(count):
        if time.perf_counter() - start > 60 * minutes:
            break
        path = drawn.choice(paths)
        content = changed(reader.files[path], drawn)
        path.write_bytes(content)
        ends[ending(reader, path, content)] += 1
        path.write_bytes(reader.files[path])
    return ends


def ending(reader: Reader, path: Path, content: bytes) -> str:
    """Return how a reading ends: ``read``, ``refused`` or ``broken``, which is printed."""
    try:
        reader.read()
    except reader.refusal as refusal:
        return "refused" if str(refusal) else "broken"
    except Exception:  # whatever it is, it is what we look for
        print(f"broken: {path.name}: {content[:2000]!r}\n{traceback.format_exc(limit=-3)}")
        return "broken"
    return "read"


def image_reader(folder: Path) -> Reader:
    """Return the reader of a folder of small images."""
    for part, count in (("train", 5), ("t10k", 3)):
        for kind, sizes in (("images-idx3", (count, 4, 3)), ("labels-idx1", (count,))):
            header = bytes([0, 0, 8, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes)
            length = count * (12 if len(sizes) > 1 else 1)
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + bytes(range(length)))

    def read() -> None:
        data = images.load(folder)
        assert len(data.train_images) == len(data.train_labels)
        assert data.train_images.shape[1:] == data.test_images.shape[1:] == data.input_shape

    return Reader(_files(folder), read, GradflowError)


def document_reader(folder: Path) -> Reader:
    """Return the reader of results' JSON: what is read is written and read again the same."""
    for name, line in {
        "chain": "chain --weights 2,3 --slopes 0.1,0.2,0",
        "eval": "eval elu --at -1:1:1",
        "theory": "theory tanh --depth 3",
        "diagnose": "diagnose --depth 2 --width 4 --batch-size 4",
        "clip": "clip --depth 2 --width 4 --batch-size 4 --steps 2 --task mlp",
    }.items():
        called([*line.split(), "-o", str(folder / f"{name}.json")])

    def read_one(path: Path) -> None:
        result = Result.from_dict(parse(path.read_bytes()))
        written = json.dumps(encoded(result.to_dict()), allow_nan=False)
        again = Result.from_dict(parse(written))
        assert json.dumps(encoded(again.to_dict())) == written

    files = _files(folder)

    def read() -> None:
        for path, content in files.items():
            if path.read_bytes() != content:
                read_one(path)

    return Reader(files, read, ValueError)


def run_reader(folder: Path) -> Reader:
    """Return the reader of a run folder."""
    trained(folder)
    names = ("run.json", "config.json", "environment.json", "history.jsonl", "flow.jsonl")
    files = {folder / "run" / name: (folder / "run" / name).read_bytes() for name in names}
    return Reader(files, lambda: stored.read_benchmark([str(folder / "run")]), GradflowError)


def checkpoint_reader(folder: Path) -> Reader:
    """Return the reader of a checkpoint."""
    trained(folder)
    run = json.loads((folder / "run" / "run.json").read_bytes())["run"]
    (path,) = (folder / "run" / "checkpoints").glob("*.pt")
    setting = Setting(activation="relu", arch="mlp", batch_size=16, dropout="0.2/0.2")
    origin = checkpoints.Origin(run, setting, 0)
    checkpoints.load(str(path), origin)
    return Reader(
        {path: path.read_bytes()}, lambda: checkpoints.load(str(path), origin), GradflowError
    )


def trained(folder: Path) -> None:
    """Train for one epoch on a few small images, in ``run``."""
    data = folder / "images"
    data.mkdir()
    write_images(data)
    options = "benchmark --act relu --arch mlp --epochs 1 --batch-size 16 --workers 1 --device cpu"
    called([*options.split(), "--data", str(data), "--output-dir", str(folder / "run")])


def called(arguments: list[str]) -> None:
    """Run a command line, silently."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            app(arguments)
        except SystemExit as end:
            if end.code:
                raise RuntimeError(said.getvalue()) from None


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.iterdir())}


READERS: dict[str, Callable[[Path], Reader]] = {
    "images": image_reader,
    "document": document_reader,
    "run": run_reader,
    "checkpoint": checkpoint_reader,
}


def folders() -> Iterator[Path]:
    """Yield a folder for each reader, in memory where the system has such a place."""
    memory = Path("/dev/shm")
    while True:
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
            yield Path(name)


def main(argv: list[str] | None = None) -> int:
    """Try every reader, print how its files ended, and return whether one was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(READERS))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="of each reader, at most")
    chosen = parser.parse_args(argv)
    broken = 0
    for name, folder in zip(READERS, folders(), strict=False):
        if chosen.only not in (None, name):
            continue
        reader = READERS[name](folder)
        start = time.perf_counter()
        ends = tried(reader, chosen.count, random.Random(chosen.seed), chosen.minutes)
        seconds = time.perf_counter() - start
        broken += ends["broken"]
        print(
            f"{name}: {ends.total():,} files, {ends['read']:,} read, {ends['refused']:,} refused, "
            f"{ends['broken']} broken ({seconds:.0f} s)",
            flush=True,
        )
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
