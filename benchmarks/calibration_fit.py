"""How well the verdict at initialisation tells what will learn: thresholds, AUC, ROC curve.

Reads what calibration_train.py wrote, diagnoses every network anew at its initialisation, chooses
the threshold in decades on the first half, and judges it on the second. Beside it, the plain rule
of today's tools: a threshold on the smallest weight gradient.

    python benchmarks/calibration_fit.py
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import rankdata

from gradflow import NetworkConfig, diagnose
from gradflow.diagnosis.checks.decades import decades
from gradflow.findings.words import lost_decades
from gradflow.report.style import PALETTE, style

HERE = Path(__file__).parent
LEARNED = 0.5  # test accuracy after 400 steps: chance is 0.1, most that learn pass 0.85
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def measured(path: Path, bar: float) -> list[dict[str, Any]]:
    """Return, for each trained network, whether it learned and what its initialisation says."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        result = diagnose(NetworkConfig(**record["config"]))
        gradients = [row.gradient_log10_norm for row in result.records]
        known = [g for g in gradients if g is not None and not math.isnan(g)]
        gradient = lost_decades(result.rate, result.hidden)
        rows.append(
            {
                "learned": max(record["accuracies"]) > bar,
                "accuracy": max(record["accuracies"]),
                "decades": min(decades(result), 1e3),
                "rate_alone": 1e3 if gradient is None else abs(gradient),
                "smallest_gradient": -max(min(known, default=-1e3), -1e3),
                "verdict": result.verdict,
            }
        )
    return rows


def auc(score: Floats, learned: Bools) -> float:
    """Area under the ROC curve of "a low score learns" (Mann-Whitney)."""
    ranks = rankdata(-score)
    positive, negative = int(learned.sum()), int((~learned).sum())
    return float((ranks[learned].sum() - positive * (positive + 1) / 2) / (positive * negative))


def balanced(score: Floats, learned: Bools, threshold: float) -> float:
    """Mean of the shares judged rightly among those that learn and those that do not."""
    said = score < threshold
    return float((said[learned].mean() + (~said[~learned]).mean()) / 2)


def best_threshold(score: Floats, learned: Bools) -> float:
    """The middle of the widest gap between scores among the thresholds that judge best."""
    points = np.unique(score)
    candidates = (points[1:] + points[:-1]) / 2
    accuracy = np.array([balanced(score, learned, t) for t in candidates])
    best = np.flatnonzero(accuracy >= accuracy.max() - 1e-12)
    gaps = (points[1:] - points[:-1])[best]
    return float(candidates[best[np.argmax(gaps)]])


def picture(halves: dict[str, tuple[Floats, Bools]], path: Path) -> None:
    """Draw the ROC curves of the second half."""
    with style():
        figure = Figure(figsize=(4.6, 4.2), layout="constrained")
        axes = figure.subplots()
        for colour, (name, (score, learned)) in zip(PALETTE, halves.items(), strict=False):
            order = np.argsort(score, kind="stable")
            true = np.cumsum(learned[order]) / learned.sum()
            false = np.cumsum(~learned[order]) / (~learned).sum()
            label = f"{name}: AUC {auc(score, learned):.3f}"
            axes.step(np.r_[0, false], np.r_[0, true], where="post", label=label, color=colour)
        axes.set(xlabel="does not learn, but passed", ylabel="learns, and passed")
        axes.set_title("What the initialisation says of learning", loc="left")
        axes.legend(frameon=False, loc="lower right")
        figure.savefig(path)


def main() -> None:
    """Fit on the first half, judge on the second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=HERE / "results")
    parser.add_argument("--figure", type=Path, default=HERE.parent / "docs/images/calibration.png")
    parser.add_argument("--learned", type=float, default=LEARNED, help="test accuracy")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files = [arguments.folder / f"calibration-{n}.jsonl" for n in (1, 2)]
    halves = [measured(file, arguments.learned) for file in files]
    learned = [np.array([row["learned"] for row in half]) for half in halves]
    print(
        f"{len(learned[0])} + {len(learned[1])} networks, "
        f"{learned[0].sum()} + {learned[1].sum()} learn"
    )
    print(f"{'score':<20} threshold  AUC half 1  half 2  balanced half 1  half 2")
    curves = {}
    for name in ("decades", "rate_alone", "smallest_gradient"):
        one, two = (np.array([row[name] for row in half]) for half in halves)
        t = best_threshold(one, learned[0])
        print(
            f"{name:<20} {t:9.3f}  {auc(one, learned[0]):10.3f}  {auc(two, learned[1]):6.3f}"
            f"  {balanced(one, learned[0], t):15.3f}  {balanced(two, learned[1], t):6.3f}"
        )
        curves[name.replace("_", " ")] = (two, learned[1])
    for where, rows in zip(
        ("half 1", "half 2", "both"), [*halves, [*halves[0], *halves[1]]], strict=True
    ):
        healthy = np.array([row["verdict"] == "healthy" for row in rows])
        truth = np.array([row["learned"] for row in rows])
        accuracy = (healthy[truth].mean() + (~healthy[~truth]).mean()) / 2
        print(
            f"verdict 'healthy' as it stands, {where}: balanced accuracy {accuracy:.3f} (wrongly "
            f"sick {(~healthy[truth]).sum()} of {truth.sum()}, missed {healthy[~truth].sum()} of "
            f"{(~truth).sum()})"
        )
    picture(curves, arguments.figure)


if __name__ == "__main__":
    main()
