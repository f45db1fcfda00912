"""The target local: what it plans, what it refuses, and a deployment from the first key to its end."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import luthier as lt
from luthier.deployments import supervision
from luthier.deployments.plan import DeploymentRequest
from luthier.deployments.records import ResolvedModel, deployment_folder
from luthier.deployments.store import DeploymentStore, store_file
from luthier.deployments.targets.local import LocalTarget
from luthier.errors import EndpointError, GateFailed, ModelError, UserError
from luthier.packaging.folder import DATA
from luthier.packaging.loading import located
from luthier.packaging.recorded_answers import FILE
from luthier.serving.settings import ServerSettings
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="deployments need unix sockets")]


def asked(uri: str, port: int = 0, name: str = "mood", **config: str) -> DeploymentRequest:
    return DeploymentRequest(name=name, model_uri=uri, settings=ServerSettings(port=port), config=config)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_plan_says_which_version_answers_where_and_changes_nothing(mood_store: str, clean_home: Path) -> None:
    port = free_port()
    plan = LocalTarget().plan(asked("models:/mood@champion", port))
    text = str(plan)
    assert "models:/mood@champion, version 1" in text
    assert f"127.0.0.1:{port}" in text
    assert str(deployment_folder("mood") / "keys") in text
    assert str(store_file()) in text and "server.log" in text
    assert "every 15 s" in text
    assert not deployment_folder("mood").exists()
    assert plan.usd_per_hour == 0


def test_a_plan_of_an_update_says_from_which_version_to_which(mood_store: str) -> None:
    with DeploymentStore() as store:
        store.add_revision(asked("models:/mood/1", 8123), ResolvedModel("models:/mood/1", "1", mood_store))
        store.set_state("mood", 1, "serving")
    plan = LocalTarget().plan(asked("models:/mood/2", ServerSettings().port, watch_seconds="7"))
    assert "Update mood from version 1 to version 2" in str(plan)
    assert "127.0.0.1:8123" in str(plan)  # where it is
    assert "for 7 s" in str(plan)
    with DeploymentStore() as store:
        for number, uri in enumerate(("models:/stars/2", "models:/mood/2"), 2):
            store.add_revision(asked(uri, 8123), ResolvedModel(uri, "2", mood_store))
            store.set_state("mood", number, "serving")
            words = (
                "from models:/stars/2 to models:/mood/2",
                "to these settings, with the same model (models:/mood/2)",
            )
            assert f"Update mood {words[number - 2]}" in str(LocalTarget().plan(asked("models:/mood/2", 8123)))


def test_a_port_of_another_program_or_deployment_is_refused(mood_store: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UserError, match=f"{other.getsockname()[1]}.*--port"):
            LocalTarget().plan(asked("models:/mood/1", other.getsockname()[1]))
    with DeploymentStore() as store:
        store.add_revision(asked("models:/mood/1", 8123, "first"), ResolvedModel("models:/mood/1", "1", mood_store))
    with pytest.raises(UserError, match="8123.*first.*--port"):
        LocalTarget().plan(asked("models:/mood/1", 8123))
    with pytest.raises(UserError, match="8124.*leaves it there|leaves it there.*8124"):
        LocalTarget().plan(asked("models:/mood/1", 8124, "first"))


def test_what_cannot_be_deployed_is_refused_before_anything_is_made(mood_store: str, tmp_path: Path) -> None:
    target = LocalTarget()
    with pytest.raises(ModelError, match="models:/mood@nobody"):
        target.plan(asked("models:/mood@nobody"))
    with pytest.raises(UserError, match="watch_second;"):
        target.plan(asked("models:/mood/1", watch_second="1"))
    with pytest.raises(UserError, match="--to"):
        target.plan(DeploymentRequest(name="mood", model_uri="models:/mood/1", to=tmp_path))


def test_a_model_whose_key_is_not_set_is_refused(model: lt.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalTarget().plan(asked("models:/stars@champion"))
    monkeypatch.delenv("STARS_KEY")
    with pytest.raises(EndpointError, match="STARS_KEY"):
        LocalTarget().plan(asked("models:/stars@champion"))


@pytest.fixture
def supervised() -> Iterator[None]:
    yield
    with DeploymentStore() as store:
        for one in store.deployments():
            store.delete(one.name)
        until = time.monotonic() + PATIENCE_SECONDS
        while store.deployments() and time.monotonic() < until:
            time.sleep(0.05)
        left = store.deployments()
    supervision.stop()
    assert not left


def test_a_deployment_answers_with_its_first_key_and_refuses_a_tampered_update(
    mood_store: str, supervised: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = LocalTarget()
    said = target.apply(target.plan(asked("models:/mood/1")))
    key = re.search(r"lk_\S+", said)
    assert key is not None
    assert "revision 1 (version 1) serves" in capfd.readouterr().err
    with DeploymentStore() as store:
        url = store.one("mood").url
    assert url in said
    assert ask(url, key[0]) == "good"
    # An update keeps the keys, and makes no other.
    tampered = shutil.copytree(located("models:/mood/2"), tmp_path / "tampered")
    shutil.copy(located("models:/mood/1") / DATA / FILE, tampered / DATA / FILE)
    with pytest.raises(GateFailed, match="revision 2.*Revision 1 goes on.*logs mood"):
        target.apply(target.plan(asked(str(tampered))))
    assert ask(url, key[0]) == "good"
    assert key[0].encode() not in b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())


def ask(url: str, key: str) -> str:
    request = urllib.request.Request(
        f"{url}/invocations",
        json.dumps({"dataframe_split": {"columns": ["text"], "data": [["a lovely place, visit 3"]]}}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
        label = json.load(reply)["predictions"][0]["label"]
        assert isinstance(label, str)
        return label
