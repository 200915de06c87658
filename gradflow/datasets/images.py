"""Labelled grey images: the embedded MNIST, or any folder of IDX files in its layout."""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import zlib
from collections import defaultdict
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from gradflow.errors import GradflowError

Bytes = npt.NDArray[np.uint8]

_UBYTE = 0x08  # IDX's code for unsigned bytes, the third byte of a file; the fourth is the rank
_CHUNK = 1 << 20
#: MNIST, Fashion-MNIST and KMNIST: train-images-idx3-ubyte; EMNIST: emnist-…-test-labels-…
_FILE = re.compile(
    r"(?:(?P<prefix>.+)-)?(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte"
    r"(?:\.gz)?"
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (examples, height, width) and labels (examples,), all uint8, in two parts."""

    train_images: Bytes
    train_labels: Bytes
    test_images: Bytes
    test_labels: Bytes
    name: str

    @property
    def classes(self) -> int:
        """Number of classes: one more than the largest label."""
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1

    @property
    def input_shape(self) -> tuple[int, int]:
        """Height and width of an image."""
        _, height, width = self.train_images.shape
        return height, width

    def digest(self) -> str:
        """Return the SHA-256 of all images and labels: the same for the same contents."""
        total = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            total.update(repr(array.shape).encode())
            total.update(np.ascontiguousarray(array).reshape(-1).data)
        return total.hexdigest()


def load(data: str | Path | None = None) -> Dataset:
    """Return the embedded MNIST, or the data set in a folder of IDX files.

    Parameters
    ----------
    data
        A folder with the four files of MNIST, Fashion-MNIST, KMNIST or EMNIST, plain or ``.gz``;
        ``FOLDER/PREFIX`` (``gzip/emnist-balanced``) where it holds several. None: embedded.

    Raises
    ------
    GradflowError
        If there is no such folder, a file is missing, damaged or not what its header says,
        or the files do not belong together.
    """
    if data is None:
        return _embedded()
    folder, prefix = _place(Path(data))
    files = _files(folder, prefix)
    train, train_labels, test, test_labels = (
        _read(files[part, kind], 3 if kind == "images" else 1)
        for part in ("train", "test")
        for kind in ("images", "labels")
    )
    _check_pair(files["train", "images"], train, files["train", "labels"], train_labels)
    _check_pair(files["test", "images"], test, files["test", "labels"], test_labels)
    if train.shape[1:] != test.shape[1:]:
        raise GradflowError(
            f"{folder}: training images are {_size(train)}, test images {_size(test)}",
            "take all four files from one data set",
        )
    return Dataset(train, train_labels, test, test_labels, prefix or folder.resolve().name)


def _embedded() -> Dataset:
    source = resources.files("gradflow") / "data" / "mnist.npz"
    try:
        with source.open("rb") as file, np.load(file) as arrays:
            return Dataset(**arrays, name="MNIST")
    except (OSError, ValueError, zlib.error) as error:
        raise GradflowError(f"the embedded MNIST cannot be read: {error}", "reinstall") from error


def _place(path: Path) -> tuple[Path, str | None]:
    """Return folder and prefix of ``FOLDER`` or ``FOLDER/PREFIX``."""
    if path.is_dir():
        return path, None
    if path.exists():
        raise GradflowError(f"'{path}' is not a folder", "name the folder that holds the IDX files")
    if path.parent.is_dir() and any(path.parent.glob(f"{path.name}-*-ubyte*")):
        return path.parent, path.name
    raise GradflowError(f"there is no folder '{path}'", "name the folder that holds the IDX files")


def _files(folder: Path, prefix: str | None) -> dict[tuple[str, str], Path]:
    """Return the four files by part (``train``, ``test``) and kind (``images``, ``labels``)."""
    found: dict[str | None, dict[tuple[str, str], Path]] = defaultdict(dict)
    for path in sorted(folder.iterdir(), reverse=True):  # a plain file before its .gz
        match = _FILE.fullmatch(path.name)
        if match:
            part = "train" if match["part"] == "train" else "test"
            found[match["prefix"]][part, match["kind"]] = path
    if prefix is None and len(found) > 1:
        names = sorted(name or "(no prefix)" for name in found)
        raise GradflowError(
            f"{folder} holds several data sets: {', '.join(names)}",
            f"name one: {folder / names[-1]}",
        )
    wanted = prefix if prefix is not None else next(iter(found), None)
    return _complete(folder, wanted, found[wanted])


def _complete(
    folder: Path, prefix: str | None, files: dict[tuple[str, str], Path]
) -> dict[tuple[str, str], Path]:
    for part in ("train", "test"):
        for kind, rank in (("images", 3), ("labels", 1)):
            if (part, kind) not in files:
                word = "t10k" if part == "test" and prefix is None else part
                name = f"{prefix}-{word}" if prefix else word
                raise GradflowError(
                    f"{folder} has no {name}-{kind}-idx{rank}-ubyte, plain or .gz",
                    "a data set is four files: images and labels for training and for the test",
                )
    return files


def _read(path: Path, rank: int) -> Bytes:
    """Return the array in an IDX file, which has to be as long as its header says."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            shape = _header(path, file, rank)
            content = _content(path, file, math.prod(shape))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise GradflowError(f"{path}: damaged gzip file: {error}", "download it again") from error
    except OSError as error:
        raise GradflowError(f"cannot read {path}: {error.strerror or error}") from error
    return np.frombuffer(content, np.uint8).reshape(shape)


def _header(path: Path, file: BinaryIO | gzip.GzipFile, rank: int) -> tuple[int, ...]:
    length = 4 * (1 + rank)
    header = file.read(length)
    expected = bytes([0, 0, _UBYTE, rank])
    if header[:4] != expected[: len(header)] or not header:
        found = header[:4].hex(" ") or "an empty file"
        raise GradflowError(
            f"{path}: not an IDX file of {'images' if rank == 3 else 'labels'}: "
            f"it begins with {found}, expected {expected.hex(' ')}",
        )
    if len(header) < length:
        raise GradflowError(f"{path}: truncated: {len(header)} of {length} bytes of header")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4", offset=4))
    if 0 in shape:
        raise GradflowError(f"{path}: empty: its shape is {' × '.join(map(str, shape))}")
    return shape


def _content(path: Path, file: BinaryIO | gzip.GzipFile, expected: int) -> bytearray:
    """Return the rest of the file; memory grows with what is there, not with what is declared."""
    content = bytearray()
    while len(content) <= expected and (chunk := file.read(_CHUNK)):
        content += chunk
    if len(content) < expected:
        raise GradflowError(
            f"{path}: truncated: its header promises {expected:,} bytes, {len(content):,} follow",
            "download it again",
        )
    if len(content) > expected:
        raise GradflowError(f"{path}: bytes follow the {expected:,} that its header promises")
    return content


def _check_pair(image_file: Path, images: Bytes, label_file: Path, labels: Bytes) -> None:
    if len(images) != len(labels):
        raise GradflowError(
            f"{label_file}: {len(labels):,} labels for the {len(images):,} images "
            f"of {image_file.name}",
            "take all four files from one data set",
        )


def _size(images: Bytes) -> str:
    return "×".join(str(n) for n in images.shape[1:])
