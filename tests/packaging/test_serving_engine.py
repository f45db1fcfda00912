"""The engine that answers for a packaged model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import luthier as lt
from luthier.endpoints import Endpoint, Journal
from luthier.packaging.model import LuthierModel
from luthier.packaging.serving_engine import ServingEngine
from luthier.spec import Fitted
from luthier_local import LocalServer


def test_a_served_model_asks_with_the_engine_it_is_given(
    server: LocalServer, endpoint: Endpoint, tmp_path: Path
) -> None:
    task = lt.Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer="text", endpoint=endpoint)
    file = tmp_path / "served.db"
    engine = ServingEngine(file, limits_share=0.5)
    LuthierModel(Fitted(spec=spec), engine=engine).predict(pd.DataFrame({"text": ["the soup", "the wine"]}))
    engine.close()
    assert Journal(file).size().answers == server.received.total == 2
