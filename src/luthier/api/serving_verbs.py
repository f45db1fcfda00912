"""Serving a model in the foreground: imports nothing that a server does not need, so that it starts fast and small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.serving.models import open_model
from luthier.serving.server import serve as serve_foreground
from luthier.serving.settings import ServerSettings

__all__ = ["serve"]


def serve(
    model: str,
    settings: ServerSettings | None = None,
    *,
    endpoint: Mapping[str, Any] | None = None,
    trust: bool = False,
    known_as: str | None = None,
) -> None:
    """Answers HTTP with a packaged model until a signal ends it; what is being answered then is finished.

    For a notebook, `Model.serve` serves beside it.

    Args:
        model: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or a folder.
        settings: where it listens, whom it lets in, and what it refuses.
        endpoint: settings that point the model elsewhere.
        trust: let a model that Luthier did not log run the code it brings along.
        known_as: what the server calls the model, such as `models:/stars/3`, where `model` is a copy of that.

    Raises:
        ModelError: nothing is there, or code would have to be run.
        GateFailed: the model does not give the answers that were recorded with it.
        UserError: the port is taken, or a setting is wrong.
    """
    settings = settings or ServerSettings()
    serve_foreground(open_model(model, settings, endpoint, trust, known_as=known_as), settings)
