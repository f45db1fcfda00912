"""A packaged model as a function for Spark's `mapInPandas` and `mapInArrow`: what runs inside a task.

Each task asks asynchronously, with its share of the endpoint's limits, and keeps its answers in a journal on the
worker's own disk, so that a task that Spark runs again pays for little twice.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.engine.engine import Engine
from luthier.engine.loop import in_background
from luthier.engine.options import RunOptions
from luthier.errors import DataError, UserError
from luthier.journal.journal import Journal
from luthier.scoring.batch import CHUNKS_AHEAD, plain_rows
from luthier.spec import Fitted
from luthier.tables import Record, free_names
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Task
from luthier.techniques import read_fitted

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["CALL_COLUMNS", "SparkScorer"]

SLICE_ROWS = 1_000

CALL_COLUMNS: dict[str, str] = {
    "luthier_input_tokens": "long",
    "luthier_output_tokens": "long",
    "luthier_cost_usd": "double",
    "luthier_spent_usd": "double",
    "luthier_latency_seconds": "double",
    "luthier_from_journal": "boolean",
    "luthier_transient": "boolean",
    "luthier_estimated": "boolean",
}
"""What the calls for a row took, and the Spark type of each column; written between the shards only."""


class SparkScorer:
    """Maps the batches of a Spark task to the same rows with the prediction columns behind their own.

    Attributes:
        names: the columns of the table under the names they have in the output.
        tasks: tasks that run at once.
    """

    def __init__(self, fitted: Fitted, columns: Any, *, tasks: int = 1, with_calls: bool = False) -> None:
        spec = fitted.spec
        fields = getattr(columns, "fields", None)
        given = list(getattr(columns, "names", columns))
        spec.check_columns(given, "the table")
        for field in fields or ():
            is_text = field.name in spec.task.text_columns
            if is_text and field.dataType.typeName() not in ("string", "varchar", "char", "void"):
                raise DataError(
                    f"the text column {field.name!r} is of type {field.dataType.simpleString()}; cast it to string: "
                    f"rows.withColumn({field.name!r}, rows[{field.name!r}].cast('string'))."
                )
        self.names = free_names(given, [*spec.task.kind.columns, *(CALL_COLUMNS if with_calls else ())])
        self.tasks = tasks
        self._schema = columns if fields is not None else None
        self._kinds = dict(spec.task.kind.columns)
        self._with_calls = with_calls
        self._packed = _packed(fitted)
        self._digest = fitted.digest

    @property
    def schema(self) -> Any:
        """Spark's schema of the output, for `mapInPandas(scorer, scorer.schema)`.

        Raises:
            UserError: it was made from names alone, so that the types of the table are not known.
        """
        if self._schema is None:
            raise UserError("the types of the columns are not known: make the scorer from the schema (rows.schema).")
        from pyspark.sql.types import StructType

        out = StructType()
        for field in self._schema.fields:
            out = out.add(self.names[field.name], field.dataType, True)
        for name, kind in self._kinds.items():
            out = out.add(name, "string" if kind == "text" else "double", True)
        for name, of in CALL_COLUMNS.items() if self._with_calls else ():
            out = out.add(name, of, True)
        return out

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches of a task with their predictions; DataFrames or Arrow batches, as they come."""
        fitted, engine = _fitted_here(self._digest, self._packed), _engine_here(self.tasks)
        spec = fitted.spec
        for endpoint in spec.all_endpoints:
            endpoint.key()
        waiting: deque[tuple[Any, Future[list[Prediction]]]] = deque()
        try:
            for batch in _slices(batches):
                rows = plain_rows(_records(batch, spec.columns), spec)
                asking = engine.adrive(fitted.predict(rows), spec.endpoint, RunOptions())
                waiting.append((batch, in_background(asking)))
                if len(waiting) > CHUNKS_AHEAD:
                    yield self._joined(*waiting.popleft(), spec.task)
            while waiting:
                yield self._joined(*waiting.popleft(), spec.task)
        finally:
            for _, asking_still in waiting:
                asking_still.cancel()

    def _joined(self, batch: Any, asking: Future[list[Prediction]], task: Task) -> Any:
        found = [self._record(prediction, task) for prediction in asking.result()]
        if hasattr(batch, "num_rows"):
            return self._arrow(batch, found)
        return self._pandas(batch, found)

    def _record(self, prediction: Prediction, task: Task) -> Record:
        record: Record = task.kind.record(prediction)
        if self._with_calls:
            call = prediction.call
            values = (
                *(call.input_tokens, call.output_tokens, call.cost_usd, call.spent_usd, call.latency_seconds),
                *(call.from_journal, call.transient, call.cost_estimated),
            )
            record |= dict(zip(CALL_COLUMNS, values, strict=True))
        return record

    def _arrow(self, batch: pa.RecordBatch, found: Sequence[Record]) -> pa.RecordBatch:
        import pyarrow as pa

        types: dict[str, Any] = {
            name: pa.string() if kind == "text" else pa.float64() for name, kind in self._kinds.items()
        }
        if self._with_calls:
            of = {"long": pa.int64(), "double": pa.float64(), "boolean": pa.bool_()}
            types |= {name: of[kind] for name, kind in CALL_COLUMNS.items()}
        arrays = [*batch.columns, *(pa.array([row[name] for row in found], of) for name, of in types.items())]
        return pa.RecordBatch.from_arrays(arrays, names=[*(self.names[name] for name in batch.schema.names), *types])

    def _pandas(self, frame: pd.DataFrame, found: Sequence[Record]) -> pd.DataFrame:
        import pandas as pd

        out = frame.rename(columns=self.names)
        for name, kind in self._kinds.items():
            values = [row[name] for row in found]
            dtype = object if kind == "text" else "float64"
            out[name] = pd.Series(values, index=frame.index, dtype=dtype)
        for name in CALL_COLUMNS if self._with_calls else ():
            out[name] = pd.Series([row[name] for row in found], index=frame.index, dtype=object)
        return out


