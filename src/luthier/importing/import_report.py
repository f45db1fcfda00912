"""What one import did, as a notebook and a terminal show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from luthier.importing.import_table import import_sections
from luthier.importing.records import Happened, ImportedItem, ItemKind, NotImported
from luthier.reporting.html import fragment
from luthier.reporting.table import Section
from luthier.reporting.terminal import show

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ImportReport"]


@dataclass(frozen=True)
class ImportReport:
    """What one import did.

    Attributes:
        place: the account's address.
        store: where it was brought to.
        items: what is in MLflow now.
        missing: what is not.
        dry_run: whether nothing was written.
    """

    place: str
    store: str
    items: Sequence[ImportedItem]
    missing: Sequence[NotImported]
    dry_run: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing is left to bring: what is not here has no cure, as a file that the service has deleted."""
        return self.pending == 0

    @property
    def pending(self) -> int:
        """How many missing items can be brought still: by the cure that each names, or later."""
        return sum(bool(one.cure) or one.passes for one in self.missing)

    def count(self, kind: ItemKind, *happened: Happened) -> int:
        """How many of a kind there are; of those that ended so, where named."""
        return sum(one.kind == kind and (not happened or one.happened in happened) for one in self.items)

    def document(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self) | {"complete": self.complete}

    @property
    def frame(self) -> pd.DataFrame:
        """A row per item that is in MLflow now."""
        import pandas as pd

        columns = [one.name for one in fields(ImportedItem)]
        return pd.DataFrame([asdict(item) for item in self.items], columns=columns)

    def show(self) -> None:
        """Prints what was brought, and what was not and why."""
        show(*self._sections())

    def _repr_html_(self) -> str:
        return fragment(*self._sections())

    def _sections(self) -> list[Section]:
        return import_sections(self.place, self.items, self.missing, dry_run=self.dry_run)
