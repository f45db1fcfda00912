"""The deployments' database: what commands ask for, what the controller writes, and processes that write at once."""

from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from luthier.deployments.plan import DeploymentRequest
from luthier.deployments.records import ResolvedModel, ServerProcess, revision_folder
from luthier.deployments.store import DeploymentStore
from luthier.errors import UserError
from luthier.serving.settings import ServerSettings
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def deployments() -> Iterator[DeploymentStore]:
    with DeploymentStore() as made:
        yield made


def asked(name: str = "stars", uri: str = "models:/stars@champion", port: int = 8080) -> DeploymentRequest:
    return DeploymentRequest(
        name=name,
        model_uri=uri,
        settings=ServerSettings(port=port, keys_file=Path("/keys"), budget_usd_per_day=2.5),
        endpoint={"model": "other"},
    )


def version(number: int) -> ResolvedModel:
    return ResolvedModel(f"models:/stars/{number}", str(number), "sqlite:////here/mlflow.db")


def serve(store: DeploymentStore, number: int, model: ResolvedModel) -> None:
    """As if the controller had rolled out a revision."""
    assert store.add_revision(asked(), model) == number
    revision_folder("stars", number).mkdir(parents=True)
    if (before := store.one("stars").serving) is not None:
        store.set_state("stars", before.number, "drained")
    store.set_state("stars", number, "serving")


def test_a_deployment_is_read_as_it_was_asked_for(deployments: DeploymentStore) -> None:
    assert deployments.add_revision(asked(), version(2)) == 1
    found = deployments.one("stars")
    assert (found.desired, found.target, found.url) == ("running", 1, "http://127.0.0.1:8080")
    [revision] = found.revisions
    assert revision.settings == asked().settings
    assert revision.endpoint == {"model": "other"}
    assert (revision.model, revision.state, revision.served) == (version(2), "starting", None)


def test_the_file_is_the_users_alone(deployments: DeploymentStore) -> None:
    deployments.add_revision(asked(), version(1))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in deployments.path.parent.glob("deployments.db*")}
    assert set(modes.values()) == {0o600}, modes


def test_an_update_to_another_port_is_refused_and_changes_nothing(deployments: DeploymentStore) -> None:
    deployments.add_revision(asked(), version(1))
    with pytest.raises(UserError, match="8080.*9090"):
        deployments.add_revision(asked(port=9090), version(2))
    assert len(deployments.one("stars").revisions) == 1


def test_an_unknown_name_is_answered_with_those_there_are(deployments: DeploymentStore) -> None:
    deployments.add_revision(asked("stars"), version(1))
    deployments.add_revision(asked("moods", port=8081), version(1))
    with pytest.raises(UserError, match="'star'.*moods, stars"):
        deployments.one("star")
    assert [one.name for one in deployments.deployments()] == ["moods", "stars"]


def test_a_rollback_leads_to_the_newest_revision_that_served(deployments: DeploymentStore) -> None:
    serve(deployments, 1, version(1))
    serve(deployments, 2, version(2))
    assert deployments.rollback("stars") == 1
    found = deployments.one("stars")
    assert (found.target, found.is_rolling_back) == (1, True)


def test_a_rollback_passes_over_revisions_that_failed(deployments: DeploymentStore) -> None:
    serve(deployments, 1, version(1))
    deployments.add_revision(asked(), version(2))
    deployments.set_state("stars", 2, "failed", "7 answers differ")
    serve(deployments, 3, version(3))
    assert deployments.rollback("stars") == 1
    with pytest.raises(UserError, match="revision 2.*1, 3"):
        deployments.rollback("stars", to=2)
    assert deployments.rollback("stars", to=3) == 3


def test_a_rollback_during_a_rollout_drops_it(deployments: DeploymentStore) -> None:
    serve(deployments, 1, version(1))
    deployments.add_revision(asked(), version(2))
    assert deployments.rollback("stars") == 1


def test_a_rollback_without_an_earlier_revision_is_refused(deployments: DeploymentStore) -> None:
    serve(deployments, 1, version(1))
    with pytest.raises(UserError, match="no earlier revision"):
        deployments.rollback("stars")


