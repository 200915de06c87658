"""Where a training step's time goes, and what `benchmark.networks.fast_layers` save of it.

One thread, batches of 128, as in a worker of the benchmark. `--ops` prints the operators of a
step; without it, whole steps with gradflow's layers and with torch's take turns, and so do the
variants of the expensive products that were tried and left.

    python benchmarks/step_cost.py
    python benchmarks/step_cost.py --ops relu --precision bf16
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from peers.machine import machine
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.profiler import ProfilerActivity, profile

from gradflow.activations import activation
from gradflow.benchmarking.networks import fast_layers as layers
from gradflow.benchmarking.networks.convnet import article_network
from gradflow.datasets.images import load
from gradflow.executors import processes
from gradflow.training.optimizers import optimizer
from gradflow.training.trainer import Examples, Trainer

BATCH = 128


class Unpool(torch.autograd.Function):
    """Max-pooling whose backward pass is an unpooling; tried, because that alone is faster."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return the pooled values."""
        pooled, indices = F.max_pool2d(x, 2, return_indices=True)
        ctx.save_for_backward(indices)
        ctx.size = x.shape[2:]
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Put each gradient where its value was."""
        return F.max_unpool2d(gradient, ctx.saved_tensors[0], [2, 2], output_size=ctx.size)


class UnpoolingPool(nn.Module):
    """`Unpool` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled values."""
        return Unpool.apply(x)


REPLACEMENTS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.MaxPool2d: lambda _: UnpoolingPool(),
    layers.TanhGELU: lambda _: nn.GELU(approximate="tanh"),
    layers.Dropout: lambda layer: nn.Dropout(layer.p),
    layers.AlphaDropout: lambda layer: nn.AlphaDropout(layer.p),
}


@functools.cache
def examples() -> Examples:
    """Return a hundred batches."""
    mnist, count = load(), 100 * BATCH
    return Examples.upload(
        mnist.train_images[:count], mnist.train_labels[:count], torch.device("cpu")
    )


def trainer(act: str, precision: str, *replaced: type[nn.Module]) -> Trainer:
    """Return a training run in which these kinds of layers are replaced."""
    torch.manual_seed(0)
    model = article_network(activation(act))
    for number, layer in enumerate(model):
        if type(layer) in replaced:
            model[number] = REPLACEMENTS[type(layer)](layer)
    clip = functools.partial(nn.utils.clip_grad_value_, clip_value=0.5)
    return Trainer(model.train(), optimizer("adam", model.parameters(), 1e-3), clip, precision)


def step(run: Trainer, number: int) -> None:
    """Take a step on a batch."""
    order = slice(number % 100 * BATCH, number % 100 * BATCH + BATCH)
    run.step(*examples().take(torch.arange(len(examples()))[order]))


def taking_turns(
    variants: dict[str, Callable[[int], object]], turns: int
) -> dict[str, list[float]]:
    """Return the milliseconds of each turn of each variant, after three to warm up."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(turns + 3):
        for name, variant in variants.items():
            start = time.perf_counter()
            variant(turn)
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: values[3:] for name, values in times.items()}


def show(title: str, times: dict[str, list[float]]) -> None:
    """Print a variant per line."""
    print(f"\n{title}: ms, median and quartiles")
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"  {name:<34}{middle:8.2f} ({low:.2f} to {high:.2f})")


def steps(turns: int) -> None:
    """Compare whole steps."""
    cases = [
        ("relu", "fp32"),
        ("gelu", "fp32"),
        ("selu", "fp32"),
        ("relu", "bf16"),
        ("gelu", "bf16"),
    ]
    for act, precision in cases:
        kinds: dict[str, tuple[type[nn.Module], ...]] = {"gradflow's layers": ()}
        kinds["torch's dropout"] = (layers.Dropout, layers.AlphaDropout)
        if act == "gelu":
            kinds["torch's GELU"] = (layers.TanhGELU,)
        kinds["max-pool with unpooling (tried)"] = (nn.MaxPool2d,)
        runs = {
            name: functools.partial(step, trainer(act, precision, *of))
            for name, of in kinds.items()
        }
        show(f"a step of {act} in {precision}", taking_turns(runs, turns))


def both_ways(function: Callable[..., Tensor], *leaves: Tensor) -> Callable[[int], None]:
    """Return what runs a function and its backward pass."""
    leaves = tuple(
        leaf.detach().clone(memory_format=torch.preserve_format).requires_grad_() for leaf in leaves
    )
    gradient = torch.randn_like(function(*leaves))

    def run(_: int) -> None:
        torch.autograd.grad(function(*leaves), leaves, gradient)

    return run


def products(turns: int) -> None:
    """Compare ways to compute the two expensive layers, forwards and backwards."""
    last = torch.channels_last
    for dtype in (torch.float32, torch.bfloat16):
        x, w, b = torch.randn(128, 32, 26, 26), torch.randn(64, 32, 3, 3), torch.randn(64)
        x, w, b = (t.to(dtype) for t in (x, w, b))
        variants = {
            "channels last": both_ways(
                F.conv2d, x.to(memory_format=last), w.to(memory_format=last), b
            ),
            "contiguous": both_ways(F.conv2d, x, w, b),
        }
        for parts in (2, 4):

            def pieces(x: Tensor, w: Tensor, b: Tensor, parts: int = parts) -> Tensor:
                return torch.cat([F.conv2d(part, w, b) for part in x.chunk(parts)])

            variants[f"channels last, in {parts} parts"] = both_ways(
                pieces, x.to(memory_format=last), w.to(memory_format=last), b
            )
        show(f"second convolution, {dtype}", taking_turns(variants, turns))
        x, w, b = torch.randn(128, 9216), torch.randn(128, 9216), torch.randn(128)
        x, w, b = (t.to(dtype) for t in (x, w, b))
        variants = {
            "linear": both_ways(F.linear, x, w, b),
            "weights transposed": both_ways(
                lambda x, w, b: torch.addmm(b, x, w), x, w.t().contiguous(), b
            ),
            "convolution of 1×1": both_ways(F.conv2d, x[..., None, None], w[..., None, None], b),
        }
        show(f"first dense layer, {dtype}", taking_turns(variants, turns))


def operators(act: str, precision: str) -> None:
    """Print the operators of a step by their own time."""
    run = trainer(act, precision)
    for number in range(8):
        step(run, number)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
        for number in range(10):
            step(run, number)
    events = profiled.key_averages(group_by_input_shape=True)
    events = sorted(events, key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events) / 1e4
    print(f"\na step of {act} in {precision}: {total:.1f} ms")
    for event in events[:18]:
        shapes = ", ".join("×".join(map(str, shape)) for shape in event.input_shapes[:2] if shape)
        print(f"  {event.self_cpu_time_total / 1e4:7.2f} ms  {event.key:<42} {shapes}")


def main() -> None:
    """Print the comparisons or the operators."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ops", nargs="+", metavar="ACT", help="print a step's operators instead")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="two turns")
    options = parser.parse_args()
    processes.keep_freed_memory()
    torch.set_num_threads(1)
    print(f"{machine()}; torch {torch.__version__}")
    for act in options.ops or ():
        operators(act, options.precision)
    if not options.ops:
        turns = 2 if options.quick else options.turns
        steps(turns)
        products(turns)


if __name__ == "__main__":
    main()
