"""What scoring a table would send and cost, before it sends anything."""

from __future__ import annotations

from pathlib import Path

from luthier.engine.engine import Engine
from luthier.errors import DataError
from luthier.packaging.model import LuthierModel
from luthier.plans import MOST_RENDERED, Plan, PlannedSpec, plan_rows
from luthier.scoring.batch import CHUNK_ROWS, check_files, plain_rows
from luthier.tables import Record, read_chunks
from luthier.tasks.task import check_cell

__all__ = ["plan_table"]


def plan_table(
    model: LuthierModel,
    source: str | Path,
    target: str | Path,
    engine: Engine,
    *,
    retry_failed: bool = False,
    overwrite: bool = False,
) -> Plan:
    """What `score_table` would send, judged by rows evenly spaced in the table.

    Raises:
        DataError: as `score_table` does, for faults that can be seen beforehand.
    """
    check_files(model, source, target, overwrite=overwrite)
    spec = model.fitted.spec
    if spec.endpoint is None:
        return Plan((PlannedSpec(spec.name, 0),))
    total, shown = spaced_records(source, MOST_RENDERED, spec.task.text)
    if total == 0:
        raise DataError(f"{source} has no rows.")
    rows = plain_rows(shown, spec)
    return Plan(
        (plan_rows(spec, rows, None, engine, total_rows=total, retry_failed=retry_failed, fitted=model.fitted),)
    )


def spaced_records(source: str | Path, least: int, text: str) -> tuple[int, list[Record]]:
    """Rows of a table, and evenly spaced records of it, in one pass: all of a short one, else `least` to twice that.

    From the whole table: after an interruption its first rows are the answered ones.
    """
    total, step = 0, 1
    kept: list[Record] = []
    for chunk in read_chunks(source, CHUNK_ROWS):
        for record in chunk:
            check_cell(record.get(text), text, f"{source}, row {total + 1}")
            if total % step == 0:
                kept.append(record)
            total += 1
        if len(kept) > 2 * least:
            kept, step = kept[::2], step * 2
    return total, kept
