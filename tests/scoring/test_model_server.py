"""A model that answers HTTP beside a notebook."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.serving.keys import KeyFile
from luthier.serving.scoring_client import NotAnswered, predictions_for
from tests.conftest import reviews
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory, store: str) -> lt.Model:
    table = reviews(40)
    task = lt.Task("stars", type="rating", label="stars", labels=["1", "2", "3", "4", "5"])
    return lt.log(lt.Baseline(task), train=table)


def test_what_it_serves_is_what_it_predicts(model: lt.Model) -> None:
    rows = reviews(12).drop(columns="stars")
    with model.serve() as server:
        pd.testing.assert_frame_equal(server.predict(rows), model.predict(rows), check_exact=False, rtol=1e-9)
        assert server.url in repr(server) and server.url in server._repr_html_()


def test_it_lets_in_its_own_key_only_and_ends_with_its_block(model: lt.Model) -> None:
    with model.serve() as server:
        with pytest.raises(NotAnswered, match="401"):
            predictions_for(server.url, [{"text": "good"}])
        with pytest.raises(NotAnswered, match="401"):
            server.predict(["good"], key="lk_other")
        assert urllib.request.urlopen(f"{server.url}/ready", timeout=PATIENCE_SECONDS).status == 200
    with pytest.raises(NotAnswered, match="cannot be reached"):
        server.predict(["good"])


def test_a_file_of_keys_takes_the_place_of_its_own(model: lt.Model, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    key = KeyFile(keys).add("ci")
    with model.serve(keys_file=keys) as server:
        assert server.key is None
        assert list(server.predict(["good"], key=key)["state"]) == ["ok"]
