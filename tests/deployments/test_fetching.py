"""Models behind addresses, copied to where a server reads them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import luthier as lt
from luthier.deployments.fetching import absolute_uri, fetch_model, follows_alias, resolved_model, version_behind
from luthier.deployments.records import ResolvedModel
from luthier.errors import ModelError
from luthier.packaging.folder import DATA
from luthier.packaging.recorded_answers import read_recorded
from tests.measured_models import MeasuredModels

pytestmark = pytest.mark.slow


def test_an_alias_means_one_version(model: lt.Model, store: str) -> None:
    found = resolved_model("models:/stars@champion")
    assert found == ResolvedModel("models:/stars/1", "1", store)
    assert version_behind("models:/stars@champion", store) == "1"


def test_an_alias_that_nobody_has_set_is_refused(model: lt.Model) -> None:
    with pytest.raises(ModelError, match="models:/stars@challenger"):
        resolved_model("models:/stars@challenger")


def test_a_relative_store_is_kept_by_its_whole_path() -> None:
    assert absolute_uri("sqlite:///mlflow.db?timeout=9") == f"sqlite:///{Path.cwd() / 'mlflow.db'}?timeout=9"
    for uri in ("sqlite:////home/me/mlflow.db", "sqlite:///:memory:", "http://127.0.0.1:5000"):
        assert absolute_uri(uri) == uri


def test_looking_into_a_store_that_is_away_makes_no_empty_one(tmp_path: Path) -> None:
    away = tmp_path / "away.db"
    with pytest.raises(ModelError, match=f"no tracking store at {away}"):
        version_behind("models:/stars@champion", f"sqlite:///{away}")
    assert not away.exists()


async def test_two_copies_of_one_model_do_not_disturb_each_other(model: lt.Model, tmp_path: Path) -> None:
    # A controller that was killed leaves the program that copies; its successor starts another.
    folder, wanted = tmp_path / "deployments" / "model", resolved_model("models:/stars@champion")
    await asyncio.gather(fetch_model(wanted, folder), fetch_model(wanted, folder))
    assert (folder / "MLmodel").is_file()
    assert not folder.with_name("model.partial").exists()


def test_only_aliases_are_followed() -> None:
    addresses = ["models:/stars@champion", "models:/stars/2", "/here/model", "models:/m-0123abcd", "runs:/1/model"]
    assert [follows_alias(one) for one in addresses] == [True, False, False, False, False]


async def test_a_model_is_copied_whole(model: lt.Model, tmp_path: Path) -> None:
    folder = tmp_path / "deployments" / "model"
    await fetch_model(resolved_model("models:/stars@champion"), folder)
    assert (folder / "MLmodel").is_file()
    assert lt.load(str(folder)).spec.digest == model.spec.digest


async def test_a_model_that_is_gone_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder"):
        await fetch_model(ResolvedModel("file:///nowhere", None, "sqlite:///none.db"), tmp_path / "model")
    assert not (tmp_path / "model").exists()


async def test_a_model_of_an_earlier_luthier_gets_the_answers_that_its_run_and_the_journal_have(
    measured: MeasuredModels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LUTHIER_HOME", str(measured.store.parent / "home"))
    folder = tmp_path / "model"
    await fetch_model(ResolvedModel(str(measured.folders["earlier"]), None, f"sqlite:///{measured.store}"), folder)
    assert read_recorded(folder / DATA) == read_recorded(measured.folders["few"] / DATA)
