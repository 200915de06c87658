"""Every model that an optimizer trains is found, named and watched, whatever the program is."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.programs import HEAD, program

import gradflow
from gradflow.results.watching import WatchedModel, WatchResult
from gradflow.script import models as models_of_programs

TRAIN = """
def train(model, optimizers, loss=lambda output: F.cross_entropy(output, y), steps=3):
    for _ in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss(model(x)).backward()
        for optimizer in optimizers:
            optimizer.step()
"""


def watched(
    folder: Path, *parts: str, **options: int
) -> tuple[WatchResult, dict[str, WatchedModel]]:
    """Run a program; return its result, and its models by name."""
    result = gradflow.watch_script(program(folder, HEAD, TRAIN, *parts), **options)
    return result, {model.name: model for model in result.models}


def test_two_models_that_train_each_other_have_a_section_each(tmp_path: Path) -> None:
    result, models = watched(
        tmp_path,
        """
        class Pair:
            def __init__(self):
                self.generator = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6))
                self.critic = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
                self.forwards = torch.optim.Adam(self.generator.parameters())
                self.against = torch.optim.RMSprop(self.critic.parameters())

            def fit(self):
                for _ in range(4):
                    fake = self.generator(torch.randn(32, 3))
                    self.against.zero_grad()
                    (self.critic(fake.detach()) - self.critic(x)).mean().backward()
                    self.against.step()
                    self.forwards.zero_grad()
                    (-self.critic(fake)).mean().backward()
                    self.forwards.step()

        Pair().fit()
        """,
    )
    assert {name: m.optimizer for name, m in models.items()} == {
        "generator": "Adam",
        "critic": "RMSprop",
    }
    assert all(model.seen == 4 for model in models.values())
    assert [(r.index, r.name) for r in result.records] == [
        (1, "generator.0"),
        (2, "generator.2"),
        (3, "critic.0"),
        (4, "critic.2"),
    ]
    assert {row.index for row in result.history} == {1, 2, 3, 4}
    assert [row.index for row in models["critic"].rows] == [1, 2]
    assert result.steps == models["critic"].steps  # it has most entries
    assert "generator (Adam): " in str(result)
    assert result.figure().axes
    assert gradflow.Result.from_dict(result.to_dict()) == result


def test_two_optimizers_of_one_model_are_one_section(tmp_path: Path) -> None:
    _, models = watched(
        tmp_path,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 2)

            def forward(self, x):
                return self.head(torch.tanh(self.body(x)))

        net = Net()
        body = torch.optim.SGD(net.body.parameters(), 0.1)
        train(net, [body, torch.optim.Adam(net.head.parameters())])
        whole = network()
        body = torch.optim.SGD(whole[0].parameters(), 0.1)
        train(whole, [body, torch.optim.Adam(whole[2:].parameters())])
        """,
    )
    trained_by = [(name, m.optimizer) for name, m in models.items()]
    assert trained_by == [("net", "SGD, Adam"), ("whole", "SGD, Adam")]
    assert [row.name for row in models["net"].rows] == ["body", "head"]


def test_a_frozen_part_belongs_to_the_model_that_is_called(tmp_path: Path) -> None:
    _, models = watched(
        tmp_path,
        """
        net = network()
        net[:4].requires_grad_(False)
        train(net, [torch.optim.SGD(net[4].parameters(), 0.1)])
        """,
    )
    assert [row.name for row in models["net"].rows] == ["4"]


def test_models_whose_methods_are_called_are_one_model(tmp_path: Path) -> None:
    _, models = watched(
        tmp_path,
        """
        class Coder(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner, self.outer = nn.Linear(6, 2), nn.Linear(2, 6)

            def encode(self, x):
                return self.inner(x)

            def decode(self, code):
                return self.outer(code)

        coder = Coder()
        step = torch.optim.Adam(coder.parameters())
        train(lambda x: coder.decode(coder.encode(x)), [step], lambda out: F.mse_loss(out, x))
        """,
    )
    assert [row.name for row in models["coder"].rows] == ["inner", "outer"]
    assert all(row.delta_log10_rms is not None for row in models["coder"].rows)


def test_later_models_copies_and_bare_matrices_join(tmp_path: Path) -> None:
    _, models = watched(
        tmp_path,
        """
        import copy

        def main():
            for width in (4, 5):
                student = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 2))
                train(student, [torch.optim.SGD(student.parameters(), 0.1)])

        if __name__ == "__main__":
            main()
            first = network()
            both = copy.deepcopy((first, torch.optim.Adam(first.parameters())))
            second = both[0]
            train(second, [both[1]])
            matrix = torch.randn(6, 2, requires_grad=True)
            scale = torch.ones(1, requires_grad=True)
            train(lambda x: x @ matrix * scale, [torch.optim.SGD([matrix, scale], 0.1)])
        """,
    )
    assert set(models) == {"student", "student 2", "second", "parameters"}
    assert [row.name for row in models["parameters"].rows] == ["matrix"]
    assert models["parameters"].seen == 3


def test_wrappers_are_looked_through(tmp_path: Path) -> None:
    result, models = watched(
        tmp_path,
        """
        import warnings

        warnings.simplefilter("ignore")
        net = network()
        step = torch.optim.SGD(net.parameters(), 0.1)
        quick = torch.compile(net, backend="eager")
        train(quick, [step])
        """,
    )
    assert [row.name for row in models["net"].rows] == ["0", "2", "4"]
    assert "compiled" in {f.code for f in result.findings}


