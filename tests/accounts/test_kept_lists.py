"""What accounts offered is kept in a file each, whole or not at all, and read back as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luthier.accounts import Refreshed, configured_endpoints, kept_lists, refresh, refresh_all
from luthier.accounts.azure_control_plane import ControlPlane
from luthier.endpoints import Endpoint, compatible
from luthier.errors import DataError, EndpointError
from luthier.home import luthier_home
from luthier_local import Fault, LocalServer, ModelCard
from tests.accounts.test_offered import MINI, MINI_OF_THE_ACCOUNT, TUNED
from tests.conftest import KEY
from tests.tuning.azure_stand_in import AzureStandIn, Refusal

SEEN = 1_764_000_000.0


def at(server: LocalServer) -> Endpoint:
    return compatible("any", server.base_url, api_key_env="STARS_KEY")


def folder_of_lists() -> Path:
    return luthier_home() / "catalogue"


def test_a_list_is_read_back_as_it_was_told(azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane) -> None:
    tuned = {"name": TUNED, "version": "1", "format": "OpenAI"}
    azure.data_models, azure.account_models = [MINI, {"id": "other"}], [MINI_OF_THE_ACCOUNT, tuned]
    kept = refresh(endpoint, plane=plane, clock=lambda: SEEN)
    assert (kept.provider, kept.address, kept.seen, kept.missing) == ("azure", f"{azure.url}/openai/v1", SEEN, "")
    assert [one.id for one in kept.models] == ["gpt-4.1-mini-2025-04-14", "other", TUNED]
    assert kept_lists() == [kept]


def test_a_list_is_replaced_by_the_next_one_and_each_account_has_its_own(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", KEY)
    refresh(at(server), clock=lambda: SEEN)
    server.put_model(ModelCard("new-model", shutdown_date="2027-01-14"))
    again = refresh(at(server), clock=lambda: SEEN + 1)
    other = refresh(compatible("another", server.base_url, api_key_env="OTHER_KEY"), clock=lambda: SEEN + 2)
    assert {kept.file for kept in kept_lists()} == {again.file, other.file}
    assert sorted(kept.seen for kept in kept_lists()) == [SEEN + 1, SEEN + 2]
    assert [one.id for one in again.models] == ["stars-model", "other-model", "new-model"]


def test_a_list_holds_neither_the_key_nor_the_name_of_its_variable(server: LocalServer) -> None:
    written = refresh(at(server)).file.read_text()
    assert KEY not in written and "STARS_KEY" not in written


def test_a_refusal_leaves_the_earlier_list_as_it_is(server: LocalServer) -> None:
    kept = refresh(at(server))
    server.faults.add(Fault("status", path="/models", status=403))
    with pytest.raises(EndpointError, match="status 403"):
        refresh(at(server))
    assert kept_lists() == [kept]


def test_a_part_of_a_list_is_kept_until_there_is_a_whole_one_and_does_not_replace_that(
    azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane
) -> None:
    azure.data_models, azure.account_models = [MINI], [MINI_OF_THE_ACCOUNT]
    azure.read_refusals = [Refusal(403, "AuthorizationFailed")]
    part = refresh(endpoint, plane=plane)
    assert "accounts/models/read" in part.missing and len(part.models) == 1
    whole = refresh(endpoint, plane=plane)
    assert whole.missing == "" and whole.file == part.file
    azure.read_refusals = [Refusal(403, "AuthorizationFailed")]
    with pytest.raises(EndpointError, match="accounts/models/read"):
        refresh(endpoint, plane=plane)
    assert kept_lists() == [whole]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "models": 7}', '{"schema": 99}'])
def test_a_damaged_list_is_named_with_its_cure_and_the_next_refresh_mends_it(damage: str, server: LocalServer) -> None:
    kept = refresh(at(server))
    kept.file.write_text(damage)
    with pytest.raises(DataError, match="luthier catalogue list --refresh") as raised:
        kept_lists()
    assert str(kept.file) in str(raised.value)
    refresh(at(server))
    assert len(kept_lists()) == 1


def test_fields_of_a_later_version_are_passed_over(server: LocalServer) -> None:
    kept = refresh(at(server))
    document = json.loads(kept.file.read_text())
    document["models"][0]["from_the_future"] = 1
    kept.file.write_text(json.dumps(document))
    assert kept_lists() == [kept]


def test_without_any_refresh_there_are_no_lists() -> None:
    assert kept_lists() == []


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_the_accounts_of_a_working_folder_are_those_of_its_endpoint_files_with_a_key(
    server: LocalServer, tmp_path: Path
) -> None:
    ours = f"provider: compatible, base_url: {server.base_url}, api_key_env: STARS_KEY"
    write(tmp_path / "models/endpoints/stars.yaml", f"endpoint: {{{ours}, model: a}}")
    write(tmp_path / "models/endpoints/again.yaml", f"endpoint: {{{ours}, model: b}}")
    write(tmp_path / "spec.yaml", f"technique: prompt\nendpoints: [{{{ours}, model: c}}]\n")
    write(tmp_path / "task.yaml", "name: stars\n")
    write(tmp_path / "noted.yaml", "a: [\n")
    write(tmp_path / "models/endpoints/openai.yaml", "endpoint: {provider: openai, model: gpt-4.1-mini}")
    write(tmp_path / "models/endpoints/broken.yaml", "endpoint: {provider: nowhere, model: x}")
    write(
        tmp_path / "models/endpoints/azure.yaml",
        "{provider: azure, model: x, base_url: https://YOUR-RESOURCE.openai.azure.com, auth: entra}",
    )
    found = {Path(one.where).name: one for one in configured_endpoints(tmp_path)}
    assert [*found] == ["again.yaml", "azure.yaml", "broken.yaml", "openai.yaml", "the embedded server"]
    assert found["again.yaml"].why_not == found["the embedded server"].why_not == ""
    assert "YOUR-RESOURCE" in found["azure.yaml"].why_not
    assert "OPENAI_API_KEY is not set" in found["openai.yaml"].why_not
    assert "broken.yaml" in found["broken.yaml"].why_not and found["broken.yaml"].endpoint is None


def test_a_key_goes_to_no_stranger_because_of_a_file_that_lies_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    write(tmp_path / "openai.yaml", "{provider: openai, model: x, base_url: https://elsewhere.invalid/v1}")
    write(tmp_path / "azure.yaml", "{provider: azure, model: x, base_url: https://elsewhere.invalid, auth: entra}")
    write(tmp_path / "keyless.yaml", "{provider: compatible, model: x, base_url: https://elsewhere.invalid/v1}")
    azure, keyless, stranger, home, _ = configured_endpoints(tmp_path)
    assert "--endpoint" in stranger.why_not and "OPENAI_API_KEY" in stranger.why_not
    assert "a token of yours" in azure.why_not and keyless.why_not == ""
    assert (home.where, home.why_not) == ("OPENAI_API_KEY", "")
    assert home.endpoint is not None and home.endpoint.is_at_home


def test_one_account_that_cannot_be_asked_does_not_stop_the_others(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    write(
        Path("models/endpoints/stars.yaml"),
        f"{{provider: compatible, model: x, base_url: {server.base_url}, api_key_env: STARS_KEY}}",
    )
    write(Path("models/endpoints/openai.yaml"), "{provider: openai, model: x}")
    write(Path("models/endpoints/gone.yaml"), "{provider: vllm, model: x, base_url: http://127.0.0.1:9/v1}")
    here = [one for one in configured_endpoints() if one.where != "the embedded server"]
    gone, unset, stars = refresh_all(here)
    assert "did not answer" in gone.why and gone.kept is None
    assert unset == Refreshed(here[1], None, "OPENAI_API_KEY is not set.")
    assert stars.why == "" and stars.kept is not None and len(stars.kept.models) == 2
    assert kept_lists() == [stars.kept]


def test_a_named_endpoint_is_asked_wherever_it_is(server: LocalServer) -> None:
    (found,) = refresh_all([at(server)])
    assert found.kept is not None and (found.address, found.why) == (server.base_url, "")


def test_what_azure_does_not_tell_is_said_beside_what_it_does(
    azure: AzureStandIn, endpoint: Endpoint, plane: ControlPlane
) -> None:
    azure.data_models = [MINI]
    azure.read_refusals = [Refusal(403, "AuthorizationFailed")]
    (found,) = refresh_all([endpoint], ask=lambda account: refresh(account, plane=plane))
    assert found.kept is not None and "accounts/models/read" in found.why
