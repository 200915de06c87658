"""What every measurement returns: rows, findings, where it came from. Standard library only.

A result is a frozen dataclass. The columns of every view (console table, CSV, Markdown) come
from the fields of its row class, so one new field is one new column everywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from gradflow._version import __version__
from gradflow.errors import unknown_name
from gradflow.results.decoding import record, value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = 1

R = TypeVar("R", bound="Row")


@dataclass(frozen=True)
class Column:
    """How a row's field is shown.

    Attributes
    ----------
    label
        Heading of the column.
    format
        A format specification (``".3g"``, ``".1%"``), ``"bar"`` for a log₁₀ drawn as a bar, or
        ``"name"`` for a layer's name, which is cut where it is too long.
    priority
        Where a table is too wide, columns with the largest number go first;
        0 never goes, ``None`` is not for a person (it is in .json and .csv).
    logarithm
        Whether another column holds its logarithm, which stands alone where this one overflows.
    varied
        Whether the console shows the column only where its values differ.
    """

    label: str
    format: str = ""
    priority: int | None = 0
    logarithm: bool = False
    varied: bool = False


def column(
    label: str,
    format: str = "",
    priority: int | None = 0,
    *,
    logarithm: bool = False,
    varied: bool = False,
    default: Any = dataclasses.MISSING,
) -> Any:
    """Return a dataclass field that carries its `Column`."""
    shown = Column(label, format, priority, logarithm, varied)
    return field(default=default, metadata={"column": shown})


@dataclass(frozen=True)
class Row:
    """One line of a result's table; subclasses declare their fields with `column`.

    Attributes
    ----------
    summarized
        The column whose range stands for the rows that a long table leaves out; None where every
        row is shown.
    many
        Rows from which on a table is long.
    """

    summarized: ClassVar[str | None] = None
    many: ClassVar[int] = 60

    @classmethod
    def columns(cls) -> dict[str, Column]:
        """Return the columns by field name, in order."""
        return {f.name: f.metadata.get("column", Column(f.name)) for f in dataclasses.fields(cls)}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary of plain values."""
        return {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self)}


#: At the end of a finding that is a warning, since Adam copes with it: whom it concerns.
HARD_FOR_SGD = "; SGD hardly trains this"
WITH_SGD = f"{HARD_FOR_SGD}, Adam copes"


