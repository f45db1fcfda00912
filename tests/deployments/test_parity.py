"""Live answers of a server against the recorded ones: what counts as alike, and how many may differ."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from luthier.deployments.parity import check_live, price_of_check
from luthier.engine.loop import wait_for
from luthier.packaging.recorded_answers import FILE
from luthier.serving.control import bound_socket
from luthier.serving.models import open_model
from luthier.serving.server import RunningServer, serve_in_background
from luthier.serving.settings import ServerSettings
from tests.conftest import KEY
from tests.measured_models import TECHNIQUES, MeasuredModels
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

SETTINGS = ServerSettings(port=0, without_key=True)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)


@pytest.fixture
def otherwise(measured: MeasuredModels, tmp_path: Path) -> Callable[[str, int], Path]:
    """A copy of a model's folder that recorded other labels for so many rows than the model gives."""

    def change(name: str, rows: int) -> Path:
        folder = tmp_path / name
        shutil.copytree(measured.folders[name], folder)
        file = folder / "data" / "luthier" / FILE
        document = json.loads(file.read_text(encoding="utf-8"))
        labelled = [row for row in document["rows"] if row["prediction"]["label"] is not None]
        for row in labelled[:rows]:
            row["prediction"]["label"] = "5" if row["prediction"]["label"] == "1" else "1"
        file.write_text(json.dumps(document), encoding="utf-8")
        return folder

    return change


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_server_of_the_same_model_gives_the_recorded_answers(measured: MeasuredModels, technique: str) -> None:
    folder = measured.folders[technique]
    with serve_in_background(open_model(str(folder), SETTINGS), SETTINGS) as server:
        found = check_live(server.url, folder)
    wanted = {"few": 17, "vectors": 20, "asked": 17, "plain": 20}[technique]
    assert (found.passed, found.rows, found.answered, found.alike, found.wanted) == (True, 20, 20, 20, wanted)
    assert found.words == f"parity: 20 of 20 recorded answers replayed; live 20 of 20 alike (at least {wanted} wanted)"


@pytest.mark.skipif(sys.platform == "win32", reason="no unix sockets")
def test_the_private_socket_is_asked_without_a_key(measured: MeasuredModels, tmp_path: Path) -> None:
    folder = measured.folders["plain"]
    settings = ServerSettings(port=0, without_key=True)
    server = RunningServer(open_model(str(folder), settings), settings)
    path = tmp_path / "s"
    with bound_socket(path) as listening:
        wait_for(server.start())
        wait_for(server.accept(listening, needs_key=False))
        assert check_live(path, folder).passed
        wait_for(server.drain())


def test_a_model_that_asks_a_service_may_differ_as_often_as_chance_allows(
    measured: MeasuredModels, otherwise: Callable[[str, int], Path]
) -> None:
    with serve_in_background(open_model(str(measured.folders["few"]), SETTINGS), SETTINGS) as server:
        three = check_live(server.url, otherwise("few", 3))
    assert three.passed
    assert "live 17 of 20 alike (at least 17 wanted)" in three.words


def test_more_differences_than_chance_allows_stop_it(
    measured: MeasuredModels, otherwise: Callable[[str, int], Path]
) -> None:
    with serve_in_background(open_model(str(measured.folders["few"]), SETTINGS), SETTINGS) as server:
        found = check_live(server.url, otherwise("few", 4))
    assert not found.passed
    assert "live 16 of 20 alike (at least 17 wanted)" in found.words


def test_one_difference_stops_a_model_that_asks_nothing(
    measured: MeasuredModels, otherwise: Callable[[str, int], Path]
) -> None:
    with serve_in_background(open_model(str(measured.folders["plain"]), SETTINGS), SETTINGS) as server:
        found = check_live(server.url, otherwise("plain", 1))
    assert not found.passed
    assert "live 19 of 20 alike (at least 20 wanted)" in found.words


def test_an_upstream_that_is_down_stops_it_and_is_named(measured: MeasuredModels) -> None:
    folder, elsewhere = measured.folders["few"], {"base_url": "http://127.0.0.1:9/v1"}
    with serve_in_background(open_model(str(folder), SETTINGS, elsewhere), SETTINGS) as server:
        found = check_live(server.url, folder, elsewhere)
    assert not found.passed
    assert "503" in found.words


def test_another_model_has_answers_of_its_own(measured: MeasuredModels, otherwise: Callable[[str, int], Path]) -> None:
    with serve_in_background(open_model(str(measured.folders["few"]), SETTINGS), SETTINGS) as server:
        found = check_live(server.url, otherwise("few", 15), {"model": "another"})
    assert found.passed
    assert "another model" in found.words


def test_a_model_that_recorded_nothing_passes_and_says_so(measured: MeasuredModels) -> None:
    found = check_live("http://127.0.0.1:9", measured.folders["without"])
    assert found.passed
    assert "no answers" in found.words


def test_what_a_check_costs_is_known_before_it_is_made(measured: MeasuredModels) -> None:
    folder = measured.folders["few"]
    rows, usd = price_of_check(folder)
    with serve_in_background(open_model(str(folder), SETTINGS), SETTINGS) as server:
        assert check_live(server.url, folder).passed
        paid = metric(server.url, "luthier_cost_usd_total")
    assert rows == 20
    assert usd == pytest.approx(paid, rel=0.01)
    assert paid > 0


def test_a_check_that_asks_no_service_costs_nothing_and_an_unknown_price_is_said(measured: MeasuredModels) -> None:
    assert price_of_check(measured.folders["plain"]) == (20, 0.0)
    assert price_of_check(measured.folders["without"]) == (0, 0.0)
    assert price_of_check(measured.folders["few"], {"model": "of-no-known-price", "price": None})[1] is None


def metric(url: str, name: str) -> float:
    with urlopen(f"{url}/metrics", timeout=PATIENCE_SECONDS) as page:
        return next(
            float(line.split()[-1]) for line in page.read().decode().splitlines() if line.startswith(f"{name} ")
        )


def test_no_server_is_no_pass(measured: MeasuredModels) -> None:
    found = check_live("http://127.0.0.1:9", measured.folders["plain"])
    assert not found.passed
    assert "cannot be reached" in found.words
