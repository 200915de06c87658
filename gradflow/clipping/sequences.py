"""Batches of the sequence tasks; each depends on its seed and its number alone."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from gradflow.arrays import Floats
from gradflow.datasets.images import Dataset, load

Ints = npt.NDArray[np.int64]

SYMBOLS, REMEMBERED = 8, 5
_STREAM = 0x9E3779B9


def random(seed: int, index: int) -> np.random.Generator:
    """Return the generator of batch number `index` of a seed."""
    return np.random.default_rng((_STREAM, seed, index))


def adding(rng: np.random.Generator, examples: int, length: int) -> tuple[Floats, Floats]:
    """Return the adding problem: sequences (examples, length, 2) and targets (examples,).

    Hochreiter & Schmidhuber 1997, section 5.4, in the common form: a number from U(0, 1) and a
    mark at each step, two marks, one in either half; the target is the sum of the marked numbers.
    Who always answers 1 has a mean square error of 1/6.
    """
    numbers, marks = rng.random((examples, length)), np.zeros((examples, length))
    half, all_of_them = length // 2, np.arange(examples)
    marks[all_of_them, rng.integers(0, half, examples)] = 1
    marks[all_of_them, rng.integers(half, length, examples)] = 1
    return np.stack([numbers, marks], 2), (numbers * marks).sum(1)


def copying(rng: np.random.Generator, examples: int, length: int) -> tuple[Floats, Ints]:
    """Return the copy task: sequences (examples, length, 10) and targets (examples · 5,).

    Hochreiter & Schmidhuber 1997, in the form of Arjovsky, Shah & Bengio 2016: 5 of 8 symbols,
    blanks, a mark, and 5 blanks at which the symbols are to be said again. One-hot; who has
    forgotten them has a cross-entropy of log 8.
    """
    symbols = rng.integers(0, SYMBOLS, (examples, REMEMBERED))
    shown = np.full((examples, length), SYMBOLS)
    shown[:, :REMEMBERED] = symbols
    shown[:, length - REMEMBERED - 1] = SYMBOLS + 1
    return np.eye(SYMBOLS + 2)[shown], symbols.reshape(-1)


def rows(rng: np.random.Generator, examples: int, data: Dataset) -> tuple[Floats, Ints]:
    """Return images read row by row, (examples, height, width) from 0 to 1, and their labels.

    Le, Jaitly & Hinton 2015 read MNIST by the pixel; by the row it is 28 steps instead of 784.
    """
    taken = rng.choice(len(data.train_images), examples, replace=False)
    return data.train_images[taken] / 255, data.train_labels[taken].astype(np.int64)


@functools.lru_cache(maxsize=1)
def images(data: str) -> Dataset:
    """Return the data set of that name, read once."""
    return load(None if data == "mnist" else data)
