"""What the article states, tried: `python docs/examples/article.py WHAT` prints one table."""

import math
import statistics
import sys
import time

import torch

import gradflow
from gradflow import NetworkConfig, TheoryConfig

SIX = ("sigmoid", "relu", "elu", "leaky-relu", "selu", "gelu")


def derivatives() -> None:
    """Print the formulas of the article's six derivatives."""
    for row in gradflow.catalogue().records:
        if row.name in SIX:
            print(f"{row.name:<11} {row.derivative}")


def gelu() -> None:
    """Print GELU's derivative, and WolframAlpha's, which has coefficients of six digits."""
    ours = gradflow.activation("gelu").derivative
    for x in (-3.0, -1.0, 0.0, 1.0, 3.0):
        t = math.tanh(0.0356774 * x**3 + 0.797885 * x)
        theirs = 0.5 * t + (0.0535161 * x**3 + 0.398942 * x) * (1 - t * t) + 0.5
        print(f"x = {x:+.0f}   ours {float(ours(x)):+.12f}   WolframAlpha {theirs:+.12f}")


def alphas() -> None:
    """Print the variance of the weights at which ELU passes gradients on, for a range of α."""
    for alpha in (0.01, 0.1, 0.2, 0.5, 1.0, 2.0):
        found = gradflow.theory(TheoryConfig("elu", alpha=alpha, depth=2))
        slope = float(gradflow.activation("elu", alpha=alpha).derivative(0.0))
        critical = found.critical_weight_variance
        print(f"α = {alpha:<5g} slope left of 0: {slope:<5g} critical σ_w² = {critical:.4f}")


def constants() -> None:
    """Print SELU's constants: λ is f(1), and λα the slope just left of 0."""
    selu = gradflow.activation("selu")
    scale, left = float(selu(1.0)), float(selu.derivative(0.0))
    print(f"λ = {scale!r}   λα = {left!r}   α = {left / scale!r}")


def weights() -> None:
    """Print the gradient of eleven neurons of slope 1, by the weight between them."""
    for weight in (0.5, 0.9, 1.0, 1.1, 2.0):
        gradient = gradflow.chain([weight] * 10, [1.0] * 11).gradient
        print(f"w = {weight:<4g} ∂C/∂b₁ = {gradient:.6g}")


def difference() -> None:
    """Move b₁ of four sigmoid neurons a little, and print by how much the cost moves."""
    links, biases = (0.9, 1.2, -0.8, 1.1), (0.1, -0.2, 0.3, 0.05)
    sigmoid = gradflow.activation("sigmoid")

    def forward(first: float) -> tuple[list[float], float]:
        a, seen = 1.0, []
        for weight, bias in zip(links, (first, *biases[1:]), strict=True):
            seen.append(weight * a + bias)
            a = float(sigmoid(seen[-1]))
        return seen, a

    z, last = forward(biases[0])
    slopes = [float(sigmoid.derivative(value)) for value in z]
    exact = gradflow.chain(links[1:], slopes, cost_slope=last).gradient
    print(f"C = ½a₄², by the chain rule:  ∂C/∂b₁ = {exact:.10f}")
    for step in (1.0, 1e-2, 1e-4):
        moved = (forward(biases[0] + step)[1] ** 2 - last**2) / 2
        print(f"Δb₁ = {step:<6g} ΔC = {moved:+.6e}   ΔC/Δb₁ = {moved / step:.10f}")


def selu() -> None:
    """Print what becomes of SELU's gradient over 200 layers, by the variance of the weights."""
    for variance in (0.25, 1.0, 4.0):
        found = gradflow.theory(TheoryConfig("selu", weight_variance=variance, depth=200))
        lost, chi = found.records[0].gradient_log10, found.chi_fixed_point
        print(f"σ_w² = {variance:<4g} χ = {chi:.4f}   δ at layer 1 over layer 200: 10^{lost:.2f}")


def sparsity() -> None:
    """Print how many entries are 0 behind a ReLU, layer by layer."""
    config = NetworkConfig(act="relu", init="he-normal", depth=4, width=256)
    for row in gradflow.diagnose(config).layers[:-1]:
        print(f"{row.name}: {row.zero_fraction:.0%} zeros, {row.dead_fraction:.0%} of units dead")


def price() -> None:
    """Print a dense layer's time on inputs that are half zeros, over that on others."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    layer, full = torch.nn.Linear(1024, 1024), torch.randn(256, 1024)

    def seconds(x: torch.Tensor) -> float:
        start = time.perf_counter()
        layer(x)
        return time.perf_counter() - start

    with torch.no_grad():
        sparse = full.relu()
        ratios = [seconds(sparse) / seconds(full) for _ in range(60)][10:]
    zeros = float((sparse == 0).float().mean())
    print(f"zeros: {zeros:.0%}; time over that without zeros: {statistics.median(ratios):.2f}")


TABLES = {
    made.__name__: made
    for made in (derivatives, gelu, alphas, constants, weights, difference, selu, sparsity, price)
}

if __name__ == "__main__":
    TABLES[sys.argv[1]]()
