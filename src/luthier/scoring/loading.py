"""A packaged model, found and read without running code that came with it, as a notebook has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.packaging.loading import find_model
from luthier.scoring.scored_model import Model

__all__ = ["load"]


def load(model_uri: str, endpoint: Mapping[str, Any] | None = None, *, trust: bool = False) -> Model:
    """The packaged model at a URI.

    A model that Luthier logged is read by this Luthier; nothing in its folder is run. Any other is loaded by MLflow,
    which runs the code it names, and only with `trust`.

    Args:
        model_uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `models:/m-ID`, `runs:/RUN_ID/NAME`, another address
            that MLflow knows, or a folder.
        endpoint: settings that point it elsewhere, such as `{"base_url": ..., "model": ...}`; what is not
            given stays as it was logged.
        trust: let a model that Luthier did not log run the code it brings along.

    Raises:
        ModelError: nothing is there, it is not a Luthier model, or code would have to be run.
    """
    found = find_model(model_uri, endpoint, trust=trust)
    return Model(
        found.uri, found.fitted, model_id=found.folder.model_id, sends_key=found.sends_key, folder=found.folder
    )
