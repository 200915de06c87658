"""One table of per-layer quantities: an entry of it, and a column, are all that a new one takes."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import nn

import gradflow
from gradflow.configs import NetworkConfig
from gradflow.diagnosis import rows
from gradflow.measurement.quantities import QUANTITIES, Quantity
from gradflow.measurement.recorder import measure
from gradflow.report import jsonfile
from gradflow.results.base import column
from gradflow.results.diagnosis import DiagnosisResult, LayerRow


@dataclasses.dataclass(frozen=True)
class _RowWithOneMore(LayerRow):
    delta_max_abs: float | None = column("max |δ|", ".2e", 1, default=None)


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the largest |δ|: an entry of the table, and a column."""
    fields = {"delta_max_abs": lambda layer: layer.raw["delta_max_abs"]}
    quantity = Quantity(("delta",), lambda sample: sample.stats.abs_max, fields)
    monkeypatch.setitem(QUANTITIES, "delta_max_abs", quantity)
    monkeypatch.setattr(rows, "LayerRow", _RowWithOneMore)
    monkeypatch.setattr(DiagnosisResult, "row_type", _RowWithOneMore)


@pytest.mark.usefixtures("one_more")
def test_a_quantity_added_to_the_table_is_in_rows_json_and_table_of_a_users_model() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    inputs, labels = torch.randn(6, 5), torch.randint(3, (6,))
    outputs = model(inputs)
    outputs.retain_grad()
    nn.functional.cross_entropy(outputs, labels).backward()
    assert outputs.grad is not None
    expected = float(outputs.grad.abs().max())
    result = gradflow.diagnose(model, inputs, labels)
    assert result.rows()[-1]["delta_max_abs"] == pytest.approx(expected, rel=1e-6)
    document = json.loads(jsonfile.dumps(result))
    assert document["rows"][-1]["delta_max_abs"] == pytest.approx(expected, rel=1e-6)
    assert "max |δ|" in str(result)


@pytest.mark.usefixtures("one_more")
@pytest.mark.parametrize("arch", ["mlp", "lstm"])
def test_it_is_measured_over_time_steps_as_well(arch: str) -> None:
    config = NetworkConfig(arch=arch, act="tanh", depth=3, width=6, batch_size=4)
    found = gradflow.diagnose(config).rows()
    assert all(row["delta_max_abs"] > 0 for row in found)


def test_quantities_are_stacked_in_the_order_of_the_table() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    measured = measure(model, lambda: model(torch.ones(3, 2)).sum())
    assert measured.values.shape == (2, len(QUANTITIES), 1)
    norm = measured.values[1, QUANTITIES.index("weight_norm"), 0]
    assert float(norm) == pytest.approx(float(model[2].weight.detach().norm()))
