"""Chains of conditions with a known truth: what each change does was put there by the test."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from luthier.errors import DataError
from luthier.evaluation.audits import audit_of_attributions
from luthier.evaluation.decomposition import Attribution, Condition, Reported, decompose
from luthier.evaluation.metrics import evaluate
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task

LOST = Prediction(None, "off_label", error="none of the labels", call=CallRecord("lovely!"))


@pytest.fixture
def stars() -> Task:
    return Task("stars", type="rating", label="stars", labels=[1, 2, 3, 4, 5])


def rows(count: int, seed: int = 1, weights: Sequence[int] = (1, 1, 1, 1, 1)) -> Rows:
    labels = random.Random(seed).choices("12345", weights, k=count)
    return Rows(tuple({"text": f"text {seed}-{i}"} for i in range(count)), tuple(labels), "text")


def answers(table: Rows, right: float, seed: int = 1) -> tuple[Prediction, ...]:
    """The right label for the first share of the rows, the next label for the others."""
    cut = round(right * len(table))
    order = random.Random(seed).sample(range(len(table)), len(table))
    place = {row: i for i, row in enumerate(order)}
    return tuple(
        Prediction(str(label) if place[i] < cut else str(int(str(label)) % 5 + 1), "ok")
        for i, label in enumerate(table.labels)
    )


def figures(task: Task, table: Rows, predictions: Sequence[Prediction]) -> dict[str, float]:
    found = evaluate(task, [str(label) for label in table.labels], predictions, resamples=10)
    return {name: found[name].value for name in ("weighted_f1", "accuracy", "qwk", "mse")}


def shares(found: Attribution, metric: str = "accuracy") -> dict[str, float]:
    one = next(d for d in found.decompositions if d.metric == metric)
    return {part.changes: part.share.value for part in one.parts}


def test_the_parts_add_up_to_the_whole_in_every_metric(stars: Task) -> None:
    service, test = rows(300), rows(200, seed=2, weights=(3, 1, 1, 1, 2))
    first = answers(service, 0.8)
    chain = [
        Condition("terms", "definition", service, first),
        Condition("free", "labels", service, (LOST,) * 9 + first[9:]),
        Condition("serving prompt", "prompt", service, answers(service, 0.7)),
        Condition("temperature 1", "decoding", service, answers(service, 0.66)),
        Condition("test", "rows", test, answers(test, 0.5)),
    ]
    reported = Reported({name: value + 0.02 for name, value in figures(stars, service, first).items()}, 300)
    found = decompose("job", stars, reported, chain, resamples=200)
    assert [one.metric for one in found.decompositions] == ["weighted_f1", "accuracy", "qwk", "mse"]
    for one in found.decompositions:
        changes = [part.changes for part in one.parts]
        assert changes == ["definition", "labels", "prompt", "decoding", "mix", "rows"]
        assert sum(part.share.value for part in one.parts) == pytest.approx(one.difference, abs=1e-12)
        assert one.measured.value == pytest.approx(figures(stars, test, chain[-1].predictions)[one.metric])


@pytest.mark.parametrize("alone", ["definition", "labels", "prompt", "decoding", "rows"])
def test_a_change_that_alone_is_responsible_gets_the_whole(stars: Task, alone: str) -> None:
    service = rows(400)
    # The same labels under other texts: the labels have the same shares, the model the same accuracy.
    test = Rows(tuple({"text": f"other {i}"} for i in range(400)), service.labels, "text")
    good, bad = answers(service, 0.8), answers(service, 0.6)
    lossy = tuple(LOST if p.label != worse.label else p for p, worse in zip(good, bad, strict=True))
    predictions = good
    chain = [Condition("terms", "definition", service, good)]
    for changes in ("labels", "prompt", "decoding", "rows"):
        if changes == alone:
            predictions = lossy if changes == "labels" else bad
        chain.append(Condition(changes, changes, test if changes == "rows" else service, predictions))
    said = 1.0 if alone == "definition" else 0.8
    found = decompose("job", stars, Reported({"accuracy": said}, 400), chain, resamples=400)
    parts = shares(found)
    assert parts.pop(alone) == pytest.approx(0.2)
    assert all(share == pytest.approx(0, abs=1e-12) for share in parts.values())
    for part in found.decompositions[0].parts:
        if part.changes == alone:
            assert part.p is None if alone == "definition" else part.p is not None and part.p < 0.01
        else:
            assert part.p is None or part.p > 0.3


def test_labels_in_other_proportions_are_told_from_other_texts(stars: Task) -> None:
    service, test = rows(2000), rows(2000, seed=2, weights=(1, 1, 1, 1, 12))

    def blind_to_five(table: Rows) -> tuple[Prediction, ...]:
        return tuple(Prediction("1" if label == "5" else label, "ok") for label in table.labels)

    chain = [
        Condition("terms", "definition", service, blind_to_five(service)),
        Condition("test", "rows", test, blind_to_five(test)),
    ]
    found = decompose("job", stars, Reported(figures(stars, service, chain[0].predictions), 2000), chain)
    parts = shares(found)
    assert parts["mix"] > 0.4
    assert parts["rows"] == pytest.approx(0, abs=1e-9)


def test_a_label_the_services_rows_do_not_have_leaves_the_rows_in_one_part(stars: Task) -> None:
    service, test = rows(100, weights=(1, 1, 1, 1, 0)), rows(100, seed=2)
    chain = [
        Condition("terms", "definition", service, answers(service, 0.7)),
        Condition("test", "rows", test, answers(test, 0.7)),
    ]
    parts = shares(decompose("job", stars, Reported({"accuracy": 0.7}, 100), chain, resamples=100))
    assert list(parts) == ["definition", "rows"]


@pytest.mark.slow
def test_rows_drawn_from_one_source_stay_within_the_noise_and_its_interval(stars: Task) -> None:
    beyond = excluded = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        service, test = rows(532, seed=1000 + seed), rows(338, seed=2000 + seed)

        def asked(table: Rows, generator: np.random.Generator = generator) -> tuple[Prediction, ...]:
            right = generator.random(len(table)) < 0.5
            return tuple(
                Prediction(str(label) if hit else str(int(str(label)) % 5 + 1), "ok")
                for label, hit in zip(table.labels, right, strict=True)
            )

        terms = asked(service)
        chain = [Condition("terms", "definition", service, terms), Condition("test", "rows", test, asked(test))]
        reported = Reported({"accuracy": figures(stars, service, terms)["accuracy"]}, 532)
        one = decompose("job", stars, reported, chain, resamples=300, seed=seed).decompositions[0]
        beyond += abs(one.difference) > one.noise
        part = one.parts[-1].share
        assert part.low is not None and part.high is not None
        excluded += not part.low <= 0 <= part.high
    assert beyond <= 8
    assert excluded <= 8


def test_rows_the_service_does_not_name_put_chance_into_the_unexplained(stars: Task) -> None:
    table = rows(300)
    chain = [Condition("measured", "definition", table, answers(table, 0.6))]
    known = decompose("job", stars, Reported({"accuracy": 0.6}, 300), chain, resamples=200)
    unknown = decompose("job", stars, Reported({"accuracy": 0.6}), chain, resamples=200)
    assert known.decompositions[0].parts[0].share.low is None
    assert known.decompositions[0].noise == 0
    part = unknown.decompositions[0].parts[0].share
    assert part.low is not None and part.low < -0.04
    assert unknown.decompositions[0].noise == pytest.approx(1.96 * (2 * 0.24 / 300) ** 0.5, rel=0.2)
    assert any("does not say which rows" in note for note in unknown.notes)


def test_an_accuracy_that_is_no_whole_share_of_the_rows_gives_the_service_away(stars: Task) -> None:
    table = rows(338)
    chain = [Condition("measured", "definition", table, answers(table, 0.5))]
    found = decompose("job", stars, Reported({"accuracy": 277 / 532}, 338), chain, resamples=100)
    assert any("no whole share of 338 rows" in note for note in found.notes)
    assert found.decompositions[0].parts[0].share.low is not None


def test_changed_answers_are_counted_and_shown_the_lost_ones_first(stars: Task) -> None:
    table = Rows(tuple({"text": t} for t in "abcde"), ("1", "2", "3", "4", "5"), "text")

    def told(labels: str) -> tuple[Prediction, ...]:
        return tuple(Prediction(label, "ok", call=CallRecord(label)) for label in labels)

    chain = [
        Condition("training", "definition", table, told("12455")),
        Condition("serving", "prompt", table, (*told("1334"), LOST)),
    ]
    found = decompose("job", stars, Reported({"accuracy": 0.6}, 5), chain, resamples=50)
    [switch] = found.switches
    assert (switch.rows, switch.turned, switch.lost, switch.won) == (5, 4, 2, 2)
    assert [example.text for example in switch.examples] == ["b", "e", "c", "d"]
    assert switch.examples[1].after.call.raw == "lovely!"
    assert found.conditions[1].without_label == 1


def test_rows_without_text_leave_every_condition_of_the_same_rows(stars: Task) -> None:
    table = rows(50)
    good = answers(table, 1.0)
    empty = (Prediction(None, "empty"), *good[1:])
    chain = [Condition("terms", "definition", table, good), Condition("serving", "prompt", table, empty)]
    found = decompose("job", stars, Reported({"accuracy": 1.0}, 50), chain, resamples=50)
    assert [one.rows for one in found.conditions] == [49, 49]


def test_a_chain_that_changes_more_than_it_says_is_refused(stars: Task) -> None:
    service, test = rows(20), rows(20, seed=2)
    first = Condition("terms", "definition", service, answers(service, 1.0))
    reported = Reported({"accuracy": 1.0})
    wrong: list[tuple[list[Condition], str]] = [
        ([], "no condition"),
        ([replace(first, changes="prompt")], "has to be 'definition'"),
        ([first, Condition("x", "prompt", test, answers(test, 1.0))], "on other rows"),
        ([first, Condition("x", "rows", service, answers(service, 1.0))], "on the same rows"),
        ([first, Condition("x", "weather", service, answers(service, 1.0))], "one of: labels, prompt, decoding, rows"),
        ([first, Condition("x", "prompt", service, ())], "20 rows and 0 predictions"),
    ]
    for chain, says in wrong:
        with pytest.raises(DataError, match=says):
            decompose("job", stars, reported, chain, resamples=10)
    with pytest.raises(DataError, match="none of the reported metrics"):
        decompose("job", stars, Reported({"auroc": 0.5}), [first], resamples=10)


def test_three_jobs_are_compared_as_models_too(stars: Task) -> None:
    table = rows(100)
    jobs = [
        decompose(
            name,
            stars,
            Reported({"accuracy": right + 0.05}),
            [Condition("measured", "definition", table, answers(table, right))],
            resamples=50,
        )
        for name, right in (("a", 0.4), ("b", 0.5), ("c", 0.6))
    ]
    audit = audit_of_attributions("sweep", jobs)
    assert audit.agreements[0].difference.value == pytest.approx(0.05)
    assert not audit_of_attributions("two", jobs[:2]).agreements
    with pytest.raises(DataError, match="two jobs are called a"):
        audit_of_attributions("twice", [jobs[0], jobs[0]])
