from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

import luthier as lt
from luthier.engine.options import RunOptions
from luthier.errors import DataError
from luthier.plans import plan_rows
from luthier.responsible_ai.perturbations import (
    KINDS,
    Kind,
    PerturbedRows,
    Surroundings,
    perturbations_from,
    perturbed_rows,
)
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task
from luthier_local import LocalServer
from tests.conftest import priced, reviews, stars

STARS = stars()
SENTENCE = "The waiter recommended a wonderful dessert, and nothing about it was disappointing: not even 3.50 dollars!"


def table(texts: Sequence[str | None], task: Task = STARS) -> Rows:
    return Rows(tuple({task.text: text, "region": "north"} for text in texts), (None,) * len(texts), task.text)


def answered(labels: Sequence[object]) -> list[Prediction]:
    return [Prediction(str(label), "ok") for label in labels]


def around(seed: int = 1, *, kept: frozenset[str] = frozenset(), known: frozenset[str] = frozenset()) -> Surroundings:
    return Surroundings(random.Random(seed), "5", kept, known)


def changed(perturbed: PerturbedRows, kind: str) -> list[str]:
    texts = perturbed.rows.texts
    return [str(texts[one.asked]) for one in perturbed.changes if one.kind == kind]


@pytest.mark.parametrize("seed", range(30))
def test_a_typo_keeps_the_letters_the_first_and_the_last_of_a_word_and_every_short_word(seed: int) -> None:
    text = KINDS["typos"].change(SENTENCE, around(seed))
    assert text is not None
    pairs = [(old, new) for old, new in zip(SENTENCE.split(" "), text.split(" "), strict=True) if old != new]
    assert pairs
    for old, new in pairs:
        assert Counter(old) == Counter(new)
        assert (old[0], len(old)) == (new[0], len(new))
        assert len(old) >= 5
        assert sum(a != b for a, b in zip(old, new, strict=True)) == 2


def test_no_typo_in_labels_negations_addresses_or_towards_a_word_that_exists() -> None:
    task = Task("mood", labels=["wonderful", "disappointing"])
    rows = table(["wonderful disappointing without nothing couldn't https://example.com/dessert me@example.com"], task)
    perturbed = perturbed_rows(task, rows, answered(["wonderful"]), 1)
    assert perturbed.left_out["typos"] == 1
    # Both swaps of `causal` make other letters, one of them another word.
    for seed in range(30):
        assert KINDS["typos"].change("causal", around(seed, known=frozenset({"casual"}))) != "casual"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Great", {"typos", "case", "noise", "injection"}),
        ("ok", {"noise", "injection"}),
        ("料理がとても美味しかったです。", {"noise", "injection"}),
        ("😀👍🏽", {"noise", "injection"}),
        ("Превосходный ресторан!", {"typos", "case", "noise", "spacing", "injection"}),
        ("half \ud800 surrogate, and \x00", {"typos", "noise", "spacing", "injection"}),
    ],
    ids=["one word", "short", "CJK", "emoji", "Cyrillic", "broken"],
)
def test_a_kind_that_cannot_change_a_text_leaves_it_out_and_counts_it(text: str, kinds: set[str]) -> None:
    perturbed = perturbed_rows(STARS, table([text]), answered([1]), 1)
    assert {one.kind for one in perturbed.changes} == kinds
    assert perturbed.left_out == {name: int(name not in kinds) for name in KINDS}


def test_a_text_of_20_000_characters_has_many_typos_and_keeps_its_words() -> None:
    long = (SENTENCE + " ") * 190
    [text] = changed(perturbed_rows(STARS, table([long]), answered([1]), 1), "typos")
    different = sum(a != b for a, b in zip(long.split(), text.split(), strict=True))
    assert 200 < different < 400


def test_empty_texts_and_rows_without_a_prediction_are_not_sampled_and_equal_rows_once() -> None:
    rows = table(["good food", None, " ", "bad food", "good food"])
    predictions = [*answered([5, 1, 1]), Prediction(None, "refused"), *answered([5])]
    assert perturbed_rows(STARS, rows, predictions, 10).sampled == (0,)


def test_rows_that_differ_in_a_column_the_model_reads_are_both_sampled() -> None:
    rows = Rows(({"text": "fine food", "region": "n"}, {"text": "fine food", "region": "s"}), (None, None), "text")
    assert len(perturbed_rows(STARS, rows, answered([3, 3]), 9).sampled) == 1
    assert len(perturbed_rows(STARS, rows, answered([3, 3]), 9, columns=("region",)).sampled) == 2


