"""Two examples for each command, at the end of its help; a test parses them all."""

from __future__ import annotations

from collections.abc import Mapping

#: command -> what is typed after ``gradflow``, and what it does.
EXAMPLES: dict[str, dict[str, str]] = {
    "activations": {
        "activations": "formula, range and largest slope of each",
        "activations --time": "and what each costs on this machine",
    },
    "eval": {
        "eval sigmoid --at 10": "the slope of a saturated unit",
        "eval gelu --at -3:3:0.5 -o gelu.csv": "a table of values and slopes",
    },
    "plot": {
        "plot gelu": "writes gelu.png, and draws a chart in the terminal",
        "plot sigmoid tanh relu -o slopes.svg": "three activations in one figure",
    },
    "chain": {
        "chain --weights 100,100,100 --slopes 0.13,0.21,0.09,0.14": "an exploding product",
        "chain --weights 1,1 --act sigmoid --pre-activations 0,0,0": "a vanishing one",
    },
    "theory": {
        "theory tanh": "at the edge of chaos",
        "theory relu --weight-variance 1 --depth 20": "too small weights: gradients vanish",
    },
    "diagnose": {
        "diagnose --act sigmoid --depth 10": "gradients that vanish, and what helps",
        "diagnose --model model.py:build --input-shape 3,32,32": "a model of your own",
    },
    "watch": {
        "watch train.py --epochs 3": "runs `python train.py --epochs 3` and watches it",
        "watch --steps 100 --fail-on vanishing,dead train.py": "ends it after 100 steps, for CI",
    },
    "lr": {
        "lr train.py": "a learning rate for the model and optimizer of a program",
        "lr --act relu --depth 10 --optimizer sgd": "for a built-in network",
    },
    "sweep": {
        "sweep --act tanh --depths 10,20,40": "to which depth gradients get through",
        "sweep --weight-variances 0.5:3:0.5 -o sweep.png": "a map over weights and depths",
    },
    "width": {
        "width --act relu --depth 4": "does a learning rate carry over to other widths?",
        "width --model model.py:of_width --input-shape 32 --widths 16,32,64": "of your own",
    },
    "clip": {
        "clip --task adding": "clipping policies in training a recurrent network",
        "clip --suggest": "a threshold from the norms that training meets",
    },
    "benchmark": {
        "benchmark --quick": "the article's six activations on a part of MNIST",
        "benchmark --act relu,gelu --seeds 5 --output-dir runs/two": "a comparison, kept",
    },
    "explain": {
        "explain vanishing": "what it means, how it is measured, what to do",
        "explain --list": "every finding there is",
    },
}

#: What to try first: shown by ``gradflow`` alone.
FIRST: dict[str, str] = {
    "watch train.py": "my program does not learn: runs it, unchanged, and says why",
    "diagnose --act sigmoid": "a network whose gradients vanish, and what helps",
    "plot gelu": "an activation and its slope",
}


def show(title: str, examples: Mapping[str, str]) -> None:
    """Print examples, each beneath the other, to be copied."""
    from rich.padding import Padding
    from rich.text import Text

    from gradflow.report.console import stdout_console

    console = stdout_console()
    console.print(Text(f" {title}", style="bold"))
    for typed, does in examples.items():
        command, says = Text(f"gradflow {typed}", style="cyan"), Text(does, style="dim")
        console.print(Padding(command, (0, 0, 0, 3), expand=False))
        console.print(Padding(says, (0, 0, 0, 7), expand=False))
