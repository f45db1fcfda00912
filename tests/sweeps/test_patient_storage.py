"""What Optuna's storage writes into the log while a database is away."""

from __future__ import annotations

import logging
import logging.handlers
import queue

from luthier.sweeps.patient_storage import PatientStorage


def test_a_query_that_an_outage_ends_is_not_written_into_the_log() -> None:
    log = logging.getLogger(PatientStorage.__mro__[1].__module__)
    written: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(written)
    log.addHandler(handler)
    try:
        log.warning("Caught an error from sqlalchemy: SELECT secrets. Falling back to a slower alternative.")
        log.warning("something else")
    finally:
        log.removeHandler(handler)
    assert written.get_nowait().getMessage() == "something else"
    assert written.empty()