def test_the_sample_has_the_predicted_labels_in_their_shares() -> None:
    labels = [1] * 700 + [3] * 200 + [5] * 100
    rows = table([f"review number {place} of a restaurant" for place in range(1000)])
    perturbed = perturbed_rows(STARS, rows, answered(labels), 50)
    assert Counter(labels[place] for place in perturbed.sampled) == {1: 35, 3: 10, 5: 5}


def test_the_same_seed_changes_the_same_rows_alike_and_the_other_columns_stay() -> None:
    rows = table([f"{SENTENCE} {place}" for place in range(40)])
    one, same = (perturbed_rows(STARS, rows, answered([2] * 40), 10) for _ in range(2))
    other = perturbed_rows(STARS, rows, answered([2] * 40), 10, seed=8)
    assert one == same
    assert one.sampled != other.sampled
    assert all(row["region"] == "north" for row in one.rows.inputs)
    assert len(one.rows) == 10 * len(KINDS)


def test_an_injection_demands_the_label_farthest_from_the_prediction_and_never_the_prediction() -> None:
    perturbed = perturbed_rows(STARS, table(["one text", "two text"]), answered([2, 5]), 2)
    assert [text[-1] + text[-2] for text in changed(perturbed, "injection")] == [".5", ".1"]
    colours = Task("colour", labels=["red", "green", "blue"])
    rows = table([f"text {place}" for place in range(60)], colours)
    targets = [one.target for one in perturbed_rows(colours, rows, answered(["red"] * 60), 60).changes if one.target]
    assert set(targets) == {"green", "blue"}


def test_flips_are_counted_against_the_unchanged_text_and_failed_calls_not_at_all() -> None:
    before = answered([1, 1, 5, 5])
    perturbed = perturbed_rows(STARS, table(["aa one", "bb two", "cc three", "dd four"]), before, 4)
    after = list(answered([1] * len(perturbed.rows)))
    for one in perturbed.changes:
        if one.kind == "injection":
            # Row 0 does as told, row 1 is refused, row 2 stays, the call of row 3 fails.
            failed = Prediction(None, "failed", call=CallRecord(transient=True))
            after[one.asked] = [*answered([5]), Prediction(None, "refused"), *answered([5]), failed][one.row]
    found = {one.kind: one for one in perturbations_from(perturbed, table(["a"] * 4), before, after)}
    injection, noise = found["injection"], found["noise"]
    assert (injection.rows, injection.unanswered) == (3, 1)
    assert injection.flips.value == pytest.approx(2 / 3)
    assert injection.to_target is not None
    assert injection.to_target.value == pytest.approx(1 / 3)
    assert {example[3] for example in injection.examples} == {"5", "no label"}
    assert (noise.rows, noise.flips.value, noise.to_target) == (4, 0.5, None)
    assert found["typos"].left_out == 3
    assert found["case"].rows == 0


def test_an_entry_is_all_that_a_new_kind_needs() -> None:
    kinds = {"shout": Kind("Every letter is a capital.", lambda text, _: text.upper())}
    before = answered([1, 2])
    perturbed = perturbed_rows(STARS, table(["one", "TWO"]), before, 2, kinds=kinds)
    [found] = perturbations_from(perturbed, table(["one", "TWO"]), before, answered([4]), kinds)
    assert (found.kind, found.rows, found.left_out, found.examples) == ("shout", 1, 1, (("one", "ONE", "1", "4"),))


def test_a_sample_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="from 1"):
        perturbed_rows(STARS, table(["a"]), answered([1]), 0)


def test_the_plan_knows_the_price_and_each_changed_text_is_one_call(server: LocalServer) -> None:
    spec = lt.Prompt(STARS, "Stars for: {{ text }}", answer="score", endpoint=priced(server), name="zero")
    options = RunOptions()
    engine = options.asking_engine()
    fitted = engine.drive(spec.fit(None), spec.endpoint, options)
    rows = STARS.rows(reviews(12, seed=2))
    before = engine.drive(spec.predict(rows, fitted), spec.endpoint, options)
    perturbed = perturbed_rows(STARS, rows, before, 5, columns=spec.columns)
    plan = plan_rows(spec, perturbed.rows, None, options, fitted=fitted)
    assert plan.calls.high == len(perturbed.rows) > 10
    asked = server.received.total
    after = engine.drive(spec.predict(perturbed.rows, fitted), spec.endpoint, options)
    assert server.received.total - asked == len(perturbed.rows)
    assert plan_rows(spec, perturbed.rows, None, options, fitted=fitted).calls.high == 0
    found = perturbations_from(perturbed, rows, before, after)
    assert [one.kind for one in found] == list(KINDS)
    assert all(one.rows + one.left_out == 5 for one in found)
