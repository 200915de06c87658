"""Clipping policies: what each keeps of a gradient, and what it does to training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from gradflow.arrays import Floats
from gradflow.clipping import checks
from gradflow.clipping.effect import first_gradient
from gradflow.clipping.policies import Clipping, clipping
from gradflow.clipping.rows import Trial, layer_rows, policy_row, step_rows
from gradflow.clipping.suggestion import below, between, distribution, histogram, proposals
from gradflow.clipping.tasks import Problem, network_for, problem, seeds_of
from gradflow.clipping.training import Training, TrainingCurves, norms_met
from gradflow.configs.choices import NONFINITE
from gradflow.configs.clipping import ClipConfig
from gradflow.configs.fields import required
from gradflow.configs.network import NetworkConfig
from gradflow.configs.tasks import DEFAULT_TASK
from gradflow.errors import GradflowError, unknown_name
from gradflow.findings.check import judged
from gradflow.results.base import Facts, RunMeta, plain
from gradflow.results.clipping import ClipResult, best_of
from gradflow.training.devices import select

#: Called with (what is trained, step, steps, loss).
Progress = Callable[[str, int, int, float], None]

_ENOUGH = 10  # steps
_ROUNDS = 3  # of lower thresholds


def clip(
    network: NetworkConfig | None = None,
    config: ClipConfig = ClipConfig(),  # noqa: B008
    progress: Progress | None = None,
) -> ClipResult:
    """Compare clipping policies on one network: its first gradient, then training.

    Parameters
    ----------
    network
        The network, data and loss; every seed has weights and batches of its own. None: the
        task's own network. One that is given is trained as it stands;
        `gradflow.clipping.tasks.network_for` fills in a task's defaults.
    config
        Task, policies, threshold and number of steps. Where it names no task, that is the deep
        network with too large weights if `network` is None, and `network` itself if not.
    progress
        Called with (what is trained, step, steps, median loss) after each step.

    Returns
    -------
    ClipResult
        A row per policy.

    Raises
    ------
    GradflowError
        For unknown names, and for what the task cannot do.

    Examples
    --------
    >>> import gradflow
    >>> result = gradflow.clip(config=gradflow.ClipConfig(policy=("none", "norm"), steps=5))
    >>> [row.policy for row in result.records]
    ['none', 'norm']
    """
    required(config, ClipConfig, "clip")
    if network is None:
        config = replace(config, task=config.task or DEFAULT_TASK)
        network = network_for(config.task or DEFAULT_TASK, NetworkConfig(), ())
    run = _Comparison(network, config, progress)
    return run.suggested() if config.suggest else run.compared()


class _Comparison:
    """One command: a problem, and what was tried on it."""

    def __init__(
        self, network: NetworkConfig, config: ClipConfig, progress: Progress | None
    ) -> None:
        if config.nonfinite not in NONFINITE:
            raise unknown_name("treatment of non-finite gradients", config.nonfinite, NONFINITE)
        self.network, self.config, self.progress = network, config, progress
        texts = dict.fromkeys(config.policy)
        self.clippings = [clipping(text, config.threshold) for text in texts]
        problem = self.problem()
        self.chance = problem.chance
        self.steps = problem.steps if config.steps is None else config.steps
        self.first = first_gradient(problem, network.seeds)
        self.interrupted = False
        if config.suggest and config.policy != ClipConfig.policy:
            raise GradflowError(
                f"--suggest tries thresholds for norm, not --policy {config.policy[-1]}",
                "drop one of them",
            )
        if config.suggest and self.steps < _ENOUGH:
            raise GradflowError(
                f"--suggest needs at least {_ENOUGH} --steps to know the norms, got {self.steps}"
            )

    def problem(self) -> Problem:
        """Return the task, made anew: weights as in the beginning."""
        return problem(self.network, self.config)

    def compared(self) -> ClipResult:
        """Train under every policy asked for."""
        return self._result(self.trials(self.clippings, "training"))

    def suggested(self) -> ClipResult:
        """Train unclipped, then under every threshold that the norms propose.

        Where the lowest threshold is the best of them, and there is something to mend, lower ones
        are tried as well; then those between the best and its neighbours, where these are far.
        """
        (raw,) = self.trials([clipping("none", 1.0)], "unclipped")
        met = norms_met(raw.curves, self.chance)
        tried = self._try(proposals(met), "trying thresholds")
        for number in range(1, _ROUNDS + 1):
            best, limits = self._best([raw, *tried])
            if not tried or best not in (None, min(limits)) or self._stalled([raw, *tried]):
                break
            tried += self._try(below(min(limits)), f"lower thresholds {number}")
        best, limits = self._best([raw, *tried])
        if best is not None:
            tried += self._try(between(best, limits), "thresholds between")
        tried.sort(key=lambda trial: trial.clipping.limit or 0.0)
        return self._result([raw, *tried], met)

    def _best(self, trials: Sequence[Trial]) -> tuple[float | None, list[float]]:
        """Return the threshold of the lowest final loss (None: unclipped, or none), and all."""
        best = best_of([policy_row(trial, self.chance) for trial in trials])
        limits = [t.clipping.limit for t in trials if t.clipping.limit is not None]
        return best.threshold if best is not None else None, limits

    def _stalled(self, trials: Sequence[Trial]) -> bool:
        """Whether nothing learns, and nothing explodes: a smaller step would not help."""
        outcomes = [policy_row(trial, self.chance).outcome for trial in trials]
        return set(outcomes) == {"stalls"}

    def _try(self, proposed: dict[str, float], what: str) -> list[Trial]:
        if self.interrupted or not proposed:
            return []
        clippings = [Clipping(f"norm:{t:g}", "norm", t) for t in proposed.values()]
        tried = self.trials(clippings, what)
        return [replace(t, proposal=name) for t, name in zip(tried, proposed, strict=True)]

    def trials(self, clippings: Sequence[Clipping], what: str) -> list[Trial]:
        """Train under every policy, all at once."""
        curves: list[TrainingCurves | None] = [None] * len(clippings)
        if self.steps:
            curves = list(self._train(clippings, what))
        pairs = zip(clippings, curves, strict=True)
        return [Trial(c, self.first.effects(c), own) for c, own in pairs]

    def _train(self, clippings: Sequence[Clipping], what: str) -> list[TrainingCurves]:
        training = Training(
            self.problem(),
            clippings,
            self.network.seeds,
            self.network.lr,
            self.config.optimizer,
            self.config.nonfinite,
        )
        try:
            for step, loss in training.run(self.steps):
                if self.progress is not None:
                    self.progress(what, step, self.steps, loss)
        except KeyboardInterrupt:
            self.interrupted = True
        return training.curves()

    def _result(self, trials: Sequence[Trial], met: Floats | None = None) -> ClipResult:
        names = self.first.names
        result = ClipResult(
            records=tuple(policy_row(trial, self.chance) for trial in trials),
            meta=self._meta(),
            facts=Facts(interrupted=self.interrupted),
            layers=tuple(row for t in trials for row in layer_rows(t, names)),
            history=tuple(row for t in trials for row in step_rows(t)),
            flow=self.first.flow,
            norms=histogram(met) if met is not None else (),
            distribution=distribution(met) if met is not None else (),
            threshold=self.config.threshold,
            task=self.config.task or "mlp",
            steps=self.steps,
            chance=self.chance,
        )
        if met is not None:
            best = best_of(result.records)
            result = replace(result, suggested=best.threshold if best is not None else None)
        return judged(result, checks.CHECKS)

    def _meta(self) -> RunMeta:
        return RunMeta(
            torch=torch.__version__,
            device=str(select(self.network.device)),
            dtype=self.network.dtype,
            seeds=tuple(seeds_of(self.network)),
            threads=torch.get_num_threads(),
            config=plain({**vars(self.network), **vars(self.config)}),
        )
