"""What scoring a table would send and cost, before it sends anything."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from luthier.endpoints import Engine
from luthier.errors import DataError
from luthier.experiments.costs import MOST_RENDERED, Plan, plan_rows
from luthier.packaging.model import LuthierModel
from luthier.scoring.batch import CHUNK_ROWS, check_files, plain_rows
from luthier.tables import count_rows, read_chunks

__all__ = ["plan_table"]


def plan_table(model: LuthierModel, source: str | Path, target: str | Path, engine: Engine) -> Plan:
    """What `score_table` would send, judged by rows evenly spaced in the table.

    Raises:
        DataError: as `score_table` does, for faults that can be seen beforehand.
    """
    check_files(model, source, target)
    total = count_rows(source)
    if total == 0:
        raise DataError(f"{source} has no rows.")
    # From the whole table: after an interruption its first rows are the answered ones.
    step = -(-total // MOST_RENDERED)
    records = (record for chunk in read_chunks(source, CHUNK_ROWS) for record in chunk)
    rows = plain_rows(list(islice(records, 0, None, step)), model.fitted.spec)
    return Plan((plan_rows(model.fitted.spec, rows, None, engine, total_rows=total, fitted=model.fitted),))