def test_a_closure_and_a_scaler_are_seen(tmp_path: Path) -> None:
    _, models = watched(
        tmp_path,
        """
        net = network()
        optimizer = torch.optim.Adam(net.parameters())

        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)

        mixed = network()
        scaler = torch.amp.GradScaler("cpu")
        step = torch.optim.SGD(mixed.parameters(), 0.1)
        for _ in range(3):
            step.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(mixed(x), y)
            scaler.scale(loss).backward()
            scaler.step(step)
            scaler.update()
        """,
    )
    assert models["net"].seen == models["mixed"].seen == 3
    norms = [model.steps[0].norm_before for model in models.values()]
    assert norms[1] == pytest.approx(norms[0], rel=3)  # unscaled


def test_the_start_is_diagnosed_on_the_own_first_batch(tmp_path: Path, capfd) -> None:
    result, models = watched(
        tmp_path,
        """
        class Deep(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(20))
                self.out = nn.Linear(6, 2)

            def forward(self, x):
                print("called")
                for layer in self.layers:
                    x = torch.sigmoid(layer(x))
                return self.out(x)

        net = Deep()
        train(net, [torch.optim.SGD(net.parameters(), 0.1)])
        """,
    )
    assert capfd.readouterr().out == 3 * "called\n"
    said = {f.code: f for f in models["net"].findings}
    assert result.verdict == "vanishing"
    assert "collapse" in said  # which only a diagnosis tells
    assert said["collapse"].message.startswith("at the first step, ")
    assert len(said) == len(models["net"].findings)


def test_scripting_and_saving_a_watched_model_work(tmp_path: Path) -> None:
    result, _ = watched(
        tmp_path,
        """
        import copy, io, warnings

        warnings.simplefilter("ignore")
        net = network()
        step = torch.optim.SGD(net.parameters(), 0.1)
        train(net, [step])
        torch.jit.script(copy.deepcopy(net))
        torch.jit.script(net)
        torch.save(net, io.BytesIO())
        train(net, [step])
        mixed = nn.Sequential(torch.jit.script(network()[:2]), nn.Linear(8, 2))
        train(mixed, [torch.optim.SGD(mixed.parameters(), 0.1)])
        """,
    )
    assert result.script_exit_code == 0
    assert [(m.name, m.seen, len(m.rows)) for m in result.models] == [
        ("net", 6, 3),
        ("mixed", 3, 2),
    ]


def test_a_model_that_torch_func_calls_first_is_watched(tmp_path: Path) -> None:
    result, _ = watched(
        tmp_path,
        """
        from torch.func import functional_call, grad
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        def loss(weights):
            return nn.functional.cross_entropy(functional_call(net, weights, (x,)), y)
        x, y = torch.randn(16, 4), torch.randint(3, (16,))
        for _ in range(3):
            weights = {name: p.detach() for name, p in net.named_parameters()}
            for name, gradient in grad(loss)(weights).items():
                net.get_parameter(name).grad = gradient
            optimizer.step()
        """,
    )
    assert result.seen == 3
    assert all(row.gradient_log10_norm is not None for row in result.records)


def test_every_and_window_are_passed_on(tmp_path: Path) -> None:
    text = "net = network()\ntrain(net, [torch.optim.SGD(net.parameters(), 0.1)], steps=7)"
    result, _ = watched(tmp_path, text, every=3, window=2)
    assert [step.step for step in result.steps] == [1, 4, 7]
    assert result.meta.config["window"] == 2


def test_of_very_many_models_all_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models_of_programs, "_MOST", 3)
    result, models = watched(
        tmp_path,
        """
        import gc, weakref

        alive = weakref.WeakSet()
        for _ in range(6):
            net = nn.Sequential(nn.Linear(6, 2))
            alive.add(net)
            train(net, [torch.optim.SGD(net.parameters(), 0.1)], steps=1)
        gc.collect()
        print(len(alive))
        """,
    )
    assert len(models) == 6
    assert all(model.seen == 1 for model in models.values())
    assert len(result.records) == 6
    assert int(capsys.readouterr().out) <= 4  # the others were let go


def test_what_the_start_predicts_is_left_out_of_a_run_that_learnt(tmp_path: Path) -> None:
    start = """
    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = nn.RNN(6, 8, batch_first=True), nn.Linear(8, 2)

        def forward(self, x):  # 24 steps, of which the last tells the class
            steps = torch.cat([0 * x[:, None].expand(-1, 23, -1), x[:, None]], 1)
            return self.out(self.rnn(steps)[0][:, -1])

    net = Steps()
    nn.init.uniform_(net.rnn.weight_hh_l0, -0.1, 0.1)
    train(net, [torch.optim.Adam(net.parameters(), 0.03)], steps=int(sys.argv[1]))
    """
    path = program(tmp_path, HEAD, TRAIN, start)
    short, long = (gradflow.watch_script(path, [steps]) for steps in (3, 80))
    at_first = [f for f in short.findings if f.message.startswith("at the first step, ")]
    assert [f.code for f in at_first] == ["vanishing"]
    assert not any("at the first step" in f.message for f in long.findings)


def test_what_trains_on_the_meta_device_is_said_until_it_has_values(tmp_path: Path) -> None:
    empty = """
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).to("meta")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(x.to("meta")).sum().backward()
        optimizer.step()
        """
    result, models = watched(tmp_path, empty)
    said = {finding.code: finding.message for finding in result.findings}
    assert said["unrecorded"] == "model: trained on the meta device, where nothing has values"
    assert (result.verdict, models, result.script_exit_code) == ("unjudged", {}, 0)
    given = """
        model.to_empty(device="cpu")
        for p in model.parameters():
            nn.init.normal_(p)
        train(model, [torch.optim.SGD(model.parameters(), lr=0.1)])
        """
    _, models = watched(tmp_path, empty, given)
    assert models["model"].seen == 3
