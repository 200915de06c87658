"""Contestants as child processes that work on request and sleep in between.

A child answers each line of JSON on its input with one on its output, the first of them, unasked,
with its versions. Standard library only, since children live in environments of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
REPOSITORY = FOLDER.parent.parent

Message = dict[str, Any]


class Child:
    """A contestant: ``Child("plain_loop.py")``, then `ask`, or `send` and later `receive`."""

    def __init__(
        self, script: str, python: Path | str = sys.executable, env: Mapping[str, str] | None = None
    ) -> None:
        self.script = script
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the child
        path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [str(python), str(FOLDER / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, "PYTHONPATH": path, **(env or {})},
        )
        self.versions: Message = {}

    def ready(self) -> Child:
        """Wait for its versions."""
        self.versions = self.receive()
        return self

    def send(self, **request: Any) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Message:
        """Wait for its answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise SystemExit(f"{self.script} died:\n{self.log.read()[-3000:]}")
        answer: Message = json.loads(line)
        return answer

    def ask(self, **request: Any) -> Message:
        """Send a request and wait for its answer."""
        self.send(**request)
        return self.receive()

    def close(self) -> None:
        """Let it end; end it if it does not."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def serve(versions: Message, answer: Callable[..., Message]) -> None:
    """Answer requests until there are no more; what a child does.

    Whatever a library prints meanwhile goes to the log.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        answers.write(json.dumps(versions) + "\n")
        answers.flush()
        for line in sys.stdin:
            answers.write(json.dumps(answer(**json.loads(line))) + "\n")
            answers.flush()
