"""Types of the arrays that formulas and numerics work on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

#: A float64 array of any shape.
Floats: TypeAlias = npt.NDArray[np.float64]
#: An array of indices.
Integers: TypeAlias = npt.NDArray[np.intp]
#: An elementwise function on such arrays.
Formula: TypeAlias = Callable[[Floats], Floats]
