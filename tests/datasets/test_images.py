"""The embedded MNIST and folders of IDX files."""

from __future__ import annotations

import gzip
import hashlib
import runpy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradflow.datasets.images import Dataset, load
from gradflow.errors import GradflowError

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_mnist.py"
#: SHA-256 of the four files as published.
PUBLISHED = {
    "train_images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train_labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test_images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test_labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """The IDX format, http://yann.lecun.com/exdb/mnist: magic, sizes big-endian, bytes."""
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def arrays(train: int = 5, test: int = 3, size: tuple[int, int] = (4, 6)) -> dict[str, bytes]:
    random = np.random.default_rng(0)
    return {
        "train_images": idx(random.integers(0, 256, (train, *size), np.uint8)),
        "train_labels": idx(np.arange(train, dtype=np.uint8)),
        "test_images": idx(random.integers(0, 256, (test, *size), np.uint8)),
        "test_labels": idx(np.arange(test, dtype=np.uint8)),
    }


def write(folder: Path, contents: dict[str, bytes], prefix: str = "", packed: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    for key, content in contents.items():
        name = prefix + (FILES[key].replace("t10k", "test") if prefix else FILES[key])
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def embedded() -> Dataset:
    return load()


@pytest.mark.parametrize("key", PUBLISHED)
def test_the_embedded_arrays_are_the_published_files(embedded: Dataset, key: str) -> None:
    assert hashlib.sha256(idx(getattr(embedded, key))).hexdigest() == PUBLISHED[key]


def test_the_embedded_data_set_says_what_it_is(embedded: Dataset) -> None:
    assert (embedded.name, embedded.classes, embedded.input_shape) == ("MNIST", 10, (28, 28))


def test_the_script_makes_the_archive_from_the_idx_files(embedded: Dataset, tmp_path: Path) -> None:
    contents = {key: idx(getattr(embedded, key)) for key in FILES}
    write(tmp_path / "idx", contents)
    main = runpy.run_path(str(SCRIPT))["main"]
    main(str(tmp_path / "idx"), tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as made:
        assert sorted(made) == sorted(FILES)
        for key in FILES:
            assert np.array_equal(made[key], getattr(embedded, key))


def test_the_script_refuses_a_file_that_is_not_the_published_one(tmp_path: Path) -> None:
    write(tmp_path / "idx", arrays())
    with pytest.raises(SystemExit, match="SHA-256"):
        runpy.run_path(str(SCRIPT))["main"](str(tmp_path / "idx"), tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.booleans(),
    st.sampled_from(["", "emnist-balanced-"]),
)
def test_a_folder_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    train: int,
    test: int,
    size: tuple[int, int],
    packed: bool,
    prefix: str,
) -> None:
    contents = arrays(train, test, size)
    data = load(write(tmp_path_factory.mktemp("idx"), contents, prefix, packed))
    assert {key: idx(getattr(data, key)) for key in FILES} == contents
    assert data.classes == max(train, test)
    assert data.input_shape == size


def test_a_data_set_is_named_after_its_folder_or_prefix(tmp_path: Path) -> None:
    assert load(write(tmp_path / "fashion", arrays())).name == "fashion"
    folder = write(tmp_path / "gzip", arrays(), "emnist-letters-", packed=True)
    write(folder, arrays(train=7), "emnist-digits-", packed=True)
    chosen = load(folder / "emnist-digits")
    assert (chosen.name, len(chosen.train_images)) == ("emnist-digits", 7)
    with pytest.raises(GradflowError, match="several data sets: emnist-digits, emnist-letters"):
        load(folder)


def test_a_plain_file_goes_before_its_packed_copy(tmp_path: Path) -> None:
    write(tmp_path, arrays(), packed=True)
    write(tmp_path, arrays(train=9))
    assert len(load(tmp_path).train_images) == 9


def test_the_dotted_names_of_some_copies_are_understood(tmp_path: Path) -> None:
    for path in list(write(tmp_path, arrays()).iterdir()):
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    assert len(load(tmp_path).test_labels) == 3


HUGE = bytes([0, 0, 8, 3]) + b"\xff" * 12
DAMAGED = {
    "truncated": (lambda c: c[:-2], "truncated.*promises 120 bytes, 118 follow"),
    "trailing": (lambda c: c + b"?", "bytes follow the 120"),
    "short header": (lambda c: c[:9], "truncated: 9 of 16 bytes of header"),
    "empty file": (lambda c: b"", "an empty file"),
    "labels for images": (lambda c: idx(np.zeros(5, np.uint8)), "begins with 00 00 08 01"),
    "not IDX": (lambda c: b"hello" * 20, "begins with 68 65 6c 6c, expected 00 00 08 03"),
    "no images": (lambda c: idx(np.zeros((0, 4, 6), np.uint8)), "empty: its shape is 0 × 4 × 6"),
    "lies about its size": (lambda c: HUGE, "truncated.*0 follow"),
    "other size": (lambda c: idx(np.zeros((5, 3, 3), np.uint8)), "are 3×3, test images 4×6"),
    "other count": (lambda c: idx(np.zeros((4, 4, 6), np.uint8)), "5 labels for the 4 images"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, damage: str, packed: bool) -> None:
    change, message = DAMAGED[damage]
    contents = arrays()
    contents["train_images"] = change(contents["train_images"])
    with pytest.raises(GradflowError, match=message) as caught:
        load(write(tmp_path, contents, packed=packed))
    assert "\n" not in caught.value.message
    assert str(tmp_path) in caught.value.message


@pytest.mark.parametrize("cut", [3, 30, -4])
def test_a_damaged_gzip_file_is_refused_with_its_name(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path, arrays(), packed=True) / f"{FILES['test_images']}.gz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(GradflowError, match=f"{path.name}: damaged gzip"):
        load(tmp_path)


def test_a_flipped_bit_in_a_gzip_file_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, arrays(), packed=True) / f"{FILES['test_images']}.gz"
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # of the checksum
    path.write_bytes(content)
    with pytest.raises(GradflowError, match="damaged gzip"):
        load(tmp_path)


@pytest.mark.parametrize("key", FILES)
def test_a_missing_file_is_named(tmp_path: Path, key: str) -> None:
    (write(tmp_path, arrays()) / FILES[key]).unlink()
    with pytest.raises(GradflowError, match=f"has no {FILES[key]}"):
        load(tmp_path)


def test_a_missing_folder_a_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GradflowError, match="there is no folder"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(GradflowError, match="is not a folder"):
        load(tmp_path / "file")
    with pytest.raises(GradflowError, match="has no train-images-idx3-ubyte"):
        load(tmp_path)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, arrays()) / FILES["train_images"]
    path.unlink()
    path.mkdir()
    with pytest.raises(GradflowError, match=r"cannot read .*train-images"):
        load(tmp_path)
