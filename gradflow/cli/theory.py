"""`gradflow theory`."""

from __future__ import annotations

import dataclasses

from gradflow.cli.arguments import ActivationName
from gradflow.cli.charted import ChartedOutput
from gradflow.configs.theory import TheoryConfig


def theory(act: ActivationName, config: TheoryConfig, output: ChartedOutput) -> None:
    """Say what mean-field theory predicts: length map, χ, depth scale, edge of chaos."""
    from gradflow.theories.meanfield import theory as predict

    output.emit(predict(dataclasses.replace(config, activation=act)))
