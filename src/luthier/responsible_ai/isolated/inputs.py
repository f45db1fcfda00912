"""What the program is given: a folder with the rows, what their columns are, and cohorts to look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["NO_LABEL", "DashboardRows", "InputCohort", "InputFilter", "read_rows"]

NO_LABEL = "(no label)"
"""Stands for the prediction of a row whose answer is no label; it is never the truth."""

SCHEMA = 1


@dataclass(frozen=True)
class InputFilter:
    """A condition on a column: `relation` is `>`, `<=` or `=`."""

    column: str
    relation: str
    value: Any


@dataclass(frozen=True)
class InputCohort:
    """Rows that meet every filter."""

    name: str
    filters: tuple[InputFilter, ...]


@dataclass(frozen=True)
class DashboardRows:
    """The rows that were given.

    Attributes:
        name: what the dashboards are about.
        labels: every label, in the task's order.
        frame: `row`, `text`, `truth`, `prediction`, `state` and one column per feature.
        probabilities: one row per row and one column per label; `None` where the model gives none.
        features: columns to analyse.
        categorical: those of them that hold texts.
        cohorts: to choose from in the dashboards.
        notes: what a reader should know about the columns.
    """

    name: str
    labels: tuple[str, ...]
    frame: pd.DataFrame
    probabilities: np.ndarray[Any, Any] | None
    features: tuple[str, ...]
    categorical: tuple[str, ...]
    cohorts: tuple[InputCohort, ...]
    notes: tuple[str, ...]

    def labelled(self) -> DashboardRows:
        """The rows whose truth is known."""
        kept = self.frame["truth"].notna().to_numpy()
        return DashboardRows(
            self.name,
            self.labels,
            self.frame[kept].reset_index(drop=True),
            None if self.probabilities is None else self.probabilities[kept],
            self.features,
            self.categorical,
            self.cohorts,
            self.notes,
        )


def read_rows(folder: Path, name: str = "rows.parquet") -> DashboardRows:
    """Reads the folder.

    Args:
        folder: what the program was given.
        name: file of the rows in it.

    Raises:
        ValueError: it was written for another version of this program.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["schema"] != SCHEMA:
        raise ValueError(f"{folder} has schema {config['schema']}; this program reads {SCHEMA}.")
    frame = pd.read_parquet(folder / name)
    columns = config["probabilities"]
    return DashboardRows(
        name=config["name"],
        labels=tuple(config["labels"]),
        frame=frame,
        probabilities=frame[columns].to_numpy(dtype=float) if columns else None,
        features=tuple(config["features"]),
        categorical=tuple(config["categorical"]),
        cohorts=tuple(
            InputCohort(one["name"], tuple(InputFilter(**each) for each in one["filters"])) for one in config["cohorts"]
        ),
        notes=tuple(config["notes"]),
    )
