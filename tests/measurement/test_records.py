"""What a pass leaves of layers, from records made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from gradflow.measurement.quantities import QUANTITIES
from gradflow.measurement.records import LayerRecord, assembled, keep_counts, measurement


def record(index: int = 1, **given: Any) -> LayerRecord:
    """Return the record of a layer."""
    return LayerRecord(index, f"l{index}", "Linear", nn.Identity(), **given)


def made(**given: Any) -> Any:
    """Return the measurement of three layers of which nothing was measured, but for `given`."""
    known: dict[str, Any] = {
        "names": ["a", "b", "c"],
        "kinds": ["Linear"] * 3,
        "weight_sizes": [1] * 3,
        "loss": torch.tensor(1.0, requires_grad=True),
        "quantities": [{}] * 3,
        "dtypes": [torch.float32] * 3,
        "trainable": [True] * 3,
    }
    return assembled(**(known | given))


def test_a_mean_over_calls_is_weighted_by_their_entries() -> None:
    one = record()
    one.merge("delta", {"delta_rms": 3.0}, 1)
    assert one.values == {"delta_rms": 3.0}
    one.merge("delta", {"delta_rms": 1.0}, 3)
    assert one.values["delta_rms"] == pytest.approx((9 / 4 + 3 / 4) ** 0.5)
    assert one.entries == {"delta": 4}
    one.merge("activation", {"activation_mean": 5.0}, 7)  # another source, from its beginning
    assert one.values["activation_mean"] == 5.0
    assert one.values["delta_rms"] == pytest.approx(3**0.5)
    assert one.entries == {"delta": 4, "activation": 7}


def test_calls_without_entries_are_merged_all_the_same() -> None:
    one = record()
    one.merge("delta", {"delta_rms": 2.0}, 0)
    assert one.values == {"delta_rms": 2.0}
    one.merge("delta", {"delta_rms": 5.0}, 0)
    assert one.values == {"delta_rms": 5.0}


def test_layers_called_several_times_are_counted_from_1() -> None:
    assert made(calls=[1, 2, 5]).repeated() == ((2, 2), (3, 5))
    assert made(calls=[0, 1, 1]).repeated() == ()


def test_layers_that_wait_for_a_gradient_are_counted_from_1() -> None:
    quantities = [{"gradient_norm": 1.0}, {}, {}]
    found = made(quantities=quantities, trainable=[True, True, False])
    assert found.unreached() == (2,)
    assert made().unreached() == (1, 2, 3)


def test_the_last_rows_belong_to_no_layer() -> None:
    assert made().layers == 3
    assert replace(made(), beside=1).layers == 2


@pytest.mark.parametrize(
    ("quantities", "replicas"),
    [
        ([{}, {}, {}], 1),
        ([{}, {"delta_rms": 2.0}, {}], 1),
        ([{}, {"delta_rms": torch.tensor([2.0, 4.0])}, {"delta_rms": torch.ones(2)}], 2),
    ],
)
def test_values_have_their_places_and_the_rest_is_not_a_number(
    quantities: list[dict[str, Any]], replicas: int
) -> None:
    found = made(quantities=quantities)
    assert found.values.shape == (3, len(QUANTITIES), replicas)
    assert found.values.dtype == torch.float64
    at = QUANTITIES.index("delta_rms")
    known = quantities[1].get("delta_rms")
    expected = [] if known is None else torch.as_tensor(known).reshape(-1).tolist()
    assert found.values[1, at].tolist() == (expected or pytest.approx([float("nan")], nan_ok=True))
    missing = sum(len(one) for one in quantities) * replicas
    assert found.values.isnan().sum() == found.values.numel() - missing
    assert found.measured == [frozenset(one) for one in quantities]
    assert not found.loss.requires_grad


def test_a_measurement_is_what_the_records_say() -> None:
    weight, frozen = torch.ones(2, 3, 4, requires_grad=True), torch.ones(2, 5)
    first = record(1, weights=(weight,), calls=2, dtype=torch.float16)
    first.merge("delta", {"delta_rms": torch.ones(2)}, 24)
    second = record(2, weights=(frozen,))
    found = measurement([first, second], torch.ones(2), replicated=True)
    assert found.names == ["l1", "l2"]
    assert found.weight_sizes == [12, 5]
    assert found.trainable == [True, False]
    assert found.calls == [2, 0]
    assert found.entries == [24, 0]
    assert found.dtypes == [torch.float16, torch.float32]
    assert measurement([first], torch.ones(2), replicated=False).weight_sizes == [24]


def test_gradients_of_parameters_that_have_one_are_measured() -> None:
    weight, bias, other = torch.ones(2, requires_grad=True), torch.zeros(2), torch.ones(1)
    one = record(weights=(weight, other), biases=(bias,))
    found = one.parameters({id(weight): torch.full((2,), 3.0), id(bias): None})
    assert [g.tolist() for g in found["gradient"]] == [[3.0, 3.0]]
    assert found["bias_gradient"] == []
    assert [w.requires_grad for w in found["weight"]] == [False, False]


def test_counts_are_kept_where_the_rest_is_measured_again() -> None:
    plain = made(quantities=[{"forward_nonfinite": 3.0, "backward_nonfinite": 4.0}, {}, {}])
    wide = made(quantities=[{"forward_nonfinite": 0.0, "delta_rms": 7.0}, {}, {}])
    keep_counts(wide, plain)
    kept = {
        name: wide.values[0, QUANTITIES.index(name)].item()
        for name in ("forward_nonfinite", "backward_nonfinite", "delta_rms")
    }
    assert kept == {"forward_nonfinite": 3.0, "backward_nonfinite": 4.0, "delta_rms": 7.0}
