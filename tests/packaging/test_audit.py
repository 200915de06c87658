"""The audit fails on what it finds, and says at what it could not look."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from support.old_torch import IS_OLD

ROOT = Path(__file__).parents[2]


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = util.spec_from_file_location("audit", ROOT / "scripts" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["audit.py"])
    return module


def answers(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let pip-audit print a text."""
    done = subprocess.CompletedProcess([], 0, stdout=text)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: done)


@pytest.mark.parametrize(
    ("licence", "fine"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("BSL-1.0 AND (MIT OR GPL-2.0-only)", False),
        ("BSD License; MIT License", True),
        ("MIT License; GNU General Public License (GPL)", False),
        ("", False),
    ],
)
def test_a_licence_is_one_of_a_choice_or_all_of_a_sum(audit: Any, licence: str, fine: bool) -> None:
    assert audit.allowed(licence) is fine


@pytest.mark.skipif(IS_OLD, reason="other packages than the pinned ones are installed")
def test_every_pinned_licence_that_can_be_read_is_on_the_list(audit: Any) -> None:
    report = audit.licences(list(audit.pinned(ROOT / "constraints.txt")))
    assert report.found == ()
    assert report.looked > 20


def test_a_foreign_licence_is_found(audit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "metadata", lambda name: {"License-Expression": "SSPL-1.0"})
    assert audit.licences([Requirement("this")]).found == ("this: licence SSPL-1.0",)


@pytest.mark.parametrize(
    ("package", "code", "said"),
    [
        ({"vulns": []}, 0, "looked at 1 packages, found 0"),
        ({"vulns": [{"id": "CVE-1"}]}, 1, "x 1.0: CVE-1"),
        ({"skip_reason": "not there"}, 3, "could not look at 1"),
        (None, 3, "no answer"),
    ],
)
def test_the_exit_code_tells_found_from_not_looked(
    audit: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, package: Any, code: int, said: str
) -> None:
    monkeypatch.setattr(audit, "licences", lambda requirements: audit.Report(1, (), ()))
    document = {"dependencies": [{"name": "x", "version": "1.0"} | package]} if package else {}
    answers(monkeypatch, json.dumps(document))
    assert audit.main() == code
    assert said in capsys.readouterr().out
