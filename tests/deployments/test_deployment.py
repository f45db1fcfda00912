"""What a notebook has of a deployment: the answers of its model, how it is, and its log."""

from __future__ import annotations

import itertools
import sys
import threading

import pandas as pd
import pytest

import luthier as lt
from luthier.deployments.deployment import Deployment, deployments_table, list_deployments
from luthier.deployments.plan import DeploymentRequest
from luthier.deployments.records import ResolvedModel, deployment_folder
from luthier.deployments.store import DeploymentStore
from luthier.errors import DataError, UserError
from luthier.serving.settings import ServerSettings
from tests.conftest import KEY, reviews
from tests.deployments.deployed import deployed
from tests.measured_models import TECHNIQUES, MeasuredModels

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="deployments need unix sockets")]

SETTINGS = ServerSettings(port=0, without_key=True, most_rows=25)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", KEY)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_deployment_predicts_the_table_that_its_model_predicts(measured: MeasuredModels, technique: str) -> None:
    table = reviews(60).drop(columns="stars")
    table.loc[3, "text"] = None
    table.index = pd.Index([f"row {n}" for n in range(60)])
    model = lt.load(str(measured.folders[technique]))
    # 60 rows in requests of 25, as many as the server takes.
    with deployed("stars", measured.folders[technique], SETTINGS) as found:
        pd.testing.assert_frame_equal(found.predict(table), model.predict(table), check_exact=False, rtol=1e-9)


def test_a_missing_column_is_named_before_anything_is_sent(measured: MeasuredModels) -> None:
    with (
        deployed("stars", measured.folders["plain"], SETTINGS) as found,
        pytest.raises(DataError, match="'text'"),
    ):
        found.predict(pd.DataFrame({"words": ["good"]}))


def test_it_says_where_it_answers_and_which_revision(measured: MeasuredModels) -> None:
    with deployed("stars", measured.folders["plain"], SETTINGS) as found:
        assert (found.name, found.target, found.status, found.revision) == ("stars", "local", "serving", 1)
        assert found.url.startswith("http://127.0.0.1:")
        assert [one.words for one in found.events] == ["revision 1 asked for: models:/stars/1"]
        document = found.to_document()
        assert (document["version"], document["revisions"][0]["state"]) == ("1", "serving")
        for text in (repr(found), found._repr_html_(), found.description, deployments_table(list_deployments())):
            assert "stars" in text
            assert found.url in text
        with DeploymentStore() as store:
            wanted = ResolvedModel("models:/stars/2", "2", "sqlite:///none.db")
            store.add_revision(DeploymentRequest(name="stars", model_uri="models:/stars/2", settings=SETTINGS), wanted)
        assert "models:/stars/1" in deployments_table(list_deployments())  # what answers still


def test_a_name_that_nobody_gave_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match="there is none yet"):
        Deployment("moon")


def test_its_log_is_followed_into_the_next_file(measured: MeasuredModels) -> None:
    with deployed("stars", measured.folders["plain"], SETTINGS) as found:
        file = deployment_folder("stars") / "server.log"
        file.write_text("one\ntwo\nthree\n")
        assert found.logs(2) == "two\nthree"
        lines = found.log_lines(1, follow=True)
        assert next(lines) == "three"

        def rotate() -> None:
            file.rename(file.with_suffix(".log.1"))
            file.write_text("four\nfive\n")

        timer = threading.Timer(0.05, rotate)
        timer.start()
        assert list(itertools.islice(lines, 2)) == ["four", "five"]
        timer.join()


def test_a_stopped_deployment_says_so_and_answers_nothing(measured: MeasuredModels) -> None:
    with deployed("stars", measured.folders["plain"], SETTINGS) as found, DeploymentStore() as store:
        store.stop("stars")
        assert found.status == "stopping"
        store.set_process("stars", 1, None)
        store.set_state("stars", 1, "drained")
        assert (found.status, found.revision) == ("stopped", None)
        with pytest.raises(UserError, match="it is stopped"):
            found.predict(["good"])