def test_an_alias_that_moved_makes_a_revision_of_the_same_settings(deployments: DeploymentStore) -> None:
    serve(deployments, 1, version(1))
    assert deployments.follow("stars", "2") == 2
    newest = deployments.one("stars").revisions[-1]
    assert newest.model == version(2)
    assert newest.settings == asked().settings
    assert deployments.one("stars").followed_version == "2"


def test_an_alias_that_moves_back_keeps_what_serves(deployments: DeploymentStore) -> None:
    serve(deployments, 1, version(1))
    deployments.follow("stars", "2")
    assert deployments.follow("stars", "1") is None
    found = deployments.one("stars")
    assert (found.target, len(found.revisions)) == (1, 2)


def test_the_controller_does_not_overwrite_what_was_asked_for_meanwhile(deployments: DeploymentStore) -> None:
    serve(deployments, 1, version(1))
    deployments.add_revision(asked(), version(2))
    deployments.add_revision(asked(), version(3))
    deployments.set_target("stars", 1, instead_of=2)
    assert deployments.one("stars").target == 3


def test_states_keep_when_a_revision_served_and_why_it_ended(deployments: DeploymentStore) -> None:
    serve(deployments, 1, version(1))
    deployments.set_state("stars", 1, "failed", "out of memory")
    [revision] = deployments.one("stars").revisions
    assert revision.served is not None and revision.ended is not None
    assert revision.reason == "out of memory"


def test_a_process_is_of_its_revision_until_it_ends(deployments: DeploymentStore) -> None:
    deployments.add_revision(asked(), version(1))
    deployments.set_process("stars", 1, ServerProcess(77, "12345"))
    assert deployments.one("stars").revisions[0].process == ServerProcess(77, "12345")
    deployments.set_process("stars", 1, None)
    assert deployments.one("stars").revisions[0].process is None


def test_stop_and_delete_are_wishes_and_a_deleted_deployment_takes_no_update(deployments: DeploymentStore) -> None:
    deployments.add_revision(asked(), version(1))
    deployments.stop("stars")
    assert deployments.one("stars").desired == "stopped"
    deployments.delete("stars")
    deployments.stop("stars")
    assert deployments.one("stars").desired == "deleted"
    with pytest.raises(UserError, match="being deleted"):
        deployments.add_revision(asked(), version(2))
    deployments.remove("stars")
    assert deployments.deployments() == []
    assert deployments.events("stars") == []


def test_events_are_read_on_from_the_last_one_seen(deployments: DeploymentStore) -> None:
    deployments.add_revision(asked(), version(1))
    last = deployments.events("stars")[-1].id
    deployments.say("stars", "revision 1 is ready")
    assert [one.words for one in deployments.events("stars", after=last)] == ["revision 1 is ready"]


def test_another_process_writing_is_noticed(deployments: DeploymentStore) -> None:
    before = deployments.data_version()
    assert deployments.data_version() == before
    with DeploymentStore() as other:
        other.add_revision(asked(), version(1))
    assert deployments.data_version() != before


def test_a_file_of_a_newer_luthier_is_refused(deployments: DeploymentStore) -> None:
    with sqlite3.connect(deployments.path) as file:
        file.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="schema 99"):
        DeploymentStore()


WRITER = """
import sys
from luthier.deployments.plan import DeploymentRequest
from luthier.deployments.records import ResolvedModel
from luthier.deployments.store import DeploymentStore
with DeploymentStore() as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(sys.argv[1])):
        store.add_revision(DeploymentRequest(name="stars", model_uri="models:/stars/1"), ResolvedModel("m", "1", "t"))
        print("wrote", flush=True)
"""


@pytest.mark.slow
def test_processes_write_at_once_and_one_that_is_killed_leaves_whole_revisions(deployments: DeploymentStore) -> None:
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, count], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for count in ("1000000", "15", "15")
    ]
    for program in programs:
        assert program.stdout is not None and program.stdin is not None
        program.stdout.readline()
        program.stdin.write("\n")
        program.stdin.flush()
    endless, *others = programs
    assert endless.stdout is not None
    assert endless.stdout.readline() == "wrote\n"
    assert [program.communicate(timeout=PATIENCE_SECONDS)[1] for program in others] == [None, None]
    endless.kill()
    endless.communicate()
    assert [program.returncode for program in programs] == [-signal.SIGKILL, 0, 0]
    numbers = [one.number for one in deployments.one("stars").revisions]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 30
    assert deployments.one("stars").target == numbers[-1]
