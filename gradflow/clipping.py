"""Clipping policies: what each keeps of a gradient, and what it does to training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from gradflow.configs import ClipConfig, NetworkConfig
from gradflow.datasets import Batch, batch, loss_function
from gradflow.devices import dtype as dtype_of
from gradflow.devices import select
from gradflow.errors import GradflowError, unknown_name
from gradflow.networks import ReplicatedLinear, build
from gradflow.results.base import Finding, RunMeta, plain
from gradflow.results.clipping import ClippedLayerRow, ClipResult, PolicyRow, StepRow

Policy = Callable[[Iterable[Tensor], float], object]


def _nothing(_: Iterable[Tensor], __: float) -> None:
    """Leave the gradients alone."""


#: name -> (parameters, threshold) -> clips their ``.grad`` in place. A new policy is one entry.
POLICIES: dict[str, Policy] = {
    "none": _nothing,
    "value": nn.utils.clip_grad_value_,
    "norm": nn.utils.clip_grad_norm_,
}

Progress = Callable[[str, int, int, float], None]


def clip(
    network: NetworkConfig, config: ClipConfig, progress: Progress | None = None
) -> ClipResult:
    """Compare clipping policies on one network: its first gradient, then training with plain SGD.

    Parameters
    ----------
    network
        The network, data and loss; one seed.
    config
        Policies, threshold and number of steps.
    progress
        Called with (policy, step, steps, loss).

    Raises
    ------
    GradflowError
        For an unknown policy and for several seeds.
    """
    for name in config.policy:
        if name not in POLICIES:
            raise unknown_name("policy", name, POLICIES)
    if network.seeds != 1:
        raise GradflowError(f"clip takes one seed, got --seeds {network.seeds}", "drop --seeds")
    trials = [_Trial(network, config, name) for name in dict.fromkeys(config.policy)]
    interrupted = False
    try:
        for trial in trials:
            for step, loss in trial.train():
                if progress is not None:
                    progress(trial.policy, step, config.steps, loss)
    except KeyboardInterrupt:
        interrupted = True
    return ClipResult(
        records=tuple(trial.row() for trial in trials),
        findings=tuple(_findings(trials, interrupted)),
        meta=_meta(network, config),
        layers=tuple(row for trial in trials for row in trial.layers),
        history=tuple(row for trial in trials for row in trial.history),
        threshold=config.threshold,
    )


class _Trial:
    """One policy on its own copy of the network."""

    def __init__(self, network: NetworkConfig, config: ClipConfig, policy: str) -> None:
        device, dtype = select(network.device), dtype_of(network.dtype)
        self.policy, self.config, self.network = policy, config, network
        data = batch(network, dtype, device)
        self.model = build(network, data.inputs.shape[-1], data.classes, dtype, device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=network.lr)
        self.history: list[StepRow] = []
        self.diverged = False
        self._backward(data)
        raw = [p.grad.clone() for p in self.model.parameters() if p.grad is not None]
        self._clip()
        clipped = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.before, self.after = flat(raw), flat(clipped)
        self.layers = tuple(self._layer_rows(raw, clipped))

    def _backward(self, data: Batch) -> Tensor:
        self.optimizer.zero_grad()
        logits = self.model(data.inputs.unsqueeze(0))
        each = loss_function(self.network.loss)(logits, data.labels)
        loss: Tensor = each.mean() * self.network.loss_scale
        torch.autograd.backward(loss)
        return loss.detach()

    def _clip(self) -> None:
        POLICIES[self.policy](self.model.parameters(), self.config.threshold)

    def train(self) -> Iterator[tuple[int, float]]:
        """Take the steps; yield (step, loss) after each, and stop where the loss is not finite."""
        device, dtype = select(self.network.device), dtype_of(self.network.dtype)
        for step in range(1, self.config.steps + 1):
            loss = float(self._backward(batch(self.network, dtype, device, step - 1)))
            before = global_norm(self.model.parameters())
            self._clip()
            after = global_norm(self.model.parameters())
            self.history.append(StepRow(self.policy, step, loss, before, after))
            yield step, loss
            if not (math.isfinite(loss) and math.isfinite(before)):
                self.diverged = True
                return
            self.optimizer.step()

    def row(self) -> PolicyRow:
        trained = self.history[-1] if self.history else None
        first = self.history[0].loss if self.history else math.nan
        worse = trained is not None and trained.loss > 10 * max(first, 1.0)
        engaged = sum(row.norm_after != row.norm_before for row in self.history)
        return PolicyRow(
            policy=self.policy,
            threshold=None if self.policy == "none" else self.config.threshold,
            norm_before=float(self.before.norm()),
            norm_after=float(self.after.norm()),
            cosine=cosine(self.before, self.after),
            clipped_fraction=changed_fraction(self.before, self.after),
            final_loss=trained.loss if trained else None,
            diverged=(self.diverged or worse) if trained else None,
            engaged_fraction=engaged / len(self.history) if self.history else None,
        )

    def _layer_rows(
        self, raw: Sequence[Tensor], clipped: Sequence[Tensor]
    ) -> Iterator[ClippedLayerRow]:
        total = float(self.after.square().sum())
        names = [n for n, m in self.model.named_modules() if isinstance(m, ReplicatedLinear)]
        for index, name in enumerate(names, start=1):
            pair = slice(2 * index - 2, 2 * index)  # a layer's weight and bias
            before, after = flat(raw[pair]), flat(clipped[pair])
            yield ClippedLayerRow(
                policy=self.policy,
                index=index,
                name=name,
                norm=float(after.norm()),
                share=float(after.square().sum()) / total if total else 0.0,
                cosine=cosine(before, after),
                clipped_fraction=changed_fraction(before, after),
            )


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """Return all entries as one float64 vector on the CPU: squares of 1e-30 are not 0 there."""
    return torch.cat([t.detach().flatten().cpu().double() for t in tensors])


def global_norm(parameters: Iterable[Tensor]) -> float:
    """Return the L2 norm of all gradients together."""
    return float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))


def cosine(before: Tensor, after: Tensor) -> float | None:
    """Return the cosine between two gradients; None where either is 0 or not finite."""
    a, b = before.abs().max(), after.abs().max()
    if not (bool(a > 0) and bool(b > 0) and math.isfinite(a) and math.isfinite(b)):
        return None
    a_unit, b_unit = before / before.norm(), after / after.norm()
    return float(torch.dot(a_unit, b_unit).clamp(-1, 1))


def changed_fraction(before: Tensor, after: Tensor) -> float:
    """Return the share of the entries that a policy changed."""
    return float((before != after).double().mean())


def _findings(trials: Sequence[_Trial], interrupted: bool) -> Iterator[Finding]:
    if interrupted:
        done = [t.policy for t in trials if len(t.history) == t.config.steps]
        yield Finding(
            "interrupted", "warning", (),
            f"stopped by Ctrl-C; trained to the end: {', '.join(done) or 'none'}", "",
        )  # fmt: skip
    for trial in trials:
        row = trial.row()
        if row.diverged:
            last = trial.history[-1]
            yield Finding(
                "diverged", "error", (),
                f"under '{trial.policy}' training diverged: loss {last.loss:.3g} at step "
                f"{last.step}", "a lower --threshold, --lr or --gain",
            )  # fmt: skip
        if row.cosine is not None and row.cosine < 0.99:
            yield Finding(
                "turned", "info", (),
                f"'{trial.policy}' turns the gradient by "
                f"{math.degrees(math.acos(row.cosine)):.0f}° and changes "
                f"{row.clipped_fraction:.1%} of its entries", "norm scaling keeps the direction",
            )  # fmt: skip


def _meta(network: NetworkConfig, config: ClipConfig) -> RunMeta:
    return RunMeta(
        torch=torch.__version__,
        device=str(select(network.device)),
        dtype=network.dtype,
        seeds=(network.seed,),
        threads=torch.get_num_threads(),
        config=plain({**vars(network), **vars(config)}),
    )
