"""`gradflow lr`."""

from __future__ import annotations

import typer

from gradflow.cli.diagnose import (
    InputIds,
    InputShape,
    Model,
    Vocab,
    rate_in_use,
    refuse_stray_inputs,
)
from gradflow.cli.fail_on import FailOn, parse_fail_on
from gradflow.cli.output import Output
from gradflow.configs.learning_rate import LearningRateConfig
from gradflow.configs.network import NetworkConfig


def lr(
    context: typer.Context,
    config: LearningRateConfig,
    network: NetworkConfig,
    output: Output,
    model: Model = None,
    input_shape: InputShape = None,
    input_ids: InputIds = None,
    vocab: Vocab = None,
    fail_on: FailOn = "",
) -> None:
    """Find a learning rate: train copies for a few steps, each at a larger rate than the last.

    With --lr, that rate is judged as well.
    """
    from gradflow.cli.progress import counting, working

    codes = parse_fail_on(fail_on)
    refuse_stray_inputs(model, input_shape, input_ids, vocab)
    in_use = rate_in_use(context, network)
    with working("loading torch"):
        from gradflow.diagnosis.model_files import Given
        from gradflow.learning_rates.run import learning_rate_of_file, of_config
    with counting("training") as progress:
        if model is None:
            result = of_config(network, config, in_use, progress)
        else:
            given = Given(input_shape, input_ids, vocab)
            result = learning_rate_of_file(model, network, config, given, in_use, progress)
    output.emit(result, codes)
