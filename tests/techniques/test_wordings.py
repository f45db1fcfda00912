"""What makes two prompts the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

import luthier as lt
from luthier.techniques.wordings import digest_of_wording, prompt_digest, wording_of, wording_text
from luthier.tracking.runs import TAGS, made_from, spec_tags

MOOD = lt.Task("mood", labels=["good", "bad"])


def worded(template: str = "Mood of: {{ text }}", **settings: Any) -> lt.Prompt:
    return lt.Prompt(MOOD, template, endpoint=lt.openai("some-model"), **settings)


@pytest.mark.parametrize(
    "same",
    [
        worded(name="other"),
        worded().with_endpoint(lt.openai("other-model")),
        worded(decoding={"temperature": 0.7, "max_tokens": 5}),
        worded(seed=8),
        worded(style="chat"),
        worded(answer={"words": {"good": "good", "bad": "bad"}}),
    ],
)
def test_a_name_a_model_and_decoding_do_not_change_a_wording(same: lt.Prompt) -> None:
    assert prompt_digest(same) == prompt_digest(worded())


@pytest.mark.parametrize(
    "changed",
    [
        worded("Mood of:  {{ text }}"),
        worded(system="Be brief."),
        worded(style="completion"),
        worded(examples=1),
        worded(answer="json"),
        worded(answer={"words": {"good": "fine", "bad": "poor"}}),
    ],
)
def test_whatever_changes_what_is_asked_changes_the_wording(changed: lt.Prompt) -> None:
    assert prompt_digest(changed) != prompt_digest(worded())


def test_a_seed_changes_the_wording_only_where_examples_are_drawn_by_it() -> None:
    drawn = [prompt_digest(worded(examples=2, seed=seed)) for seed in (1, 2)]
    assert drawn[0] != drawn[1]
    assert drawn[1] == prompt_digest(worded(examples={"count": 2, "seed": 2}))


def test_other_labels_or_another_order_of_them_are_another_wording() -> None:
    wider = lt.Task("mood", labels=["good", "bad", "mixed"])
    turned = lt.Task("mood", labels=["bad", "good"])
    asked = [lt.Prompt(task, "Mood of: {{ text }}", endpoint=lt.openai("m")) for task in (MOOD, wider, turned)]
    assert len(set(map(prompt_digest, asked))) == 3


def test_stored_digests_stay_what_they_are() -> None:
    few = worded(system="Be brief.", examples=2, answer={"words": {"good": "fine", "bad": "poor"}})
    assert prompt_digest(worded()) == "ddb59a1b47a4e4cbced6e69eb6501d85c42f7ade0052c3a29337374da9edee81"
    assert prompt_digest(few) == "9207d9abba83a9edef6ee25ece78645f899ad7d42fc2e183da0bde36b6f8b49d"
    assert (
        prompt_digest(lt.Decision(MOOD, question="Happy?", endpoint=lt.openai("m")))
        == "cf6b9cde88b36d7477e7b3ab4c0618d56c05f675a937039acbb859835d3dbf4f"
    )


def test_a_wording_kept_as_json_has_the_digest_of_its_spec() -> None:
    kept = json.loads(json.dumps(wording_of(worded(examples={"count": [1, 3], "select": "searched"}))))
    assert digest_of_wording(kept) == prompt_digest(worded(examples={"count": [1, 3], "select": "searched"}))
    assert "examples: count [1, 3], select searched, seed 7, samples 30, rows 100" in wording_text(kept)


def test_a_run_is_tagged_with_what_it_asks_and_what_that_was_made_from() -> None:
    tags = spec_tags(worded()) | made_from(worded(system="Be brief."), "by hand")
    assert tags[TAGS["prompt_digest"]] == prompt_digest(worded())
    assert tags[TAGS["prompt_parent"]] == prompt_digest(worded(system="Be brief."))
    assert tags[TAGS["prompt_how"]] == "by hand"
    assert made_from(lt.Baseline(MOOD), "by hand") == {}
    assert TAGS["prompt_digest"] not in spec_tags(lt.Baseline(MOOD))
