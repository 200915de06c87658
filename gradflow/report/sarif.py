"""A result's findings as SARIF 2.1.0, which code scanning, editors and CI systems read.

A rule for every code that was found, with its page as help; a result for every finding, in the
program or model file and there at its layers (logical locations). GitHub refuses a log of which one
result has no file: where there is none, a name stands for what was looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from gradflow.findings.codes import CODES
from gradflow.findings.explain import explain, section
from gradflow.report import escape
from gradflow.results.base import Finding, Result

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}

Plain = dict[str, Any]


def write(result: Result, path: Path) -> None:
    """Write the findings of `result` to `path`."""
    text = json.dumps(document(result), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    path.write_bytes(text.encode("utf-8", "backslashreplace"))


def document(result: Result) -> Plain:
    """Return the findings of `result` as a SARIF log of one run."""
    codes = list(dict.fromkeys(finding.code for finding in result.findings))
    driver = {
        "name": "gradflow",
        "fullName": f"gradflow {result.meta.version}",
        "version": result.meta.version,
        "rules": [_rule(code, result) for code in codes],
    }
    run: Plain = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(result)],
        "results": _tracked(result, codes),
        "properties": {"command": result.command, "title": escape.visible(result.title)},
    }
    if verdict := getattr(result, "verdict", None):
        run["properties"]["verdict"] = verdict
    run["artifacts"] = [{"location": {"uri": _uri(result)}, "roles": ["analysisTarget"]}]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str, result: Result) -> Plain:
    """What all findings of a code have in common."""
    if code not in CODES:  # of somebody else's check
        severity = next(f.severity for f in result.findings if f.code == code)
        said = {"text": f"{escape.visible(code)}: a check of another package"}
        return {
            "id": escape.visible(code),
            **dict.fromkeys(("shortDescription", "fullDescription", "help"), said),
            "defaultConfiguration": {"level": _LEVELS[severity]},
        }
    text = explain(code).text
    return {
        "id": code,
        "shortDescription": {"text": CODES[code].summary},
        "fullDescription": {"text": section(text, "What it means").strip()},
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": _LEVELS[CODES[code].severity]},
    }


def _invocation(result: Result) -> Plain:
    said: Plain = {"executionSuccessful": not result.facts.interrupted}
    if result.meta.command:
        said["commandLine"] = escape.visible(result.meta.command)
    return said


def _placed(result: Result) -> Iterator[tuple[Finding, Mapping[int, str]]]:
    """Every finding with the names of the layers that it counts."""
    models = getattr(result, "models", ())
    if len(models) < 2:
        yield from ((finding, _names(result.records)) for finding in result.findings)
        return
    for model in models:
        names = {i: f"{model.name}/{name}" for i, name in _names(model.rows).items()}
        yield from ((finding, names) for finding in model.findings)
    yield from ((finding, {}) for finding in getattr(result, "of_the_program", ()))


def _names(rows: Sequence[Any]) -> dict[int, str]:
    return {row.index: row.name for row in rows if hasattr(row, "index") and hasattr(row, "name")}


def _result(
    finding: Finding, names: Mapping[int, str], codes: Sequence[str], result: Result
) -> Plain:
    said = f"{finding.message}\n→ {finding.advice}" if finding.advice else finding.message
    found: Plain = {
        "ruleId": escape.visible(finding.code),
        "ruleIndex": codes.index(finding.code),
        "level": _LEVELS[finding.severity],
        "message": {"text": escape.sarif(said or finding.code)},
    }
    found["locations"] = [_location(finding, names, result)]
    return found


def _tracked(result: Result, codes: Sequence[str]) -> list[Plain]:
    """Every finding, with what is the same for it in the next run, whatever that measures.

    Left to itself, code scanning takes the file's first line, and begins anew when that changes.
    """
    met = Counter[str]()
    found = [_result(finding, names, codes, result) for finding, names in _placed(result)]
    for one in found:
        about = f"{result.command} {one['ruleId']} {_uri(result)}"
        key = hashlib.sha256(about.encode()).hexdigest()[:16]
        met[key] += 1
        one["partialFingerprints"] = {"primaryLocationLineHash": f"{key}:{met[key]}"}
    return found


def _location(finding: Finding, names: Mapping[int, str], result: Result) -> Plain:
    """The file, or what stands for it, and in it the layers."""
    layers = [
        {
            "name": escape.visible(names.get(layer, f"layer {layer}")),
            "fullyQualifiedName": escape.visible(names.get(layer, f"layer {layer}")),
            "kind": "member",
            "properties": {"layer": layer},
        }
        for layer in finding.layers
    ]
    where = {"artifactLocation": {"uri": _uri(result), "index": 0}, "region": {"startLine": 1}}
    return {"physicalLocation": where} | ({"logicalLocations": layers} if layers else {})


def _uri(result: Result) -> str:
    """The program or model file that was looked at, relative to here where it lies here."""
    name = file_of(result)
    if name is None:
        return f"gradflow-{result.command}"
    path = Path(name)
    if path.is_absolute():
        if not path.is_relative_to(Path.cwd()):
            return path.as_uri()
        name = path.relative_to(Path.cwd()).as_posix()
    return quote(name, errors="surrogateescape")


def file_of(result: Result) -> str | None:
    """Return the program or model file that was looked at, where there is one."""
    config = result.meta.config
    model, _, _ = str(config.get("model") or "").rpartition(":")  # file.py:name
    for name in (config.get("path"), model):
        if isinstance(name, str) and PurePath(name).suffix:
            return PurePath(name).as_posix()
    return None
