"""What a notebook that was exported as a script calls: ``get_ipython()``."""

from __future__ import annotations

from typing import Any

#: Magics whose code is the program's.
_CODE = frozenset({"time", "timeit", "prun", "capture"})


class Notebook:
    """Stands for IPython's shell: runs the code of a magic, leaves shell commands out.

    Parameters
    ----------
    namespace
        Of the program.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace

    def run_line_magic(self, name: str, line: str, *_: Any) -> None:
        """Run the code of ``%time code``; leave out ``%matplotlib inline`` and the like."""
        self._run(name, line)

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        """Run the code below ``%%time``."""
        self._run(name, cell if name in _CODE else line)

    def system(self, *_: Any) -> None:
        """Leave ``!pip install …`` out."""

    getoutput = magic = system

    def _run(self, name: str, code: str) -> None:
        if name in _CODE:
            exec(compile(code.strip(), f"%{name}", "exec"), self.namespace)
