"""How the command line ends, whatever is wrong with where it runs or what it was given."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.old_torch import IS_OLD

from gradflow.cli import streams
from gradflow.cli.endings import interrupts_wait
from gradflow.lazy import leave_memory
from gradflow.report import writers
from gradflow.temporaries import prefix, sweep

Run = Callable[..., Any]
GRADFLOW = [sys.executable, "-m", "gradflow"]
EVAL = [*GRADFLOW, "eval", "gelu"]


def started(
    *arguments: str, shell: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command line in a process of its own; `shell` is put behind it."""
    command = " ".join([sys.executable, "-m", "gradflow", *arguments, shell])
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        encoding="utf-8",
        errors="replace",
    )


def test_a_defect_is_one_line_and_70(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> None:
        raise RuntimeError("one\ntwo")

    monkeypatch.setattr("gradflow.functions.evaluate.evaluate", defect)
    result = run("eval", "gelu")
    assert result.exit_code == 70
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: internal error of gradflow (RuntimeError: one two)")
    assert "report" in line
    assert "Traceback" not in result.stderr
    monkeypatch.setenv("GRADFLOW_TRACEBACK", "1")
    assert "Traceback" in run("eval", "gelu").stderr


@pytest.mark.skipif(os.name != "posix", reason="of pipes")
@pytest.mark.parametrize("arguments", [["eval", "gelu"], ["eval", "gelu", "--json"], ["--help"]])
def test_a_reader_that_leaves_is_no_fault(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*GRADFLOW, *arguments], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="of pipes")
def test_a_reader_that_leaves_costs_no_file(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*EVAL, "-o", "a.json"], stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, check=False
    )
    os.close(write)
    assert done.returncode == 0
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["command"] == "eval"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_said() -> None:
    for arguments in (["eval", "gelu"], ["eval", "gelu", "--json"]):
        done = started(*arguments, shell="> /dev/full")
        assert done.returncode == 2
        assert done.stderr == "error: cannot use standard output: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_error_changes_no_exit_code(tmp_path: Path) -> None:
    for buffered in ("", "1"):  # Python flushes once more as it exits, and has a code for that
        for wrong, code in (
            (["eval", "gleu"], 2),
            (["eval"], 2),
            (["nosuch"], 2),
            (["eval", "gelu"], 0),
        ):
            done = started(*wrong, shell="2> /dev/full", PYTHONUNBUFFERED=buffered)
            assert done.returncode == code
    written = tmp_path / "a.json"
    options = ["eval", "gelu", "--github", "-o", str(written)]
    assert started(*options, shell="2> /dev/full", PYTHONUNBUFFERED="").returncode == 0
    assert written.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_program_with_threads_ends_as_it_should_where_remarks_have_no_room(
    tmp_path: Path,
) -> None:
    program = tmp_path / "threads.py"
    program.write_text(
        "import threading, torch\n"
        "model = torch.nn.Linear(2, 1)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "while True:\n"
        "    optimizer.zero_grad()\n"
        "    model(torch.ones(3, 2)).sum().backward()\n"
        "    optimizer.step()\n",
        encoding="utf-8",
    )
    options = ["watch", "--steps", "2", str(program)]
    assert started(*options, shell="2> /dev/full", PYTHONUNBUFFERED="").returncode == 0


#: Leaves room for 64 bytes in any file, as a file system or a quota can.
ROOM = """
import resource, sys
from gradflow.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
sys.argv[0] = "gradflow"
main()
"""


def with_little_room(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ROOM, *arguments]
    # Nor is there room for what a measurement of coverage would write.
    unmeasured = {name: v for name, v in os.environ.items() if not name.startswith("COV")}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, encoding="utf-8", env=unmeasured
    )