def _slices(batches: Iterable[Any]) -> Iterator[Any]:
    """Batches in pieces that are answered in seconds: the next rows are asked before all of one are answered."""
    for batch in batches:
        rows = len(batch) if not hasattr(batch, "num_rows") else batch.num_rows
        for begin in range(0, rows, SLICE_ROWS):
            if hasattr(batch, "num_rows"):
                yield batch.slice(begin, SLICE_ROWS)
            else:
                yield batch.iloc[begin : begin + SLICE_ROWS]


def _records(batch: Any, columns: Sequence[str]) -> list[Record]:
    if hasattr(batch, "num_rows"):
        return batch.select(list(columns)).to_pylist()  # type: ignore[no-any-return]
    frame = batch[list(columns)].astype(object)
    return frame.where(frame.notna(), None).to_dict("records")  # type: ignore[no-any-return]


def _packed(fitted: Fitted) -> bytes:
    """The fitted folder as one piece, as it travels to the tasks."""
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        saved = fitted.save(Path(folder) / "fitted")
        for file in sorted(saved.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(saved).as_posix())
    return packed.getvalue()


# Spark keeps a worker's process for its next tasks: what is made once serves them all.
_fitted: dict[str, Fitted] = {}
_engines: dict[int, Engine] = {}


def _fitted_here(digest: str, packed: bytes) -> Fitted:
    if digest not in _fitted:
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(io.BytesIO(packed)) as archive:
                archive.extractall(folder)
            _fitted[digest] = read_fitted(folder)
    return _fitted[digest]


def _engine_here(tasks: int) -> Engine:
    if tasks not in _engines:
        _engines[tasks] = Engine(Journal.from_environment("disk"), limits_share=1.0 / tasks)
    return _engines[tasks]
