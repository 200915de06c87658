"""Names of layers: short enough for a table, and never two alike."""

from __future__ import annotations

import pytest

from gradflow.findings.words import named_layers
from gradflow.results.names import all_numbered, numbered, roles, shortened, told
from gradflow.results.watching import WatchRow

DEEP = [f"a_block_with_quite_a_long_name.{i}.the_feed_forward.{i % 3}" for i in range(99)]
TRANSFORMER = [
    f"model.{side}.layers.{i}.{part}"
    for side in ("encoder", "decoder")
    for i in range(12)
    for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.out_proj", "mlp.fc1")
]
FLAT = [f"{'before_' * 9}{i}{'_after' * 9}" for i in range(120)]
LAST = [f"{'the_same_' * 10}{end}" for end in ("query", "key", "value")]


def row(index: int, name: str) -> WatchRow:
    fields = dict.fromkeys(WatchRow.columns()) | {"index": index, "name": name, "kind": "Linear"}
    return WatchRow(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [DEEP, TRANSFORMER, FLAT, LAST], ids=len)
@pytest.mark.parametrize("width", [14, 20, 28, 40, 80])
def test_names_are_cut_to_the_width_and_stay_apart(names: list[str], width: int) -> None:
    short = shortened([*names, "head"], width)
    assert max(map(len, short)) <= width
    assert len(set(short)) == len(names) + 1
    assert short[-1] == "head"


def test_numbers_stay_whole_and_what_all_have_in_common_goes_first() -> None:
    short = shortened(DEEP, 20)
    assert all(f"…{i}." in name and name.endswith(f"{i % 3}") for i, name in enumerate(short))
    assert shortened(TRANSFORMER, 26)[-1] == "model.decoder…11.mlp.fc1"


def test_names_that_fit_are_not_touched() -> None:
    assert shortened(TRANSFORMER, 60) == TRANSFORMER
    assert shortened([], 5) == []


def test_a_name_that_no_width_has_room_for_is_cut_all_the_same() -> None:
    (short,) = shortened([".".join("abcdefghijkl")], 5)
    assert len(short) <= 5


def test_a_name_says_its_number_where_it_counts_the_layers() -> None:
    assert numbered("hidden3", 3)
    assert numbered("step 3", 3)
    assert not numbered("3", 3)  # as in nn.Sequential, where it is the module's place
    assert not numbered("layers.3", 4)
    assert not numbered("hidden13", 3)
    rows = [row(1, "hidden1"), row(2, "hidden2"), row(3, "output")]
    assert all_numbered(rows)
    assert not all_numbered([*rows, row(4, "head")])


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([(3, "encoder.fc")], "layer 3 (encoder.fc)"),
        ([(1, "a"), (2, "b"), (3, "c")], "layers 1 to 3 (a to c)"),
        ([(1, "a"), (3, "c")], "layers 1, 3 (a, c)"),
        ([(4, "hidden4")], "hidden4"),
        ([(i, f"hidden{i}") for i in (1, 2, 3, 7)], "hidden1 to hidden3, hidden7"),
        ([(2, "hidden2"), (3, "output")], "layers 2 to 3 (hidden2 to output)"),
        (
            [(i, f"l{i + 1}") for i in range(1, 40, 2)],
            "layers 1, 3, 5, 7, 9, 11, 13, 15 and 12 more (l2, …, l40)",
        ),
    ],
)
def test_findings_say_names_beside_numbers(layers: list[tuple[int, str]], words: str) -> None:
    assert named_layers([row(*layer) for layer in layers]) == words


def test_one_layer_in_words_has_a_short_name() -> None:
    assert told(row(2, "hidden2")) == "hidden2"
    said = told(row(2, "encoder." * 20 + "fc"))
    assert said.startswith("layer 2 (")
    assert len(said) < 60


def test_roles_are_names_without_numbers_where_enough_are_alike() -> None:
    assert roles(["h.0.q", "h.0.v", "h.1.q", "h.1.v", "head"]) == [
        "h.*.q",
        "h.*.v",
        "h.*.q",
        "h.*.v",
        "head",
    ]
    assert roles(["conv", "fc", "head"]) == ["", "", ""]