@pytest.mark.skipif(os.name != "posix", reason="of limits")
@pytest.mark.parametrize("suffix", [s for s in writers.WRITERS if s != ".sarif"])  # it is shorter
def test_a_file_that_has_no_room_is_said_and_none_is_left(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"old{suffix}").write_text("old", encoding="utf-8")
    for name in ("new", "old"):
        done = with_little_room("eval", "gelu", "-o", str(tmp_path / f"{name}{suffix}"))
        assert done.returncode == 2, done.stderr
        said = f"error: cannot write '{tmp_path / name}{suffix}': {os.strerror(errno.EFBIG)}\n"
        assert done.stderr == said
    assert [path.name for path in tmp_path.iterdir()] == [f"old{suffix}"]
    assert (tmp_path / f"old{suffix}").read_text(encoding="utf-8") == "old"


@pytest.mark.skipif(os.name != "posix", reason="of limits")
@pytest.mark.skipif(IS_OLD, reason="torch 2.6 writes a file of its own as it is loaded")
def test_images_that_have_no_room_are_no_defect(tmp_path: Path) -> None:
    done = with_little_room("benchmark", "--quick", "--output-dir", str(tmp_path / "run"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write ")
    assert "TMPDIR" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="of shells")
def test_closed_streams_are_no_fault() -> None:
    for shell in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        done = started("eval", "gelu", shell=shell)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="of shells")
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_that_has_not_all_signs(encoding: str) -> None:
    table = started("theory", "relu", "--depth", "3", PYTHONIOENCODING=encoding)
    assert table.returncode == 0, table.stderr
    assert "log10 delta" in table.stdout
    document = started("eval", "gelu", "--json", PYTHONIOENCODING=encoding)
    assert json.loads(document.stdout)["activation"] == "gelu"
    assert started("diagnose", "--help", PYTHONIOENCODING=encoding).returncode == 0
    assert started("eval", "gleu", PYTHONIOENCODING=encoding).returncode == 2


def test_memory_is_left_but_where_triton_would_call_it_a_leak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen: list[str] = []
    monkeypatch.setattr("gc.freeze", lambda: frozen.append("all"))
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    leave_memory()
    assert frozen == ["all"]
    monkeypatch.setitem(sys.modules, "triton", sys)
    leave_memory()
    assert frozen == ["all"]


def test_signs_have_others_that_are_like_them() -> None:
    streams.prepare()
    written = "δ·σ² → ‖g‖ ≤ é 漢".encode("ascii", "gradflow-legible").decode()
    assert written == "delta*sigma2 > |g| <= e ?"


@pytest.mark.parametrize("said", ["std::bad_alloc", "DefaultCPUAllocator: can't allocate memory"])
def test_memory_that_runs_out_is_no_defect(
    said: str, refused: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr("gradflow.functions.chain.multiplied", exhausted)
    assert "not enough memory" in refused("chain", "--slopes", "0.5", "--weights", "1")


@pytest.mark.parametrize("width", ["0", "1", "-5", "999999999", "9" * 5000, "²", "wide"])
def test_a_width_that_is_none_is_not_believed(width: str, run: Run, refused: Run) -> None:
    assert "gradflowexplain" in "".join(run("explain", "--list", width=width).stdout.split())
    assert len(run("explain", "--help", width=width).stdout) < 10_000
    assert refused("explain", "nosuch", width=width)


def test_a_backend_that_is_none_does_not_stop_a_figure(tmp_path: Path) -> None:
    picture = tmp_path / "gelu.png"
    done = started("plot", "gelu", "-o", str(picture), MPLBACKEND="nosuch")
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize(
    "arguments",
    [
        ["diagnose", "--act", ""],
        ["benchmark", "--lr", ""],
        ["benchmark", "--lr", ","],
        ["benchmark", "--output-dir", " "],
        ["diagnose", "--fail-on", ""],
        ["eval", "relu", "--at", ""],
        ["eval", "relu", "-o", ""],
    ],
    ids=" ".join,
)
def test_an_option_without_a_value_is_refused(arguments: list[str], refused: Run) -> None:
    assert "was given no value" in refused(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["diagnose", "--depth", "1_0"],
        ["diagnose", "--depth", "３"],
        ["diagnose", "--lr", "1_0.5"],
        ["benchmark", "--lr", "0.1,1_0"],
        ["eval", "relu", "--at", "1_0"],
        ["chain", "--slopes", "1_0"],
    ],
    ids=" ".join,
)
def test_numbers_are_written_as_everywhere_else(arguments: list[str], refused: Run) -> None:
    refused(*arguments)


