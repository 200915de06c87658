"""What watch() reads of activations and δ, many at a time, against reading each one by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import gradflow
from gradflow.measurement.norms import as_tensor, norm, read_norms, row_norms
from gradflow.report import jsonfile
from gradflow.results.base import column
from gradflow.results.watching import WatchHistoryRow, WatchResult, WatchRow
from gradflow.watching import rows, sampler
from gradflow.watching.dead_units import DeadUnitWindow, FlatLevels
from gradflow.watching.sampled import SAMPLED, TOTALS, SampledQuantity, Total

#: Sums of some hundred float32 numbers.
CLOSE = 1e-5

Batch = tuple[Tensor, Tensor]


class Net(nn.Module):
    """Five activations: flat on one side, on both, nowhere; below 0 or not; one called twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(5)])
        self.acts = nn.ModuleList([nn.ReLU(), nn.Tanh(), nn.LeakyReLU(), nn.ELU(), nn.Sigmoid()])
        self.head = nn.Linear(8, 3)
        with torch.no_grad():
            self.layers[0].bias -= 1.0  # dead in some batches, not in all
            self.layers[1].weight[:4] *= 100.0
            self.layers[1].bias[:2] += 100.0  # 1 in float32

    def forward(self, x: Tensor) -> Tensor:
        for layer, act in zip(self.layers, self.acts, strict=True):
            x = act(layer(x))
        again: Tensor = self.acts[0](self.layers[0](x))
        output: Tensor = self.head(again)
        return output


