"""Facts of one batch: inputs, targets, output, criterion, loss and graph."""

from gradflow.measurement.batch.criteria import CriterionCall, criteria_heard
from gradflow.measurement.batch.facts import batch_facts
from gradflow.measurement.batch.look import BatchLook
from gradflow.measurement.batch.refused import refused_facts
from gradflow.measurement.batch.seen import SeenBatch
from gradflow.measurement.batch.updates import gradient_facts, with_optimizer

__all__ = [
    "BatchLook",
    "CriterionCall",
    "SeenBatch",
    "batch_facts",
    "criteria_heard",
    "gradient_facts",
    "refused_facts",
    "with_optimizer",
]
