"""What scoring a table would send and cost, before it sends anything."""

from __future__ import annotations

from pathlib import Path

from luthier.endpoints import Engine
from luthier.errors import DataError
from luthier.experiments.costs import MOST_RENDERED, Plan, plan_rows
from luthier.packaging.model import LuthierModel
from luthier.scoring.batch import check_files, plain_rows
from luthier.tables import read_chunks, table_format

__all__ = ["plan_table"]


def plan_table(model: LuthierModel, source: str | Path, target: str | Path, engine: Engine) -> Plan:
    """What `score_table` would send, judged by the first rows of the table.

    Raises:
        DataError: as `score_table` does, for faults that can be seen beforehand.
    """
    check_files(model, source, target)
    total = 0
    first = None
    for chunk in read_chunks(source, MOST_RENDERED):
        total += len(chunk)
        if first is None:
            first = plain_rows(chunk, model.fitted.spec)
            if table_format(source) == "parquet":
                import pyarrow.parquet as pq

                total = pq.ParquetFile(source).metadata.num_rows
                break
    if first is None:
        raise DataError(f"{source} has no rows.")
    return Plan((plan_rows(model.fitted.spec, first, None, engine, total_rows=total, fitted=model.fitted),))