def batches(count: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    sizes = [16 if i % 5 else 11 for i in range(count)]  # the last of an epoch is smaller
    return [
        (
            torch.randn(n, 8, generator=generator) * 0.4,
            torch.randint(3, (n,), generator=generator),
        )
        for n in sizes
    ]


def train(model: nn.Module, data: list[Batch]) -> Iterator[int]:
    """Train, and stop before every step of the optimizer."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step, (inputs, labels) in enumerate(data):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        yield step
        optimizer.step()


class ByHand:
    """The same training, every tensor read as it comes, in float64."""

    def __init__(self, data: list[Batch], every: int, window: int) -> None:
        self.rows: dict[tuple[int, int], dict[str, float]] = {}
        model = Net()
        self.calls: list[tuple[int, nn.Module, Tensor, Tensor]] = []
        for layer, act in zip(model.layers, model.acts, strict=True):
            layer.register_forward_hook(self._layer)
            act.register_forward_hook(self._act)
        awake: list[list[Tensor]] = [[] for _ in range(5)]
        for step in train(model, data):
            if step % every == 0:
                for index in range(5):
                    outputs = [a for i, _, _, a in self.calls if i == index]
                    flat = [0.0, (-1.0, 1.0), None, -1.0, (0.0, 1.0)][index]
                    if flat is not None:
                        levels = torch.tensor(flat, dtype=torch.float64).reshape(-1, 1, 1)
                        off = [(a != levels).all(0).any(0) for a in outputs]
                        awake[index].append(torch.stack(off).any(0))
            if step % every == 0:
                for index in range(5):
                    self._note(step, index, awake[index][-window:])
            self.calls.clear()

    def _layer(self, module: nn.Module, _: Any, output: Tensor) -> None:
        output.retain_grad()
        self._z = (module, output)

    def _act(self, module: nn.Module, _: Any, output: Tensor) -> None:
        layer, z = self._z
        order = [nn.ReLU, nn.Tanh, nn.LeakyReLU, nn.ELU, nn.Sigmoid]
        self.calls.append((order.index(type(module)), layer, z, output.detach().double()))

    def _note(self, step: int, index: int, awake: list[Tensor]) -> None:
        outputs = torch.cat([a for i, _, _, a in self.calls if i == index])
        delta = torch.cat([z.grad.double() for i, _, z, _ in self.calls if i == index])
        self.rows[step + 1, index + 1] = {
            "activation_mean": float(outputs.mean()),
            "activation_rms": float(outputs.square().mean().sqrt()),
            "zero_fraction": float((outputs == 0).double().mean()),
            "delta_log10_rms": float(delta.square().mean().sqrt().log10()),
            "dead_fraction": float((~torch.stack(awake).any(0)).double().mean()) if awake else None,
        }


def equal(result: WatchResult, truth: ByHand) -> None:
    rows = [row for row in result.history if row.index <= 5]
    assert len(rows) == len(truth.rows) > 0
    for row in rows:
        for name, value in truth.rows[row.step, row.index].items():
            found = getattr(row, name)
            if name == "delta_log10_rms":
                assert 10**found == pytest.approx(10**value, rel=CLOSE), (row, name)
            elif name == "dead_fraction":
                assert found == pytest.approx(value, abs=1e-6), (row, name)
            else:
                assert found == pytest.approx(value, rel=CLOSE, abs=1e-7), (row, name)


@pytest.mark.parametrize(("every", "window"), [(1, 8), (1, 1), (2, 3), (3, 8)])
def test_every_step_is_what_reading_by_hand_gives(every: int, window: int) -> None:
    data = batches(30 * every + 1)
    model = Net()
    with gradflow.watch(model, every=every, sample_every=1, window=window) as w:
        for _ in train(model, data):
            pass
    truth = ByHand(data, every, window)
    dead = [row["dead_fraction"] for row in truth.rows.values() if row["dead_fraction"]]
    assert len(set(dead)) > 1  # there is something to see
    equal(w.result(), truth)


@pytest.mark.parametrize(("name", "limit"), [("SMALL", 20), ("COPIED", 300)])
def test_what_is_too_large_to_copy_is_read_at_once(
    name: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, name, limit)
    data, model = batches(20), Net()
    with gradflow.watch(model, sample_every=1) as w:
        most = [w.sampler._copied for _ in train(model, data)]
    equal(w.result(), ByHand(data, 1, 8))
    assert max(most) <= limit + 16 * 8 * (name == "COPIED")


@dataclasses.dataclass(frozen=True)
class RowWithOneMore(WatchRow):
    activation_mean_abs: float | None = column("mean |a|", ".3g", 1, default=None)


@dataclasses.dataclass(frozen=True)
class StepWithOneMore(WatchHistoryRow):
    activation_mean_abs: float | None = column("mean |a|", ".3g", default=None)


@pytest.mark.parametrize("small", [0, 2**14])
def test_a_quantity_added_to_the_table_is_in_rows_json_and_table(
    small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = Total("activation", lambda entries: entries.abs().sum(1))
    quantity = SampledQuantity(lambda means: means["activation_abs"])
    monkeypatch.setitem(TOTALS, "activation_abs", total)
    monkeypatch.setitem(SAMPLED, "activation_mean_abs", quantity)
    monkeypatch.setattr(rows, "WatchRow", RowWithOneMore)
    monkeypatch.setattr(rows, "WatchHistoryRow", StepWithOneMore)
    monkeypatch.setattr(WatchResult, "row_type", RowWithOneMore)
    monkeypatch.setattr(sampler, "SMALL", small)
    model, data = Net(), batches(1)
    with torch.no_grad():
        first = model.acts[0](model.layers[0](data[0][0]))
        expected = float(model.acts[1](model.layers[1](first)).abs().mean())
    with gradflow.watch(model) as w:
        for _ in train(model, data):
            pass
    result = w.result()
    assert result.history[1].activation_mean_abs == pytest.approx(expected, rel=CLOSE)
    document = json.loads(jsonfile.dumps(result))
    assert document["rows"][1]["activation_mean_abs"] == pytest.approx(expected, rel=CLOSE)
    assert "mean |a|" in str(result)


def test_later_steps_are_sampled_now_and_then() -> None:
    data, model = batches(24), Net()
    with gradflow.watch(model, sample_every=4) as w:
        for _ in train(model, data):
            pass
    rows = [row for row in w.result().history if row.index == 1]
    assert all(row.gradient_log10_norm is not None for row in rows)
    for field in ("activation_mean", "delta_log10_rms", "update_ratio", "dead_fraction"):
        known = [row.step for row in rows if getattr(row, field) is not None]
        assert known == [1, 2, 3, 5, 8, 9, 13, 17, 21], field


def test_a_look_at_the_result_changes_nothing() -> None:
    data, model = batches(12), Net()
    with gradflow.watch(model, sample_every=1) as w:
        for step in train(model, data):
            assert len(w.result().steps) == step  # the step under way is not over
    equal(w.result(), ByHand(data, 1, 8))


class Overwriting(nn.Module):
    """Adds into the output of an activation that does not need it for its gradient."""

    def __init__(self, overwrite: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.act, self.head = nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3)
        self.overwrite = overwrite
        self.means: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.fc(x))
        self.means.append(float(h.detach().double().mean()))
        if self.overwrite:
            h += 100.0
        output: Tensor = self.head(h)
        return output


@pytest.mark.parametrize("start", [0, 3])
def test_an_output_that_is_overwritten_is_read_before(start: int) -> None:
    model = Overwriting(start == 0)
    with gradflow.watch(model, sample_every=1) as w:
        for step in train(model, batches(6)):
            model.overwrite = step + 1 >= start
    known = [row.activation_mean for row in w.result().history if row.index == 1]
    assert known == pytest.approx(model.means, rel=CLOSE, abs=1e-7)


def test_delta_can_be_left_out() -> None:
    data, model = batches(6), Net()
    with gradflow.watch(model, deltas=False, sample_every=1) as w:
        for _ in train(model, data):
            pass
    result = w.result()
    assert result.rate is None
    truth = ByHand(data, 1, 8)
    for row in result.history:
        assert row.delta_log10_rms is None
        if row.index <= 5:
            expected = truth.rows[row.step, row.index]["activation_rms"]
            assert row.activation_rms == pytest.approx(expected, rel=CLOSE)


def test_steps_are_batches_where_the_models_own_forward_is_not_called() -> None:
    model = nn.ModuleDict({"fc": nn.Linear(1, 2), "act": nn.ReLU(), "head": nn.Linear(2, 2)})
    with torch.no_grad():
        model["fc"].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        model["fc"].bias.zero_()
    with gradflow.watch(model, window=2, sample_every=1) as w:
        for sign in (1.0, 1.0, 1.0, -1.0, 1.0, 1.0):
            output = model["head"](model["act"](model["fc"](torch.full((3, 1), sign))))
            output.sum().backward()
            w.step()
    dead = [row.dead_fraction for row in w.result().history if row.index == 1]
    assert dead == [0.5, 0.5, 0.5, 0.0, 0.0, 0.5]


def test_gradients_of_every_kind_have_their_norms() -> None:
    model = nn.ModuleDict(
        {
            "sparse": nn.Embedding(10, 4, sparse=True),
            "fc": nn.Linear(4, 4),
            "unused": nn.Linear(4, 4),
            "zero": nn.Linear(4, 4),
        }
    )
    with gradflow.watch(model) as w:
        x = model["sparse"](torch.tensor([1, 1, 3]))
        (model["fc"](x).square().sum() + 0 * model["zero"](x).sum()).backward()
        w.step()
    found = {row.name: row.gradient_log10_last for row in w.result().records}
    assert found.pop("unused") is None
    assert found.pop("zero") == -math.inf
    for name, log in found.items():
        grad = model[name].weight.grad.to_dense().double()
        assert 10**log == pytest.approx(float(grad.norm()), rel=1e-6)


finite = st.floats(-1.0, 1.0, allow_nan=False, width=32)


@given(
    st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(-38, 36),
)
def test_norms_lose_no_small_square_and_overflow_with_no_large_one(
    values: list[list[float]], power: int
) -> None:
    rows = (torch.tensor(values, dtype=torch.float64) * 10.0**power).float()
    expected = np.array([math.hypot(*row) for row in rows.double().tolist()])
    # float32 holds numbers below 1.2e-38 with fewer digits, but those are exact as given.
    for found in (row_norms(rows), read_norms(list(rows))):
        np.testing.assert_allclose(as_tensor(found).double().numpy(), expected, rtol=2e-6)
    alone = [float(as_tensor(norm(row))[0]) for row in rows]
    np.testing.assert_allclose(alone, expected, rtol=2e-6)


Calls = st.lists(
    st.dictionaries(st.integers(0, 3), st.lists(st.booleans(), min_size=2, max_size=2)),
    min_size=1,
    max_size=12,
)


@given(Calls, st.integers(1, 4))
def test_the_window_is_that_of_a_plain_count(
    batches: list[dict[int, list[bool]]], size: int
) -> None:
    """Whichever layers each batch has."""
    window = DeadUnitWindow(size)
    for number, batch in enumerate(batches):
        left = {layer: torch.tensor(units) for layer, units in batch.items()}
        found = {}
        for layers, dead in window.next_batch(left):
            found |= dict(zip(layers, dead.tolist(), strict=True))
        for layer in batch:
            last = [b[layer] for b in batches[max(number - size + 1, 0) : number + 1] if layer in b]
            expected = sum(not any(unit) for unit in zip(*last, strict=True)) / 2
            assert found[layer] == expected


def test_shapes_of_units_that_change_begin_anew() -> None:
    window = DeadUnitWindow(3)
    shapes = ([True, False], [False, False, True], [False, True])
    found = [
        float(dead) for units in shapes for _, dead in window.next_batch({0: torch.tensor(units)})
    ]
    assert found == pytest.approx([1 / 2, 2 / 3, 1 / 2])


@pytest.mark.parametrize("shape", [(4096, 4096), (1, 3_000_001)])
def test_norms_of_many_entries_are_right(shape: tuple[int, int]) -> None:
    tensor = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 0.01
    expected = float(tensor.double().norm())
    for found in (read_norms([tensor, tensor]), norm(tensor)):
        assert float(as_tensor(found)[0]) == pytest.approx(expected, rel=1e-6)


def test_norms_of_small_and_large_tensors_keep_their_places_and_leave_the_memory_alone() -> None:
    kinds = ((3, 5), (2**14,), (7,), (4, 4))
    tensors = [torch.rand(shape, generator=torch.Generator().manual_seed(0)) for shape in kinds]
    tensors[-1] = tensors[-1].T
    found = as_tensor(read_norms([tensors[0], None, *tensors[1:]])).tolist()
    assert found.pop(1) == -math.inf
    assert found == pytest.approx([float(t.double().norm()) for t in tensors], rel=1e-6)
    assert all(t.untyped_storage().resizable() for t in tensors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_units_leave_the_levels_in_every_dtype(dtype: torch.dtype) -> None:
    values = torch.tensor([[[-1.0, 1.0, -1.0, 1.0], [1.0, math.nan, -1.0, 0.5]]], dtype=dtype)
    assert FlatLevels((-1.0, 1.0)).left(values, 2).tolist() == [[False, True, False, True]]
    assert FlatLevels((-1.0,)).left(values, 2).tolist() == [[True, True, False, True]]
    assert FlatLevels((1.0,)).left(values[0], 1).tolist() == [
        [True, False, True, False],
        [False, True, True, True],
    ]
