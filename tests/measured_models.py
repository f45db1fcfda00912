"""Packaged models that a comparison measured, one of each kind of technique, made once for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.packaging.loading import find_model
from luthier.packaging.recorded_answers import FILE
from luthier.packaging.recording import VARIABLE, recorded_of
from luthier_local import LocalServer, ModelCard

TECHNIQUES = ("few", "vectors", "asked", "plain")


@dataclass(frozen=True)
class MeasuredModels:
    """Where they are.

    Attributes:
        folders: by name; `few`, `vectors`, `asked` and `plain` are registered under these. `without` has no recorded
            rows, `earlier` is as an earlier Luthier packaged it, and `rebuilt` has what was recorded for that later.
        store: the file of the tracking store.
        server: the service that they ask.
    """

    folders: Mapping[str, Path]
    store: Path
    server: LocalServer


@contextmanager
def measured_models(folder: Path, empty_store: Path) -> Iterator[MeasuredModels]:
    """Compares, packages and registers them; the service answers until the end."""
    from tests.conftest import KEY, priced, reviews, standing_store, stars

    vectors = ModelCard("vectors", chat=False, completions=False, embeddings=True)
    with LocalServer(models=[ModelCard("stars-model"), vectors], api_key=KEY) as server:
        with standing_store(folder, empty_store) as store:
            endpoint = priced(server)
            answer = {"method": "score", "calibration_rows": 20}
            specs = [
                lt.Prompt(stars(), "Stars for: {{ text }}", answer=answer, examples=4, endpoint=endpoint, name="few"),
                lt.Embedding(stars(), endpoint=endpoint.model_copy(update={"model": "vectors"}), name="vectors"),
                lt.Decision(stars(), endpoint=endpoint, name="asked"),
                lt.Baseline(stars(), name="plain"),
            ]
            blank = pd.DataFrame({"id": ["x"], "text": [None], "stars": [3]})
            table = pd.concat([reviews(60), blank], ignore_index=True)
            board = lt.compare(specs, table, train=reviews(80, seed=8))
            models = {name: board[name].log(register=name) for name in TECHNIQUES}
            with pytest.MonkeyPatch.context() as here:
                here.setenv(VARIABLE, "no")
                models["without"] = board["few"].log()
            folders = {name: find_model(model.uri).folder.path for name, model in models.items()}
            folders["earlier"], folders["rebuilt"] = folder / "earlier", folder / "rebuilt"
            for name in ("earlier", "rebuilt"):
                shutil.copytree(folders["few"], folders[name])
                (folders[name] / "data" / "luthier" / FILE).unlink()
            rebuilt = recorded_of(str(folders["rebuilt"]))
            assert rebuilt is not None
            (folders["rebuilt"] / "data" / "luthier" / FILE).write_text(rebuilt.to_json(), encoding="utf-8")
        yield MeasuredModels(folders, store, server)
