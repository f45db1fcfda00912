"""A model that answers HTTP beside a notebook."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from luthier.packaging.loading import FoundModel
from luthier.serving.models import serve_found
from luthier.serving.scoring_client import ScoringClient
from luthier.serving.server import BackgroundServer
from luthier.serving.settings import ServerSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ModelServer"]

EXTRA_SECONDS = 10.0


class ModelServer(BackgroundServer):
    """What `Model.serve` gives: a server in this process, until `stop`, the end of a `with` block, or of the process.

    Attributes:
        url: where it answers.
        key: what it lets in; `None` where it needs no key or has a file of them.

    Args:
        found: what answers.
        settings: where it listens, whom it lets in, and what it refuses.

    Raises:
        GateFailed: the model does not give the answers that it recorded.
        UserError: the port is taken.
    """

    def __init__(self, found: FoundModel, settings: ServerSettings) -> None:
        self._spec, self._called = found.fitted.spec, found.uri
        super().__init__(serve_found(found, settings), settings)

    def predict(self, rows: Any, *, key: str | None = None) -> pd.DataFrame:
        """The prediction columns, asked over HTTP as a client would.

        Args:
            rows: a table with the columns the model reads, in any form that `luthier.score` takes.
            key: for a server with a file of keys; its own one when absent.

        Raises:
            DataError: a column is missing.
            NotAnswered: the server has been stopped, or refuses the rows.
        """
        client = ScoringClient(
            self.url,
            self._spec,
            most_rows=self.settings.most_rows,
            timeout_seconds=self.settings.timeout_seconds + EXTRA_SECONDS,
            key=key or self.key,
        )
        return client.predict(rows)

    def __repr__(self) -> str:
        return f"<{self._called} at {self.url}>"

    def _repr_html_(self) -> str:
        url = html.escape(self.url)
        return f'{html.escape(self._called)} answers at <a href="{url}/docs">{url}</a>'
