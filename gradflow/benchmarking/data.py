"""The images of a benchmark, split in three, and held once however many workers there are."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from gradflow.configs.benchmark import BenchmarkConfig
from gradflow.datasets.images import Bytes, Dataset, load
from gradflow.errors import GradflowError
from gradflow.temporaries import prefix, sweep

Part = Literal["train", "validation", "test"]
_SHARE, _MOST = 6, 10_000  # a sixth of the training set is held out, at most this many images


@dataclass(frozen=True)
class Split:
    """Which images are trained on, held out and tested on.

    Sent to workers in place of the images: each maps the same files, so that the system holds them
    once.

    Attributes
    ----------
    folder
        Holds ``train_images.npy`` and the like, as in `gradflow.datasets.images.Dataset`.
    source
        What the data is read from where there is no such folder: on another machine.
    sizes
        Numbers of images by part.
    available
        Images in the training set, of which the last ones are held out.
    digest
        Of the contents of all images and labels.
    """

    folder: str
    source: str
    name: str
    sizes: tuple[tuple[Part, int], ...]
    available: int
    input_shape: tuple[int, int]
    classes: int
    digest: str

    @property
    def parts(self) -> tuple[Part, ...]:
        """The names of the parts."""
        return tuple(part for part, _ in self.sizes)

    def size(self, part: Part) -> int:
        """Return the number of images in a part."""
        return dict(self.sizes)[part]

    def arrays(self, part: Part) -> tuple[Bytes, Bytes]:
        """Return the images (N, H, W) and labels (N,) of a part."""
        rows = {
            "train": slice(self.size("train")),
            "validation": slice(self.available - self.size("validation"), self.available),
            "test": slice(None),
        }[part]
        source = "test" if part == "test" else "train"
        return self._mapped(f"{source}_images")[rows], self._mapped(f"{source}_labels")[rows]

    def _mapped(self, name: str) -> Bytes:
        if not Path(self.folder).is_dir():
            elsewhere: Bytes = getattr(_read(self.source, self.digest), name)
            return elsewhere
        # "c": torch wants to be able to write; what nobody writes stays shared.
        array: Bytes = np.load(Path(self.folder) / f"{name}.npy", mmap_mode="c")
        return array


def _loaded(source: str) -> Dataset:
    return load(None if source == "mnist" else source)


@functools.lru_cache(maxsize=1)  # all parts are asked for, one after the other
def _read(source: str, digest: str) -> Dataset:
    """Read the data on another machine than that which sent the task.

    Raises
    ------
    GradflowError
        If there is none, or another.
    """
    data = _loaded(source)
    if data.digest() != digest:
        raise GradflowError(f"'{source}' is not the same data on every machine")
    return data


@contextlib.contextmanager
def splitting(config: BenchmarkConfig) -> Iterator[Split]:
    """Give the split that `config` asks for, in a temporary folder that lives as long as the block.

    Raises
    ------
    GradflowError
        If the data is unusable, or has fewer images than were asked for.
    """
    data = _loaded(config.data)
    sizes = _sizes(config, data)
    sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=prefix()) as folder:
        for name in ("train_images", "train_labels", "test_images", "test_labels"):
            _store(Path(folder) / f"{name}.npy", getattr(data, name))
        split = Split(
            folder,
            config.data,
            data.name,
            sizes,
            available=len(data.train_images),
            input_shape=data.input_shape,
            classes=data.classes,
            digest=data.digest(),
        )
        del data  # from now on it is in the files alone
        yield split


def _store(path: Path, array: Bytes) -> None:
    """Write an array; where that fails, numpy may know no more than how much it wrote."""
    try:
        np.save(path, array)
    except OSError as error:
        where = path.parent.parent
        raise GradflowError(
            f"cannot write {array.nbytes:,} bytes to '{where}': {error.strerror or 'no room'}",
            "make room there, or set TMPDIR to another folder",
        ) from error


def _sizes(config: BenchmarkConfig, data: Dataset) -> tuple[tuple[Part, int], ...]:
    available = len(data.train_images)
    validation = config.validation_size
    if validation is None:
        validation = min(available // _SHARE, _MOST)
        if config.train_size is not None:  # as many as are left, rather than none to train on
            validation = max(0, min(validation, available - config.train_size))
    train = config.train_size or available - validation
    if train > available:
        raise GradflowError(
            f"--train-size {train} is more than the {available:,} images of {data.name}"
        )
    if train < 1 or train + validation > available:
        raise GradflowError(
            f"--train-size {max(train, 1)} and --validation-size {validation} are more than the "
            f"{available:,} training images of {data.name}",
            f"--validation-size {max(available - max(train, 1), 0)}",
        )
    return ("train", train), ("validation", validation), ("test", len(data.test_images))