@pytest.mark.parametrize("value", ["1" + "0" * 31, "9" * 400, "1e308"])
@pytest.mark.parametrize("option", ["--depth", "--seeds", "--seed", "--lr", "--gain", "--alpha"])
def test_a_number_that_nothing_could_hold_is_refused(option: str, value: str, refused: Run) -> None:
    said = refused("diagnose", "--act", "elu", option, value)
    assert len(said) < 200


def test_what_is_all_of_one_run_is_written_together(refused: Run, tmp_path: Path) -> None:
    refused("eval", "gelu", "-o", "ok.json", "-o", "bad")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have names")
def test_what_is_no_regular_file_is_refused_at_once(refused: Run) -> None:
    os.mkfifo("pipe.json")
    assert "no regular file" in refused("eval", "gelu", "-o", "pipe.json")
    Path("link.json").symlink_to("nothing.json")
    assert "link to nothing" in refused("eval", "gelu", "-o", "link.json")
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["link.json", "pipe.json"]


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours = prefix()
    theirs = ours.replace(str(os.getpid()), str(dead.pid))
    elsewhere = theirs.replace(theirs.split("-")[1], "00000000")
    for name in (f".{ours}a.png", f".{theirs}b.png", f"{elsewhere}c", "gradflow-notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / f"{theirs}images").mkdir()
    sweep(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([f".{ours}a.png", f"{elsewhere}c", "gradflow-notes.txt"])


@pytest.mark.skipif(os.name != "posix", reason="of signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_cleans_up(number: signal.Signals, tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, signal.SIG_DFL)\n"  # nohup ignores it
        "from pathlib import Path\n"
        "from gradflow.report import jsonfile, writers\n"
        "def slow(result, path):\n"
        "    path.write_text('half'); print('writing', flush=True); time.sleep(60)\n"
        "writers.WRITERS['.json'] = slow\n"
        "from gradflow.cli import main\n"
        "sys.argv = ['gradflow', 'chain', '--slopes', '1', '-o', 'a.json']\n"
        "main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path, text=True
    ) as process:
        assert process.stdout is not None
        while "writing" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(timeout=30) == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_a_long_table_says_what_it_leaves_out(run: Run) -> None:
    shown = run("eval", "relu", "--at", "0:2000:1").stdout.splitlines()
    assert len(shown) < 1010
    assert any("1,001 more" in line for line in shown)
    assert len(run("eval", "relu", "--at", "0:2000:1", "--all").stdout.splitlines()) > 2000


@pytest.mark.parametrize(
    "arguments",
    [
        ["diagnose", "--depth", "1000000000"],
        ["diagnose", "--seeds", "1000000000"],
        ["diagnose", "--width", "10000000"],
        ["diagnose", "--batch-size", "1000000000"],
        ["clip", "--depth", "1000000000"],
        ["theory", "tanh", "--depth", "1000000000"],
        ["benchmark", "--seeds", "1000000000"],
    ],
    ids=" ".join,
)
def test_what_no_memory_holds_is_refused_with_its_size(arguments: list[str], refused: Run) -> None:
    assert "takes at least" in refused(*arguments)


@pytest.fixture
def _heard_interrupts() -> Iterator[None]:
    """Ctrl-C as Python hears it, also where whoever began the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heard_interrupts")
def test_an_interrupt_while_a_figure_is_drawn_takes_effect_when_it_is() -> None:
    """It could fall into a callback of the drawing, which would swallow it."""
    drawn: list[int] = []

    def draw(times: int) -> None:
        with interrupts_wait():
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
            drawn.append(times)

    with pytest.raises(KeyboardInterrupt):
        draw(1)
    with pytest.raises(KeyboardInterrupt):
        draw(2)  # at once
    assert drawn == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
