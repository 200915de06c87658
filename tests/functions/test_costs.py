"""What activations cost, with a clock that is set by hand."""

from __future__ import annotations

import pytest

from gradflow.functions import costs
from gradflow.functions.costs import relative_costs
from gradflow.results.activations import Cost


class Clock:
    """Every try takes the next of the given times; a round of all activations is 3 tries each."""

    def __init__(self, *takes: float) -> None:
        self.takes, self.now, self.calls = takes, 0.0, 0

    def __call__(self) -> float:
        self.now += self.takes[self.calls // 2 % len(self.takes)] if self.calls % 2 else 0.0
        self.calls += 1
        return self.now


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two activations, of eight entries, in rounds of four."""
    chosen = {name: entry for name, entry in costs.every().items() if name in ("relu", "tanh")}
    monkeypatch.setattr(costs, "every", lambda: chosen)
    monkeypatch.setattr(costs, "ENTRIES", 8)
    monkeypatch.setattr(costs, "ROUNDS", 4)


def test_the_shortest_of_three_tries_over_that_of_a_relu_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # relu alone, then relu and tanh: three tries each.
    monkeypatch.setattr(costs.time, "perf_counter", Clock(*[9, 9, 9], *[4, 2, 3], *[9, 6, 7]))
    seen: list[tuple[int, int]] = []
    found = relative_costs(lambda done, of: seen.append((done, of)))
    assert found == {"relu": Cost(1.0, 1.0, 1.0, 4), "tanh": Cost(3.0, 3.0, 3.0, 4)}
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_more_rounds_are_made_where_they_scatter(monkeypatch: pytest.MonkeyPatch) -> None:
    steady, slow = [*[1] * 3, *[1] * 3, *[2] * 3], [*[1] * 3, *[1] * 3, *[20] * 3]
    monkeypatch.setattr(costs.time, "perf_counter", Clock(*steady, *slow))
    seen: list[tuple[int, int]] = []
    found = relative_costs(lambda done, of: seen.append((done, of)))
    assert found["tanh"].rounds == 12  # three blocks, and no more
    assert [of for _, of in seen] == [4] * 4 + [8] * 4 + [12] * 4
    assert (found["tanh"].low, found["tanh"].high) == (2.0, 20.0)
