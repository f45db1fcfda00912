"""Few-shot examples that are searched: what is proposed fits on the training table and shows what was measured."""

from __future__ import annotations

from typing import Any

import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Engine
from luthier.engine.options import RunOptions
from luthier.experiments.fits import fit_on
from luthier.improving.example_choices import ExampleChoices
from luthier.improving.telling_rows import wrong_positions
from luthier.techniques import Prompt
from tests.conftest import reviews, stars
from tests.improving.searching import Searching, service


def first(endpoint: Endpoint, **settings: Any) -> Prompt:
    given: dict[str, Any] = {"system": "How many stars? 1, 2, 3, 4 or 5.", "name": "stars-first"} | settings
    return lt.Prompt(stars(), "Text: {{ text }}\nAnswer:", endpoint=endpoint, **given)


def forgetful(prompt: str) -> str:
    """Wrong for every third visit, whatever the stars."""
    text = prompt.rpartition("Text: ")[2]
    words = {"terrible": "1", "disappointing": "2", "average": "3", "tasty": "4", "amazing": "5"}
    right = next(stars for word, stars in words.items() if word in text)
    return str(int(right) % 5 + 1) if int(text.split()[-2]) % 3 == 0 else right


def counts(specs: list[Prompt]) -> list[int]:
    return [spec.prompt.examples.most for spec in specs]


def test_a_prompt_without_examples_is_tried_with_wrong_rows_another_draw_and_more(engine: Engine) -> None:
    with service(answers=forgetful) as (endpoint, asked):
        search = Searching(first(endpoint), stars().rows(reviews(80), labelled=True), engine)
        before = len(asked.rows)
        found = list(ExampleChoices().propose(search, 6))
        assert len(asked.rows) == before
        assert not asked.writer
    assert counts([one.spec for one in found]) == [5, 5, 5, 10, 2, 5]
    assert "5 examples in place of none: about" in found[0].how
    assert "rows answered wrong" in found[1].how
    assert "drawn anew" in found[2].how
    assert all("tokens a row more" in one.how for one in found)
    search.measure(found[:1], range(80))
    again = [one for one in ExampleChoices().propose(search, 9) if "drawn anew" in one.how]
    assert again
    assert not any("tokens a row" in one.how for one in again if one.parent != "stars-first")
    assert {one.parent for one in found} == {"stars-first"}


def test_a_draw_with_wrong_rows_shows_as_many_when_it_is_fitted(engine: Engine) -> None:
    with service(answers=forgetful) as (endpoint, _):
        rows = stars().rows(reviews(80), labelled=True)
        search = Searching(first(endpoint), rows, engine)
        proposal = ExampleChoices().propose(search, 2)[1]
        fitted = fit_on(proposal.spec, rows, RunOptions(engine=engine))
    wrong = {rows.texts[place] for place in wrong_positions(search.measured[0], rows)}
    shown = [example["inputs"]["text"] for example in fitted.state["examples"]]
    assert f"{sum(text in wrong for text in shown)} of them" in proposal.how
    assert sum(text in wrong for text in shown) >= 3


def test_a_row_is_never_asked_with_itself_as_an_example(engine: Engine) -> None:
    with service() as (endpoint, asked):
        rows = stars().rows(reviews(40), labelled=True)
        search = Searching(first(endpoint), rows, engine)
        asked.rows.clear()
        search.measure(ExampleChoices().propose(search, 4), range(40))
        assert len(asked.rows) >= 4 * 38
        for prompt in asked.rows:
            text = prompt.rpartition("Text: ")[2].removesuffix("\nAnswer:")
            assert prompt.count(text) == 1


def test_what_was_measured_is_not_proposed_again_and_an_equal_search_proposes_the_same(engine: Engine) -> None:
    with service() as (endpoint, _):
        search = Searching(first(endpoint), stars().rows(reviews(40), labelled=True), engine)
        seen = {search.start.digest}
        for _round in range(3):
            found = ExampleChoices().propose(search, 3)
            assert [one.spec for one in found] == [one.spec for one in ExampleChoices().propose(search, 3)]
            assert len(found) == 3
            assert not seen & {one.spec.digest for one in found}
            seen |= {one.spec.digest for one in found}
            search.measure(found, range(40))


def test_a_prompt_with_examples_is_tried_with_more_and_fewer_and_none(engine: Engine) -> None:
    with service() as (endpoint, _):
        search = Searching(first(endpoint, examples=4), stars().rows(reviews(80), labelled=True), engine)
        found = ExampleChoices().propose(search, 5)
    assert sorted(counts([one.spec for one in found])) == [0, 2, 4, 4, 8]
    assert {one.how.partition(":")[0] for one in found} >= {"8 examples in place of 4", "no examples in place of 4"}


def test_long_texts_are_shown_as_fewer_and_shorter_examples(engine: Engine) -> None:
    table = reviews(80)
    table["text"] = [text + " word" * (400 + number * 10) for number, text in enumerate(table["text"])]
    with service() as (endpoint, _):
        search = Searching(first(endpoint), stars().rows(table, labelled=True), engine)
        found = ExampleChoices().propose(search, 4)
    assert all(one.spec.prompt.examples.max_characters == 4100 for one in found)
    assert max(counts([one.spec for one in found])) <= 6


def test_a_small_table_gives_few_examples_and_the_ideas_end(engine: Engine) -> None:
    with service() as (endpoint, _):
        search = Searching(first(endpoint), stars().rows(reviews(12), labelled=True), engine)
        found = ExampleChoices().propose(search, 1000)
    assert set(counts([one.spec for one in found])) == {2}
    assert 1 < len(found) < 400


@pytest.mark.parametrize("labels", [40, 2])
def test_many_labels_are_not_all_shown(labels: int, engine: Engine) -> None:
    task = lt.Task("topic", labels=[f"topic {number}" for number in range(labels)], label="topic")
    table = reviews(200).assign(topic=[f"topic {number % labels}" for number in range(200)])
    with service(answers=lambda _: "topic 0") as (endpoint, _):
        spec = lt.Prompt(task, "Topic of {{ text }}?", endpoint=endpoint)
        search = Searching(spec, task.rows(table, labelled=True), engine)
        found = ExampleChoices().propose(search, 1)
    assert counts([one.spec for one in found]) == [16 if labels == 40 else 2]


def test_nearest_examples_change_their_number_only_and_searched_ones_stay(engine: Engine) -> None:
    nearest = {"count": 4, "select": "nearest", "endpoint": {"provider": "local", "model": "wordllama-256"}}
    with service() as (endpoint, _):
        search = Searching(first(endpoint), stars().rows(reviews(80), labelled=True), engine)
        best = search._measured[0]
        search._measured = [type(best)(**{**vars(best), "spec": first(endpoint, examples=nearest)})]
        found = ExampleChoices().propose(search, 9)
        assert counts([one.spec for one in found]) == [8, 2]
        searched = first(endpoint, examples={"count": 4, "select": "searched"})
        search._measured = [type(best)(**{**vars(best), "spec": searched})]
        assert not ExampleChoices().propose(search, 9)
        assert "searches for examples itself" in search.notes[0]
