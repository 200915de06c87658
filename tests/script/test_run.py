"""A program runs as Python runs it; its models are found and watched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from support.programs import HEAD, LOOP, program

import gradflow
from gradflow.errors import GradflowError


def test_a_script_sees_what_python_shows_it(tmp_path: Path, capfd) -> None:
    (tmp_path / "beside.py").write_text("value = 7")
    path = program(
        tmp_path,
        """
        import sys, beside
        print(__name__, __file__, sys.argv[1:], sys.path[0], beside.value)
        assert sys.modules["__main__"].beside is beside and __spec__ is None
        """,
    )
    before = sys.argv, list(sys.path), sys.modules["__main__"]
    result = gradflow.watch_script(path, ["--lr", 3])
    said = capfd.readouterr().out
    assert said == f"__main__ {path} ['--lr', '3'] {tmp_path} 7\n"
    assert (sys.argv, sys.path, sys.modules["__main__"]) == before
    assert result.script_exit_code == 0
    assert result.models == ()
    found = [f for f in result.findings if f.severity != "info"]
    assert [f.code for f in found] == ["unjudged", "unrecorded"]
    assert "the program took no step" in found[1].message  # and no word of a `with`
    assert "with" not in found[1].advice
    assert "of a model alone: gradflow diagnose --model FILE.py:NAME" in found[1].advice


def test_a_module_runs_as_python_does_it(tmp_path: Path, capfd, monkeypatch) -> None:
    package = tmp_path / "trainer_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(
        "import sys\nfrom . import helper\nprint(__package__, __spec__.name, sys.argv, helper.x)"
    )
    (package / "helper.py").write_text("x = 3\nif __name__ == '__main__': print('helped')")
    monkeypatch.chdir(tmp_path)
    gradflow.watch_script("trainer_package", ["1"], module=True)
    main = package / "__main__.py"
    expected = f"trainer_package trainer_package.__main__ {[str(main), '1']} 3\n"
    assert capfd.readouterr().out == expected
    gradflow.watch_script("trainer_package.helper", module=True)
    assert capfd.readouterr().out == "helped\n"
    for name in [name for name in sys.modules if name.startswith("trainer_package")]:
        del sys.modules[name]


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    for target, module in ((tmp_path / "none.py", False), (tmp_path, False), ("none_such", True)):
        with pytest.raises(GradflowError):
            gradflow.watch_script(target, module=module)


def test_a_model_is_found_named_and_watched_from_its_first_pass_on(tmp_path: Path) -> None:
    result = gradflow.watch_script(program(tmp_path, HEAD, LOOP))
    (model,) = result.models
    assert (model.name, model.optimizer, model.seen) == ("net", "SGD", 6)
    assert [row.name for row in result.records] == ["0", "2", "4"]
    assert all(row.delta_log10_rms is not None for row in result.records)
    assert result.seen == len(result.steps) == 6
    document = result.to_dict()
    assert gradflow.Result.from_dict(document) == result
    assert {"name", "verdict", "optimizer", "rows", "findings"} <= document["models"][0].keys()


def test_the_program_computes_what_it_computes_alone(tmp_path: Path, capfd) -> None:
    dropout = """
    net = nn.Sequential(network()[0], nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    for step in range(6):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    print(loss.item(), torch.rand(1).item())
    """
    path = program(tmp_path, HEAD, dropout)
    gradflow.watch_script(path)
    watched = capfd.readouterr().out
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "alone"})
    assert watched == capfd.readouterr().out
    assert torch.optim.Optimizer.__init__.__module__ == "torch.optim.optimizer"


@pytest.mark.parametrize("caught", ["Exception", "BaseException"])
def test_steps_end_a_program_whatever_it_catches(tmp_path: Path, caught: str) -> None:
    loop = f"""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    tries = 0
    while tries < 5:
        try:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        except {caught}:
            tries += 1
    """
    result = gradflow.watch_script(program(tmp_path, HEAD, loop), steps=3)
    assert len(result.steps) == 3
    assert result.script_exit_code == (None if caught == "Exception" else 0)


def test_a_program_that_raises_shows_its_own_traceback(tmp_path: Path, capfd) -> None:
    wrong = """
    def fail(loss):
        raise ValueError("no such thing")

    try:
        fail(loss)
    except ValueError as error:
        loss.register_hook(lambda g: {}["x"])
        F.cross_entropy(net(x), y)
        raise KeyError(1) from error
    """
    path = program(tmp_path, HEAD, LOOP, wrong)
    result = gradflow.watch_script(path)
    said = capfd.readouterr().err
    assert result.script_exit_code == 1
    assert len(result.steps) == 6
    assert said.startswith('Traceback (most recent call last):\n  File "' + str(path))
    assert "ValueError: no such thing" in said
    assert "KeyError: 1" in said
    assert "gradflow" not in said


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('wrong')", 1, "wrong\n"),
        ("x = = 1", 1, "SyntaxError: invalid syntax\n"),
        ("raise KeyboardInterrupt", None, ""),
    ],
)
def test_exit_codes_are_kept(tmp_path: Path, capfd, ending: str, code: int, said: str) -> None:
    result = gradflow.watch_script(program(tmp_path, "import sys", ending))
    assert result.script_exit_code == code
    assert capfd.readouterr().err.endswith(said)
    interrupted = [f for f in result.findings if f.code == "interrupted"]
    assert len(interrupted) == (ending == "raise KeyboardInterrupt")


def test_a_notebook_that_was_exported_runs(tmp_path: Path, capfd) -> None:
    cells = """
    get_ipython().run_line_magic("matplotlib", "inline")
    get_ipython().system("pip install nothing")
    get_ipython().run_line_magic("time", "value = 3")
    get_ipython().run_cell_magic("time", "", "print(value)\\nother = 4")
    assert other == 4
    """
    assert gradflow.watch_script(program(tmp_path, cells)).script_exit_code == 0
    assert capfd.readouterr().out == "3\n"


def test_threads_of_the_program_are_waited_for(tmp_path: Path) -> None:
    threaded = """
    import threading, time

    def train():
        time.sleep(0.2)
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()

    threading.Thread(target=train).start()
    """
    result = gradflow.watch_script(program(tmp_path, HEAD, threaded))
    assert result.seen == 3
