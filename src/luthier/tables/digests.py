"""The digest of a table that is read or written in chunks, whatever file or stream it is in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from luthier.tables.readers import Record

__all__ = ["RowsDigest"]

ENCODED = json.JSONEncoder(ensure_ascii=True, default=str, separators=(",", ":")).encode


class RowsDigest:
    """sha256 over rows in their order: equal rows have equal digests, also from files of different formats or names.

    Cells of different types differ: `1` of a csv is a text, that of a parquet may be a number.

    Examples:
        >>> whole, in_parts = RowsDigest(), RowsDigest()
        >>> whole.update([{"id": "001", "text": "good"}, {"id": "002", "text": None}])
        >>> in_parts.update([{"id": "001", "text": "good"}])
        >>> in_parts.update([{"id": "002", "text": None}])
        >>> whole.hexdigest == in_parts.hexdigest, whole.rows
        (True, 2)
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.rows = 0

    def update(self, records: Sequence[Record]) -> None:
        """Adds rows."""
        if records:
            self.rows += len(records)
            # A row's own names are part of it, as lines of a jsonl may have different ones. A comma ends every row.
            self._digest.update(f"{ENCODED(records)[1:-1]},".encode())

    @property
    def hexdigest(self) -> str:
        """The digest of the rows so far."""
        return self._digest.hexdigest()
