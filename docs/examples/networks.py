"""The model that docs/examples/gradient-flow.yml looks after, and one that it would refuse."""

import torch
from torch import Tensor, nn


def network(activation: type[nn.Module], depth: int = 12, width: int = 64) -> nn.Sequential:
    """Return a fully connected classifier of `depth` hidden layers."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def healthy() -> nn.Module:
    """He initialisation and ReLU: every layer passes the gradient on."""
    return network(nn.ReLU)


def vanishing() -> nn.Module:
    """The same with sigmoids: each layer back keeps a third of the gradient."""
    return network(nn.Sigmoid)


class LongNames(nn.Module):
    """Blocks whose layers have long names, of which some do another thing than others."""

    def __init__(self, blocks: int = 8, width: int = 32) -> None:
        super().__init__()
        parts = {"query_key_value_projection": width, "feed_forward_output_projection": width}
        self.encoder_with_a_long_name = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(width, size) for name, size in parts.items()})
            for _ in range(blocks)
        )
        self.classification_head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of ten classes."""
        for block in self.encoder_with_a_long_name:
            for layer in block.values():
                x = torch.tanh(layer(x))
        scores: Tensor = self.classification_head(x)
        return scores
