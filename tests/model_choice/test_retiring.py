"""What is registered and deployed, joined to the dates on which models retire."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import mlflow
import pytest

from luthier.api import RetiringModels
from luthier.deployments.plan import DeploymentRequest
from luthier.deployments.records import ResolvedModel
from luthier.deployments.store import DeploymentStore
from luthier.errors import GateFailed, UserError
from luthier.model_catalogue import Catalogue
from luthier.model_choice.model_uses import model_uses
from luthier.model_choice.retiring import RetirementWatch, watch_retirements
from luthier.model_choice.retiring_report import retiring_sentences
from luthier.serving.settings import ServerSettings
from tests.model_choice.conftest import TUNED, known, listed

TODAY = date(2026, 11, 28)


def watched(
    catalogue: Catalogue, today: date = TODAY, within_days: int = 180, task: str | None = None
) -> RetirementWatch:
    return watch_retirements(model_uses(task), catalogue, today=today, within_days=within_days)


def shown(watch: RetirementWatch) -> RetiringModels:
    return RetiringModels(watch, known())


def deploy(uri: str, store: str, endpoint: dict[str, str] | None = None, name: str = "stars") -> None:
    """As if the controller had rolled it out; no server is started."""
    request = DeploymentRequest(
        name=name, model_uri=uri, settings=ServerSettings(keys_file=Path("/keys")), endpoint=endpoint or {}
    )
    with DeploymentStore() as deployments:
        deployments.add_revision(request, ResolvedModel(uri, uri.rpartition("/")[2], store))
        deployments.set_state(name, 1, "serving")


def test_versions_that_stop_answering_are_told_with_alias_date_and_days(registered: str, catalogue: Catalogue) -> None:
    said = retiring_sentences(watched(catalogue))
    assert said[0] == (
        "4 of 6 registered versions stop answering within 180 days; the first, stars@champion, on 2027-01-14 (47 days)."
    )


def test_a_model_at_another_provider_is_another_model(registered: str, catalogue: Catalogue) -> None:
    assert {one.on for one in watched(catalogue).known if one.asked.name == "old-model"} == {date(2027, 1, 14)}


def test_a_fine_tune_retires_with_the_model_it_was_made_from(registered: str, catalogue: Catalogue) -> None:
    [answers] = [one for one in watched(catalogue).near if one.use.model == "tuned" and one.stops == "answers"]
    assert (answers.on, answers.through) == (date(2027, 3, 1), TUNED.base_model)


def test_a_date_of_a_services_own_for_fine_tunes_wins_over_that_of_the_base(registered: str) -> None:
    base = listed("compatible", TUNED.base_model, retires=date(2027, 1, 1), tuned_retires=date(2028, 1, 1))
    [answers] = watched(known(base)).known
    assert answers.on == date(2028, 1, 1)


def test_the_end_of_fine_tuning_is_told_for_fine_tunes_only(registered: str, catalogue: Catalogue) -> None:
    watch = watched(known(listed("compatible", "old-model", fine_tuning_until=TODAY), *catalogue.models[1:]))
    assert [one.use.name for one in watch.near if one.stops == "fine-tuning"] == ["tuned/1"]
    assert "can be fine-tuned no more on 2026-12-31 (33 days)" in " ".join(retiring_sentences(watch))


def test_what_is_in_use_comes_before_what_is_not(registered: str, catalogue: Catalogue) -> None:
    names = [one.use.name for one in watched(catalogue).near if one.stops == "answers"]
    assert names == ["stars/3", "tuned/1", "stars/2", "stars/1"]


def test_versions_that_nothing_uses_share_a_line(registered: str, catalogue: Catalogue) -> None:
    text = repr(shown(watched(catalogue)))
    assert "stars/1-2" in text
    assert "stars/2 " not in text


def test_a_model_that_has_retired_is_told_first_and_in_plain_words(registered: str, catalogue: Catalogue) -> None:
    watch = watched(catalogue, today=date(2027, 1, 24))
    assert retiring_sentences(watch)[:2] == (
        "3 of 6 registered versions ask a model that has retired; the first, stars@champion, since 2027-01-14 "
        "(10 days ago).",
        "1 of 6 registered versions stops answering within 180 days; the first, tuned@champion, on 2027-03-01 "
        "(36 days).",
    )


def test_a_model_stops_on_the_day_itself(registered: str, catalogue: Catalogue) -> None:
    assert "since 2027-01-14 (today)" in retiring_sentences(watched(catalogue, today=date(2027, 1, 14)))[0]


def test_where_nothing_retires_one_line_says_so_and_what_comes_next(registered: str, catalogue: Catalogue) -> None:
    watch = watched(catalogue, within_days=20)
    assert retiring_sentences(watch) == (
        "None of 6 registered versions stops answering within 20 days. The next is stars@champion, on 2027-01-14 "
        "(47 days).",
    )
    assert len(repr(shown(watch)).strip().splitlines()) <= 4


def test_versions_of_which_no_date_is_known_are_counted(registered: str) -> None:
    watch = watched(known(listed("compatible", "old-model", retires=date(2027, 1, 14))))
    assert [one.name for one in watch.unknown] == ["tuned/1", "stars/4"]
    assert "Of 2 registered versions no date is known" in retiring_sentences(watch)[-1]


def test_a_recipe_without_a_model_never_retires(registered: str) -> None:
    assert "own/1" not in {one.name for one in watched(known()).unknown}


def test_an_empty_registry_is_said_with_the_command_that_fills_it(store: str) -> None:
    assert retiring_sentences(watched(known())) == (
        "No model is registered in this tracking store, and none is deployed on this machine.",
        "luthier log SPEC --register NAME registers one.",
    )


def test_a_task_can_be_chosen(registered: str, catalogue: Catalogue) -> None:
    assert len(watched(catalogue, task="stars").uses) == 6
    assert watched(catalogue, task="moods").uses == ()


def test_a_deployment_is_shown_beside_the_version_that_it_answers_with(registered: str, catalogue: Catalogue) -> None:
    deploy("models:/stars/2", registered)
    [second] = [one for one in watched(catalogue).near if one.use.name == "stars/2"]
    assert second.use.is_in_use
    [deployed] = second.use.deployments
    assert (deployed.name, deployed.url, deployed.status) == ("stars", "http://127.0.0.1:8080", "restarting")
    assert "(restarting)" in shown(watched(catalogue))._repr_html_()


def test_a_deployment_of_another_store_is_something_of_its_own(registered: str, catalogue: Catalogue) -> None:
    deploy("models:/stars/2", "sqlite:////elsewhere.db", name="theirs")
    [theirs] = [one for one in watched(catalogue).uses if one.kind == "deployment"]
    assert (theirs.name, theirs.asked) == ("theirs", None)


def test_a_version_of_an_earlier_luthier_is_read_from_its_files(registered: str, catalogue: Catalogue) -> None:
    before = watched(catalogue)
    for number in range(1, 5):
        mlflow.MlflowClient().delete_model_version_tag("stars", str(number), "luthier.asks")
    assert watched(catalogue) == before


def test_the_check_fails_for_what_is_in_use_only(registered: str, catalogue: Catalogue) -> None:
    with pytest.raises(GateFailed, match="stars@champion"):
        shown(watched(catalogue)).check()
    mlflow.MlflowClient().set_registered_model_alias("stars", "champion", "4")
    shown(watched(catalogue, within_days=60)).check()


def test_the_frame_has_a_row_for_each_date(registered: str, catalogue: Catalogue) -> None:
    frame = watched(catalogue).frame
    assert list(frame["name"]) == ["tuned/1", "stars/3", "tuned/1", "stars/4", "stars/2", "stars/1"]
    assert frame["on"].dt.year.tolist() == [2026, 2027, 2027, 2029, 2027, 2027]
    assert list(watched(known()).frame.columns) == list(frame.columns)


def test_days_below_zero_are_refused(registered: str) -> None:
    with pytest.raises(UserError, match="-1 days"):
        watched(known(), within_days=-1)
