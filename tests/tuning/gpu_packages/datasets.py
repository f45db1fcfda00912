"""A table of rows."""

from __future__ import annotations

from typing import Any


class Dataset(list[dict[str, Any]]):
    """Rows in memory."""

    @classmethod
    def from_list(cls, rows: list[dict[str, Any]]) -> Dataset:
        """The rows."""
        return cls(rows)
