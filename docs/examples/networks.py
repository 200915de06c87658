"""The model that docs/examples/gradient-flow.yml looks after, and one that it would refuse."""

from torch import nn


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
