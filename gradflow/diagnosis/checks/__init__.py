"""The checks of a diagnosis, a module for every subject. Standard library only."""

from __future__ import annotations

from gradflow.diagnosis.checks.coverage import (
    compiled,
    lazy,
    repeated,
    shared,
    uncovered,
    unreached,
)
from gradflow.diagnosis.checks.first_rate import far_rate
from gradflow.diagnosis.checks.gradient import exploding, vanishing, weak_head
from gradflow.diagnosis.checks.loss import first_loss
from gradflow.diagnosis.checks.margins import near_threshold
from gradflow.diagnosis.checks.parts import attention, gates, same_tokens, time_steps
from gradflow.diagnosis.checks.precision import (
    broken,
    not_compared,
    not_widened,
    underflow,
    widened,
)
from gradflow.diagnosis.checks.signal import collapsing, lost_together, same_outputs
from gradflow.diagnosis.checks.theory import bounded, noisy, self_normalising
from gradflow.diagnosis.checks.units import dead, saturated_output
from gradflow.diagnosis.checks.zeros import no_gradient, one_example, unjudged
from gradflow.findings.batch_checks import BATCH_CHECKS
from gradflow.findings.check import Check
from gradflow.results.diagnosis import DiagnosisResult

#: In the order in which they decide the verdict; a new check is one entry.
CHECKS: tuple[Check[DiagnosisResult], ...] = (
    broken,
    *BATCH_CHECKS,
    no_gradient,
    dead,
    vanishing,
    exploding,
    time_steps,
    saturated_output,
    attention,
    collapsing,
    same_outputs,
    lost_together,
    first_loss,
    same_tokens,
    weak_head,
    gates,
    unjudged,
    one_example,
    self_normalising,
    bounded,
    underflow,
    compiled,
    lazy,
    unreached,
    shared,
    repeated,
    uncovered,
    widened,
    not_widened,
    not_compared,
    noisy,
    near_threshold,
)
#: Of what is healthy: no rate mends a network that is not.
RATE_CHECKS: tuple[Check[DiagnosisResult], ...] = (far_rate,)