@dataclass(frozen=True)
class Finding:
    """Something that a user should know of a result.

    Attributes
    ----------
    code
        Stable name, what ``--fail-on`` matches (``vanishing``, ``dead``, …).
    severity
        ``"error"``, ``"warning"`` or ``"info"``.
    layers
        Indices of the layers at fault, empty where none is.
    message
        What was found, with its evidence.
    advice
        What to do about it.
    """

    code: str
    severity: str
    layers: tuple[int, ...]
    message: str
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary of plain values."""
        return {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self)}


@dataclass(frozen=True)
class Facts:
    """What was seen beside the rows, for the checks alone: no view shows it.

    Attributes
    ----------
    interrupted
        Whether Ctrl-C came before all was done.
    """

    interrupted: bool = False


@dataclass(frozen=True)
class RunMeta:
    """Where a result came from: enough to run it again."""

    version: str = __version__
    torch: str | None = None
    device: str | None = None
    dtype: str | None = None
    seeds: tuple[int, ...] = ()
    threads: int | None = None
    command: str | None = None
    config: dict[str, Any] = field(default_factory=dict)


def rows_of(row_type: type[Row]) -> Any:
    """Return a field that holds further rows (a second table) of the given type."""
    return field(default=(), metadata={"rows_of": row_type})


class Views(Protocol):
    """What can be made of a result: `gradflow.report`."""

    def save(self, result: Any, path: str | Path) -> Path:
        """Write it to a file; the suffix chooses the format."""

    def figure(self, result: Any) -> Figure:
        """Draw it."""

    def renderable(self, result: Any) -> Any:
        """Return what rich prints for it."""

    def text(self, result: Any) -> str:
        """Return its table as plain text."""

    def notebook(self, result: Any) -> str:
        """Return its report as HTML for a notebook."""

    def tensorboard(self, result: Any, folder: str | Path) -> Path:
        """Write its history for TensorBoard."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Base of every result.

    Subclasses set `command` and `row_type`; whatever fields they add stand beside
    ``rows`` in the JSON document. Fields made with `rows_of` are further tables.
    """

    command: ClassVar[str] = ""
    row_type: ClassVar[type[Row]] = Row
    REGISTRY: ClassVar[dict[str, type[Result]]] = {}
    views: ClassVar[Callable[[], Views]]
    codes: ClassVar[Callable[[], Collection[str]]]

    records: tuple[Any, ...] = ()
    findings: tuple[Finding, ...] = ()
    meta: RunMeta = RunMeta()
    facts: Facts = field(default=Facts(), repr=False, compare=False)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.command:
            Result.REGISTRY[cls.command] = cls

    @property
    def title(self) -> str:
        """The answer in words; the heading of the table and of the figure."""
        return self.command

    def rows(self) -> list[dict[str, Any]]:
        """Return the table, a dictionary per row."""
        return [record.to_dict() for record in self.records]

    def to_dict(self) -> dict[str, Any]:
        """Return the whole document as plain values (the contract's JSON layout)."""
        document: dict[str, Any] = {"schema": SCHEMA, "command": self.command}
        document["meta"] = plain(dataclasses.asdict(self.meta))
        document["title"] = self.title
        for f in self._extra_fields():
            document[f.name] = plain(getattr(self, f.name))
        document["rows"] = self.rows()
        document["findings"] = [finding.to_dict() for finding in self.findings]
        return document

    @staticmethod
    def from_dict(document: dict[str, Any]) -> Result:
        """Return the result that `to_dict` described.

        Raises
        ------
        ValueError
            If the document has another schema number or an unknown command.
        """
        if not isinstance(document, dict):
            raise ValueError("not a gradflow document: not an object")
        schema, command = document.get("schema"), str(document.get("command"))
        if schema != SCHEMA or command not in Result.REGISTRY:
            raise ValueError(
                f"not a gradflow document of schema {SCHEMA}: {schema=!r}, {command=!r}"
            )
        cls = Result.REGISTRY[command]
        if missing := [name for name in ("meta", "rows", "findings") if name not in document]:
            raise ValueError(f"not a gradflow document: it has no '{missing[0]}'")
        fields = {f.name for f in cls._extra_fields() if f.init} & document.keys()
        given = {name: document[name] for name in ("meta", "findings", *sorted(fields))}
        records = value(tuple[cls.row_type, ...], document["rows"])  # type: ignore[name-defined]
        return dataclasses.replace(record(cls, given), records=records)

    @classmethod
    def _extra_fields(cls) -> Iterator[dataclasses.Field[Any]]:
        own = {f.name for f in dataclasses.fields(Result)}
        return (f for f in dataclasses.fields(cls) if f.name not in own)

    # Views and codes are handed in (by `gradflow/__init__.py`), so that results import none.

    def save(self, path: str | Path) -> Path:
        """Write the result to `path`; the suffix chooses the format."""
        saved: Path = Result.views().save(self, path)
        return saved

    def figure(self) -> Figure:
        """Return the result's figure."""
        drawn: Figure = Result.views().figure(self)
        return drawn

    def __rich__(self) -> Any:
        return Result.views().renderable(self)

    def __str__(self) -> str:
        plain: str = Result.views().text(self)
        return plain

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """What a notebook shows: the report, and the table where that cannot be shown."""
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    def _repr_html_(self) -> str:
        html: str = Result.views().notebook(self)
        return html


def raise_for(result: Result, codes: tuple[str, ...], always: tuple[str, ...] = ()) -> None:
    """Raise an `AssertionError` with the findings at fault, if there are any.

    Parameters
    ----------
    codes
        Whose findings are at fault; none: those of every error.
    always
        Codes that are at fault in any case.

    Raises
    ------
    GradflowError
        For a code that does not exist: a misspelt one would never be found.
    """
    known = Result.codes()
    for code in codes:
        if code not in known:
            raise unknown_name("finding", code, known)
    found = [
        finding
        for finding in result.findings
        if finding.code in (*codes, *always) or (not codes and finding.severity == "error")
    ]
    if found:
        lines = [
            f"{f.code}: {f.message}" + (f"\n  → {f.advice}" if f.advice else "") for f in found
        ]
        raise AssertionError("\n".join([result.title, *lines]))


def plain(value: Any) -> Any:
    """Return `value` with rows, tuples and mappings turned into dictionaries and lists."""
    if isinstance(value, Row | Finding):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value
