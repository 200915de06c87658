"""What a user's code raised, in one line: the exception's, where, and the layer reached."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import FrameType

import torch
from torch import nn

from gradflow.errors import GradflowError
from gradflow.measurement import walks

_LIBRARIES = tuple(str(Path(module.__file__).parent) for module in (torch,) if module.__file__)
_OURS = str(Path(__file__).parent)


def failure(error: Exception, model: nn.Module | None, what: str = "the model") -> GradflowError:
    """Return the error that says in which layer and at which line `what` raised."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    reached = _layer([frame for frame, _ in frames], model)
    where = "" if reached is None else f" in layer '{reached[0]}' ({reached[1]})"
    place = _place(frames)
    message = f"{what} raised {type(error).__name__}{where}: {first_line(error)}{place}"
    return GradflowError(message, _hint(error))


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"


def _layer(frames: list[FrameType], model: nn.Module | None) -> tuple[str, str] | None:
    """The innermost module of `model` that was running."""
    names = {} if model is None else {id(m): n for n, m in walks.named_parts(model)}
    for frame in reversed(frames):
        module = frame.f_locals.get("self")
        if isinstance(module, nn.Module) and names.get(id(module)):
            return names[id(module)], type(module).__name__
    return None


def _place(frames: list[tuple[FrameType, int]]) -> str:
    """The innermost line that is neither torch's nor ours."""
    for frame, line in reversed(frames):
        file = frame.f_code.co_filename
        if not file.startswith((*_LIBRARIES, _OURS, "<")):
            return f" ({Path(file).name}, line {line})"
    return ""


def _hint(error: Exception) -> str | None:
    said = str(error)
    if "scalar types: Long" in said or "used as indices must be long" in said:
        return "does the model take token numbers? --input-ids LENGTH --vocab N; integers in Python"
    if "index out of range in self" in said:
        return "are all token numbers below the embedding's size (--vocab)?"
    if "shapes cannot be multiplied" in said or "size mismatch" in said or "to have" in said:
        return "does --input-shape (without the batch) fit the model's first layer?"
    if "backward through the graph a second time" in said:
        return "does the loss call backward() itself? That is done for it here"
    if "Checkpointing is not compatible" in said:
        return "use torch.utils.checkpoint with use_reentrant=False"
    return None
