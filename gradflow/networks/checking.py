"""What an architecture cannot have is refused here, before anything is built. Needs no torch."""

from __future__ import annotations

from gradflow.activations import activation
from gradflow.configs.architectures import names_with
from gradflow.configs.choices import NORM_POSITIONS, NORMS
from gradflow.configs.network import NetworkConfig
from gradflow.configs.registries import listed
from gradflow.errors import GradflowError, unknown_name
from gradflow.networks.initialization import initializer


def check_network(config: NetworkConfig) -> None:
    """Refuse names that are unknown, and what the architecture cannot have.

    Raises
    ------
    GradflowError
        Which says what, and what there is.
    """
    architecture = config.architecture
    if config.norm not in NORMS:
        raise unknown_name("normalisation", config.norm, NORMS)
    if config.spectral_radius is not None and not architecture.recurrent:
        raise GradflowError(
            f"--spectral-radius is of a recurrent matrix, and --arch {config.arch} has none",
            f"--arch {listed(names_with('recurrent', True))}",
        )
    for name, refused in (
        ("--residual", config.residual and architecture.residual == "none"),
        ("--norm", config.norm != "none" and not architecture.takes_norm),
    ):
        if refused:
            raise GradflowError(f"{name} does not apply to --arch {config.arch}", "drop it")
    if config.norm_position not in NORM_POSITIONS:
        raise unknown_name("position of the normalisation", config.norm_position, NORM_POSITIONS)
    activation(config.act, alpha=config.alpha)
    initializer(config.init)
