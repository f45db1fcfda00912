"""Text columns whose nulls survive `mlflow.pyfunc.spark_udf`.

MLflow turns every column of the result that its signature calls a string into numpy strings, which makes the text
`None` of a null. A column of the array type below keeps its nulls there. It is used in a Spark task only.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["in_spark_task", "with_nulls_kept"]


def in_spark_task() -> bool:
    """Whether this process is a worker of Spark's that has a task."""
    pyspark = sys.modules.get("pyspark")
    return pyspark is not None and pyspark.TaskContext.get() is not None


def with_nulls_kept(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """The frame with these columns as text that a conversion to numpy strings leaves null where it is null."""
    import numpy as np
    import pandas as pd

    class Text(pd.arrays.StringArray):
        def astype(self, dtype: Any, copy: bool = True) -> Any:
            if isinstance(dtype, np.dtype) and dtype.kind == "U":
                return np.array([None if value is pd.NA else value for value in self], dtype=object)
            return super().astype(dtype, copy=copy)

    kept = frame.copy()
    for name in columns:
        texts = [pd.NA if value is None or value is pd.NA else str(value) for value in frame[name]]
        kept[name] = pd.Series(Text(np.array(texts, dtype=object)), index=frame.index)
    return kept
