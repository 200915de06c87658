"""A user's model by the name of a file or module: ``path/to/file.py:build``."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gradflow.configs.network import NetworkConfig
from gradflow.diagnosis.objective import Objective, main_output, mapped, own_loss
from gradflow.diagnosis.subject import Pass, Subject, seeds_of
from gradflow.diagnosis.user_module import measured_module, refuse_meta
from gradflow.errors import GradflowError, out_of_memory, unknown_name
from gradflow.measurement.failures import failure
from gradflow.networks.losses import LOSSES
from gradflow.training.devices import dtype as dtype_of
from gradflow.training.devices import select

_FORM = "like --model path/to/file.py:build or --model package.module:build"
#: What a config says of a user's model; everything else describes a built-in network.
_APPLYING = ("batch_size", "loss", "loss_scale", "lr", "seed", "seeds", "dtype", "device")


@dataclass(frozen=True)
class Found:
    """A model, and what its file says that it is to be called with."""

    model: nn.Module
    inputs: Any = None
    targets: Any = None
    loss: Callable[..., Tensor] | None = None


@dataclass(frozen=True)
class Given:
    """What a command says of the inputs: a shape, or a length and a number of tokens."""

    shape: str | None = None
    ids: int | None = None
    vocab: int | None = None

    def inputs(self, examples: int, generator: torch.Generator) -> Tensor | None:
        """Return a batch of random inputs; None where nothing was said.

        Raises
        ------
        GradflowError
            If too little was said, or two different things.
        """
        if self.shape is not None and self.ids is not None:
            raise GradflowError("--input-shape and --input-ids describe different inputs")
        if (self.ids is None) != (self.vocab is None):
            raise GradflowError(
                "--input-ids and --vocab go together", "--input-ids 128 --vocab 50000"
            )
        if self.ids is not None and self.vocab is not None:
            return torch.randint(self.vocab, (examples, self.ids), generator=generator)
        if self.shape is None:
            return None
        return torch.randn((examples, *shape_of(self.shape)), generator=generator)

    def options(self) -> dict[str, Any]:
        """Return what the result keeps of it."""
        of_tokens = {"input_ids": self.ids, "vocab": self.vocab}
        return {"input_shape": self.shape, **(of_tokens if self.ids is not None else {})}


def model_in_file(reference: str, config: NetworkConfig, given: Given) -> Subject:
    """Return the module that ``file.py:name`` names as a subject: built once per seed of `config`.

    Raises
    ------
    GradflowError
        If `config` says something that only a built-in network can have.
    """
    refuse_network_options(config)
    applying = {name: getattr(config, name) for name in _APPLYING}
    return Subject(
        passes=lambda: _passes(reference, config, given),
        lr=config.lr,
        dtype=config.dtype,
        seeds=seeds_of(config),
        options={"model": reference, **given.options(), **applying},
    )


def _passes(reference: str, config: NetworkConfig, given: Given) -> Iterator[Pass]:
    for seed in seeds_of(config):
        yield measured_module(*model_of(reference, config, given, seed))


def model_of(
    reference: str, config: NetworkConfig, given: Given, seed: int
) -> tuple[nn.Module, Objective]:
    """Return the model of a seed on its device, with what it is run on."""
    found = built(reference, seed, several=config.seeds > 1)
    refuse_meta(found.model)
    model = found.model.to(select(config.device), dtype_of(config.dtype))
    return model, objective_for(found, config, given)


def refuse_network_options(config: NetworkConfig) -> None:
    """Refuse what describes a built-in network.

    Raises
    ------
    GradflowError
        Which names the option.
    """
    defaults = type(config)()
    for f in fields(config):
        if f.name not in _APPLYING and getattr(config, f.name) != getattr(defaults, f.name):
            raise GradflowError(
                f"--{f.name.replace('_', '-')} describes a built-in network, not --model",
                "drop it, or build it into the model",
            )


def located(reference: str) -> Any:
    """Return the object that ``file.py:name`` or ``package.module:name`` names.

    Raises
    ------
    GradflowError
        If there is no such file, module or name, or importing it raises.
    """
    home, _, name = reference.rpartition(":")
    if not home or not name:
        raise _nameless(reference)
    value: Any = _imported(home)
    for part in name.split("."):
        if not hasattr(value, part):
            raise unknown_name(f"name in {home}", part, [n for n in vars(value) if n[0] != "_"])
        value = getattr(value, part)
    return value


def _nameless(reference: str) -> GradflowError:
    """Return the error for a file or module of which no object is named; its file is not run."""
    path = Path(reference)
    if path.suffix == ".py" and not path.is_file():
        return GradflowError(f"there is no file '{reference}'", _FORM)
    makers = _makers(path) if path.suffix == ".py" else []
    hint = (
        f"in it are {', '.join(makers[:8])}: --model {reference}:{makers[0]}" if makers else _FORM
    )
    return GradflowError(f"--model '{reference}' does not name an object", hint)


def _makers(path: Path) -> list[str]:
    """Return the functions and classes of a file, by their names."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return []
    made = (part.name for part in body if isinstance(part, ast.FunctionDef | ast.ClassDef))
    return [name for name in made if not name.startswith("_")]


