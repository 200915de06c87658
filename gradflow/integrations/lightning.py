"""A callback for Lightning: ``Trainer(callbacks=[LightningWatch()])``."""

from __future__ import annotations

from typing import Any

from gradflow.integrations.session import Watching, missing

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    try:
        from pytorch_lightning.callbacks import Callback
    except ImportError as error:
        raise missing("lightning", error) from None

__all__ = ["LightningWatch"]


class LightningWatch(Watching, Callback):
    """Watches what a Lightning trainer fits; afterwards ``callback.result`` says what was seen.

    Parameters are those of `gradflow.integrations.session.Watching`.

    Examples
    --------
    >>> callback = LightningWatch(fail_on="vanishing")  # doctest: +SKIP
    >>> Trainer(callbacks=[callback]).fit(model, loader)  # doctest: +SKIP
    >>> callback.result.verdict  # doctest: +SKIP
    'healthy'
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch."""
        self.session.begin(pl_module)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """End the training where a finding of `fail_on` is made, on every process or on none."""
        if not self.session.codes:
            return
        wrong = self.session.wrong() is not None
        if trainer.strategy.reduce_boolean_decision(wrong, all=False):
            trainer.should_stop = True

    def on_train_end(self, *_: Any) -> None:
        """Keep what was seen."""
        self.session.end()

    def on_exception(self, *_: Any) -> None:
        """Keep what was seen until then."""
        self.session.end()
