"""What the oldest torch that is allowed does not tell, or does itself."""

from __future__ import annotations

from importlib.metadata import version

import pytest

#: Without torch, which takes seconds to load.
IS_OLD = version("torch").startswith("2.6.")

tells_hooks = pytest.mark.skipif(
    IS_OLD, reason="torch 2.6 does not say whether saved tensors are hooked (docs/reliability.md)"
)