def _imported(home: str) -> ModuleType:
    path = Path(home)
    is_file = path.suffix == ".py" or path.exists()
    if is_file and not path.is_file():
        raise GradflowError(f"there is no file '{home}'", _FORM)
    if is_file and path.suffix != ".py":
        raise GradflowError(f"'{path}' is not a Python file", _FORM)
    folder = str(path.resolve().parent if is_file else Path.cwd())
    sys.path.insert(0, folder)  # as python does: what lies beside it can be imported
    try:
        return _executed(path) if is_file else importlib.import_module(home)
    except ModuleNotFoundError as error:
        if not is_file and error.name and (home + ".").startswith(error.name + "."):
            hint = f"is {error.name.partition('.')[0]} installed, or in this folder? {_FORM}"
            raise GradflowError(f"there is no module '{home}'", hint) from None
        raise failure(error, None, f"importing {home}") from error
    except Exception as error:
        raise failure(error, None, f"importing {home}") from error
    finally:
        sys.path.remove(folder)


def _executed(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def built(reference: str, seed: int, *, several: bool = False) -> Found:
    """Return the model that `reference` names, torch seeded before it is imported and made.

    `several` refuses what is one model, whatever the seed.

    Raises
    ------
    GradflowError
        If it is neither a module nor makes one.
    """
    torch.manual_seed(seed)
    value = located(reference)
    makes = not isinstance(value, nn.Module | tuple) and callable(value)
    if several and not makes:
        raise GradflowError(f"'{reference}' is one model: --seeds needs a function that makes one")
    if makes:
        torch.manual_seed(seed)
        try:
            _refuse_arguments(reference, value)
            value = value()
        except GradflowError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            raise failure(error, None, f"'{reference}'") from error
    return as_found(reference, value)


def as_found(reference: str, value: Any) -> Found:
    """Return what a file gives as a model, and what that is to be called with.

    Raises
    ------
    GradflowError
        If it is neither a module nor a tuple that begins with one.
    """
    parts = value if isinstance(value, tuple) else (value,)
    if not parts or not isinstance(parts[0], nn.Module) or len(parts) > 4:
        raise GradflowError(
            f"'{reference}' gives {_described(value)}, not a torch.nn.Module",
            "return a module, or (module, inputs[, targets[, loss]])",
        )
    return Found(*parts)


def _refuse_arguments(reference: str, factory: Callable[..., Any]) -> None:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return
    needed = [p.name for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    if needed:
        raise GradflowError(
            f"'{reference}' needs arguments ({', '.join(needed)})", "name a function without any"
        )


def _described(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(type(v).__name__ for v in value) + ")"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def shape_of(text: str) -> tuple[int, ...]:
    """Return the sizes in ``"3,32,32"``.

    Raises
    ------
    GradflowError
        If one is not a whole number of at least 1.
    """
    items = [item.strip() for item in text.split(",")]
    if not all(item.isdigit() and int(item) > 0 for item in items):
        raise GradflowError(
            f"--input-shape must be whole numbers with commas between, got '{text}'",
            "the shape of one example, without the batch: --input-shape 3,32,32",
        )
    return tuple(map(int, items))


def objective_for(found: Found, config: NetworkConfig, given: Given) -> Objective:
    """Return what the model is to be run on: its file's inputs, or random ones.

    Raises
    ------
    GradflowError
        If neither is known.
    """
    if config.loss not in LOSSES:
        raise unknown_name("loss", config.loss, LOSSES)
    device, dtype = select(config.device), dtype_of(config.dtype)
    generator = torch.Generator().manual_seed(config.seed)
    random = given.inputs(config.batch_size, generator)
    inputs = found.inputs if random is None else random
    if inputs is None:
        raise GradflowError(
            "--model needs inputs",
            "--input-shape 3,32,32; --input-ids 128 --vocab 50000; or return (model, inputs)",
        )

    def placed(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.to(device, dtype if value.is_floating_point() else value.dtype)

    inputs, targets = mapped(placed, inputs), mapped(placed, found.targets)
    if found.loss is not None or targets is not None:
        return Objective(inputs, targets, found.loss)
    return Objective(inputs, None, _Random(config.loss, config.loss_scale, config.seed))


@dataclass(frozen=True)
class _Random:
    """The named loss of whatever a model returns, against random targets; a mean over examples.

    Where a model returns a ``loss`` of its own, it is that one.
    """

    name: str
    scale: float
    seed: int

    def __call__(self, output: Any) -> Tensor:
        try:
            return self.scale * torch.as_tensor(own_loss(output))
        except GradflowError:
            pass
        hint = "return (model, inputs, targets, loss) from the factory"
        return self.scale * self._of(main_output(output, hint))

    def _of(self, logits: Tensor) -> Tensor:
        if logits.dim() >= 4:  # (examples, classes, height, width), as in torch's cross-entropy
            logits = logits.movedim(1, -1)
        flat = logits.flatten(0, -2) if logits.dim() > 1 else logits.unsqueeze(1)
        classes = flat.shape[1]
        generator = torch.Generator().manual_seed(self.seed)
        if classes == 1 or self.name == "mse":
            target = torch.randn(flat.shape, generator=generator).to(flat)
            return 0.5 * (flat - target).square().sum(1).mean()
        labels = torch.randint(classes, (len(flat),), generator=generator).to(flat.device)
        if self.name == "cross-entropy":
            return F.cross_entropy(flat, labels)
        hot = F.one_hot(labels, classes).to(flat)
        return F.binary_cross_entropy_with_logits(flat, hot, reduction="none").sum(1).mean()
