"""Draw docs/images/recurrent.png: the gradient per time step of an RNN, an LSTM and a GRU.

    python scripts/make_recurrent.py docs/images/recurrent.png

200 steps of 64 units, Gaussian inputs of 8 numbers per step, the median of four networks.
"""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.axes import Axes

from gradflow import NetworkConfig, diagnose
from gradflow.report.figures import log_axes, page
from gradflow.report.figures.line_labels import end_of, label_ends
from gradflow.report.style import BLACK, BLUE, DASHED, GREEN, VERMILLION, style
from gradflow.results.diagnosis import DiagnosisResult

STEPS, RADII = 200, {0.5: BLUE, 1.0: GREEN, 1.5: VERMILLION}
NAMES = {"rnn": "RNN (tanh)", "lstm": "LSTM", "gru": "GRU"}


def measured(arch: str, radius: float) -> DiagnosisResult:
    """Return the diagnosis of four networks at once."""
    return diagnose(
        NetworkConfig(
            arch=arch,
            depth=STEPS,
            width=64,
            batch_size=32,
            spectral_radius=radius,
            seeds=4,
            device="cpu",
        )
    )


def panel(axes: Axes, arch: str) -> list[object]:
    """Draw one architecture; print what the figure shows."""
    ends: list[object] = []
    for radius, tint in RADII.items():
        result = measured(arch, radius)
        rows = result.records[:-1]
        x, y = page.values(rows, "index"), page.values(rows, "delta_log10_rms")
        axes.plot(x, y, color=tint)
        ends += end_of(f"ρ = {radius:g}", x[::-1], y[::-1], tint)
        theory = page.values(rows, "predicted_delta_log10_rms")
        axes.plot(x, theory, color=BLACK, linestyle=DASHED, linewidth=0.9)
        predicted = f"{result.predicted_rate:.4f}" if result.predicted_rate else "     –"
        bound = f"{result.rate_bound:.3f}" if result.rate_bound else "    –"
        print(
            f"{arch:4} ρ {radius:.1f}: factor per step {result.rate:.4f}, theory {predicted}, "
            f"Pascanu's bound {bound}, log₁₀ δ at step 1: {y[0]:7.2f}"
        )
    axes.set_ylabel(NAMES[arch])
    axes.set_xlim(STEPS, 1)
    low, high = axes.get_ylim()
    log_axes.decades(axes.yaxis, low, high)
    return ends


def main(path: str) -> None:
    """Write the figure."""
    with style():
        fig = page.blank(
            "The gradient vanishes through every plain recurrent cell with ρ ≤ 1 "
            "and grows slowly at ρ = 1.5",
            6.6,
        )
        panels = fig.subplots(3, 1, sharex=True)
        labels = [(axes, panel(axes, arch)) for axes, arch in zip(panels, NAMES, strict=True)]
        page.caption(
            panels[0],
            "rms of ∂C/∂h at every time step, C the loss of the last one; "
            "dashed: mean-field theory of the tanh RNN",
        )
        panels[-1].set_xlabel(
            "time step: the gradient starts at the last one and flows to the right"
        )
        label_ends(fig, labels)
        fig.savefig(path)
    assert np.isfinite(panels[0].get_ylim()).all()


if __name__ == "__main__":
    main(sys.argv[1])
