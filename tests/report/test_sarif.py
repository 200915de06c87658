"""Findings as SARIF 2.1.0: what the standard requires, and what it means here."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.figure_results import ALL, diagnosed, watched

from gradflow import report
from gradflow.findings.codes import CODES
from gradflow.report import sarif
from gradflow.results.base import Finding, Result, RunMeta
from gradflow.results.watching import WatchedModel
from gradflow.script.program import Program

LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def valid(log: dict[str, Any]) -> dict[str, Any]:
    """Hold a log against what SARIF 2.1.0 requires (sections 3.13 to 3.49); return its run.

    And against what GitHub's code scanning requires beyond it ("SARIF support for code scanning"):
    it refuses the whole log where one result has no file.
    """
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "gradflow"
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids))
    for rule in driver["rules"]:
        assert rule["defaultConfiguration"]["level"] in LEVELS.values()
        for name in ("shortDescription", "fullDescription", "help"):
            assert rule[name]["text"].strip()
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in LEVELS.values()
        assert result["message"]["text"]
        (location,) = result["locations"]
        _valid_location(location, run)
    prints = [r["partialFingerprints"]["primaryLocationLineHash"] for r in run["results"]]
    assert len(prints) == len(set(prints))
    assert all(re.fullmatch(r"[0-9a-f]{16}:[1-9][0-9]*", one) for one in prints)
    for invocation in run["invocations"]:
        assert isinstance(invocation["executionSuccessful"], bool)
    return run


def _valid_location(location: dict[str, Any], run: dict[str, Any]) -> None:
    for layer in location.get("logicalLocations", ()):
        assert layer["fullyQualifiedName"]
    place = location["physicalLocation"]
    uri = place["artifactLocation"]["uri"]
    assert uri == run["artifacts"][place["artifactLocation"]["index"]]["location"]["uri"]
    assert uri
    assert not set(uri) & set(" \\")
    assert not uri.startswith("/")
    assert place["region"]["startLine"] >= 1


@pytest.mark.parametrize("name", ALL)
def test_every_result_is_a_valid_log(name: str) -> None:
    run = valid(sarif.document(ALL[name]))
    assert [r["ruleId"] for r in run["results"]] == [f.code for f in ALL[name].findings]


def test_every_code_is_a_rule_with_help() -> None:
    findings = tuple(Finding(code, c.severity, (), "said", "done") for code, c in CODES.items())
    run = valid(sarif.document(dataclasses.replace(diagnosed(0.0), findings=findings)))
    for rule, result in zip(run["tool"]["driver"]["rules"], run["results"], strict=True):
        assert rule["shortDescription"]["text"] == CODES[rule["id"]].summary
        assert "## What to do" in rule["help"]["markdown"]
        assert result["level"] == LEVELS[CODES[rule["id"]].severity]


def test_layers_are_logical_locations_in_the_file() -> None:
    findings = (Finding("vanishing", "error", (1, 2), "fades", "mend it"),)
    meta = RunMeta(config={"model": "my nets/a.py:build"}, command="gradflow diagnose")
    base = dataclasses.replace(diagnosed(-9.0, -3.0), findings=findings, meta=meta)
    run = valid(sarif.document(base))
    (result,) = run["results"]
    (location,) = result["locations"]
    names = [layer["fullyQualifiedName"] for layer in location["logicalLocations"]]
    assert names == [row.name for row in base.records[:2]]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "my%20nets/a.py"
    assert result["message"]["text"] == "fades\n→ mend it"
    assert run["invocations"][0]["commandLine"] == "gradflow diagnose"
    assert run["properties"]["verdict"] == base.verdict


@pytest.mark.parametrize(("module", "file"), [(False, "src/train.py"), (True, "gradflow-watch")])
def test_a_program_is_the_artifact_and_a_name_stands_for_a_module(module: bool, file: str) -> None:
    program = Program("pkg.train" if module else "./src/train.py", (), module)
    findings = (Finding("batch", "warning", (), "few", ""),)
    result = dataclasses.replace(
        watched(2), findings=findings, meta=RunMeta(config=program.named())
    )
    run = valid(sarif.document(result))
    assert [a["location"]["uri"] for a in run["artifacts"]] == [file]


def uri_and_print(path: str, code: str, message: str, layer: int) -> tuple[str, str]:
    finding = Finding(code, "warning", (layer,), message, "")
    meta = RunMeta(config={"path": path})
    run = valid(sarif.document(dataclasses.replace(watched(2), findings=(finding,), meta=meta)))
    fingerprint = run["results"][0]["partialFingerprints"]["primaryLocationLineHash"]
    return run["artifacts"][0]["location"]["uri"], fingerprint


def test_a_file_is_relative_where_it_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = uri_and_print(str(tmp_path / "src" / "my train.py"), "dead", "90 %", 1)
    assert here == uri_and_print("src/my train.py", "dead", "90 %", 1)
    assert here[0] == "src/my%20train.py"
    assert (
        uri_and_print("/elsewhere/train.py", "dead", "90 %", 1)[0] == "file:///elsewhere/train.py"
    )


def test_a_finding_is_the_same_one_in_the_next_run() -> None:
    first = uri_and_print("train.py", "dead", "90 % in layer 1", 1)
    assert uri_and_print("train.py", "dead", "95 % in layer 2", 2) == first
    assert uri_and_print("train.py", "stuck", "90 % in layer 1", 1)[1] != first[1]
    assert uri_and_print("other.py", "dead", "90 % in layer 1", 1)[1] != first[1]


def test_several_models_keep_their_layers_apart() -> None:
    one = watched(2)
    finding = Finding("dead", "warning", (1,), "rests", "")
    models = tuple(
        WatchedModel(
            name=name,
            verdict="healthy",
            optimizer="SGD",
            title="t",
            seen=2,
            rows=one.records,
            findings=(finding,),
        )
        for name in ("generator", "critic")
    )
    whole = (finding, finding, Finding("skipped", "info", (), "steps", ""))
    run = valid(sarif.document(dataclasses.replace(one, models=models, findings=whole)))
    found = [r["locations"][0]["logicalLocations"][0]["name"] for r in run["results"][:2]]
    assert found == ["generator/layer 1", "critic/layer 1"]
    assert len(run["results"]) == 3


def test_what_is_foreign_is_no_link_no_value_and_no_order() -> None:
    said = "[here](https://example.org) {0} \x1b[31m"
    findings = (Finding("mine", "warning", (), said, ""),)
    run = valid(sarif.document(dataclasses.replace(diagnosed(0.0), findings=findings)))
    assert run["results"][0]["message"]["text"] == "[here\\](https://example.org) {{0}} \\x1b[31m"
    assert run["tool"]["driver"]["rules"][0]["help"] == {"text": "mine: a check of another package"}


def test_it_is_written_as_json(tmp_path: Path) -> None:
    path = report.save(ALL["diagnose"], tmp_path / "out.sarif")
    assert json.loads(path.read_text(encoding="utf-8")) == sarif.document(ALL["diagnose"])


def test_interrupted_is_no_success() -> None:
    result: Result = diagnosed(0.0)
    facts = dataclasses.replace(result.facts, interrupted=True)
    run = valid(sarif.document(dataclasses.replace(result, facts=facts)))
    assert run["invocations"] == [{"executionSuccessful": False}]
