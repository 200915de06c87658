"""The image classifiers that ``benchmark`` trains, by name. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Classifier:
    """How a network is built, and what it is usually dropped out with.

    Attributes
    ----------
    build
        Address of a function, (activation, (height, width), classes, dropout) -> network that
        takes images (N, 1, H, W) to logits.
    dropout
        Share of units dropped after the last but one, and after the last, hidden layer.
    summary
        In a few words, for help.
    check
        Address of a function that raises `GradflowError` for images that are too small.
    """

    build: str
    dropout: tuple[float, float]
    summary: str
    check: str | None = None


#: name -> classifier; ``deep-mlp`` is deep enough for gradients to vanish in. A new one is one
#: entry and its function; help and completion follow.
CLASSIFIERS: dict[str, Classifier] = {
    "cnn": Classifier(
        "gradflow.benchmarking.networks.convnet:article_network",
        (0.25, 0.5),
        "the article's",
        "gradflow.benchmarking.networks.convnet:check_size",
    ),
    "mlp": Classifier(
        "gradflow.benchmarking.networks.classifiers:mlp", (0.2, 0.2), "Keras' MNIST example"
    ),
    "deep-mlp": Classifier(
        "gradflow.benchmarking.networks.classifiers:deep_mlp", (0.0, 0.0), "ten hidden layers"
    ),
}
