"""A callback for Hugging Face's `Trainer`: ``Trainer(…, callbacks=[TransformersWatch()])``."""

from __future__ import annotations

from typing import Any

from gradflow.integrations.session import Watching, missing

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise missing("transformers", error) from None

__all__ = ["TransformersWatch"]


class TransformersWatch(Watching, TrainerCallback):
    """Watches what a Hugging Face trainer trains; afterwards ``callback.result``.

    Parameters are those of `gradflow.integrations.session.Watching`.

    Examples
    --------
    >>> callback = TransformersWatch(fail_on="exploding")  # doctest: +SKIP
    >>> Trainer(model, arguments, callbacks=[callback], …).train()  # doctest: +SKIP
    >>> callback.result.save("run.html")  # doctest: +SKIP
    """

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Begin to watch."""
        self.session.begin(model)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End the training where a finding of `fail_on` is made."""
        if self.session.wrong() is not None:
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep what was seen."""
        self.session.end()
