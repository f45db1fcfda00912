"""What a callback is built on."""

from __future__ import annotations

from typing import Any


class TrainerCallback:
    """Hears of every event; does nothing by itself."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Training begins."""

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """A step is done."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        """Figures are there."""

    def on_evaluate(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """The validation rows were measured."""
