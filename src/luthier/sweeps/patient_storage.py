"""Optuna's storage, which waits for a database that is away, also where samplers, pruners and users call it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from optuna.storages import BaseStorage, RDBStorage

__all__ = ["PatientStorage"]

_log = logging.getLogger("optuna.storages._rdb.storage")
# A line about each new study says nothing to a person who is shown a table of them.
_log.setLevel(logging.WARNING)
# Where a database goes away within a query Optuna asks another one and writes the whole of the first into the log; that
# the database is away is said in a line of our own.
_log.addFilter(lambda record: "Falling back to a slower alternative" not in record.getMessage())
logging.getLogger("optuna.study.study").setLevel(logging.WARNING)


class PatientStorage(RDBStorage):
    """Optuna's tables in a database.

    Args:
        url: without a password, because Optuna keeps it and shows it.
        engine_options: keywords of its engine, a password among them; not kept.
        patiently: does what may be done twice again while the database is away.
    """

    def __init__(
        self, url: str, engine_options: dict[str, Any], patiently: Callable[[Callable[[], Any]], Any] | None = None
    ) -> None:
        self._patiently: Callable[[Callable[[], Any]], Any] = lambda act: act()
        super().__init__(url, engine_kwargs=dict(engine_options))
        self.engine_kwargs = {}
        if patiently is not None:
            self._patiently = patiently


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: PatientStorage, *args: Any, **named: Any) -> Any:
        return self._patiently(lambda: method(self, *args, **named))

    return call


# What Optuna asks of every storage, and what its cache asks of this one; each is one transaction.
for _name in (
    *BaseStorage.__abstractmethods__,
    *("_create_new_trial", "_set_trial_param", "_get_trials", "_get_best_trial_id"),
):
    setattr(PatientStorage, _name, _patient(getattr(RDBStorage, _name)))
