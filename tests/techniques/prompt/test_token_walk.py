from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest

from luthier.providers.exchange import TokenChoices
from luthier.techniques.prompt.token_walk import WalkScores, apart_at_once, walk
from tests.conversing import weighed

Model = Callable[[str], TokenChoices]


def run(words: Sequence[str], model: Model, **settings: float) -> tuple[WalkScores | None, list[str]]:
    asked: list[str] = []
    steps = walk(words, **settings)  # type: ignore[arg-type]
    texts = next(steps)
    try:
        while True:
            asked += texts
            texts = steps.send([model(text) for text in texts])
    except StopIteration as end:
        return end.value, asked


def table(nodes: dict[str, dict[str, float]]) -> Model:
    return lambda text: weighed(nodes[text])


def toy_model(seed: int, vocabulary: Sequence[str]) -> Model:
    def model(text: str) -> TokenChoices:
        drawn = random.Random(f"{seed}/{text}")
        weights = [math.exp(drawn.gauss(0, 2)) for _ in vocabulary]
        total = math.fsum(weights)
        return weighed({token: weight / total for token, weight in zip(vocabulary, weights, strict=True)})

    return model


def by_every_tokenisation(words: Sequence[str], model: Model) -> list[float]:
    """Follows every token sequence by itself, nothing merged, until one word is left or a word ends."""
    got = dict.fromkeys(words, 0.0)

    def follow(path: tuple[str, ...], mass: float) -> None:
        text = "".join(path)
        body = text.lstrip().lower()
        going_on = 0.0
        for token, logprob in model(text):
            p = math.exp(logprob)
            if text and not body and token[0].isspace():
                continue
            after = (text + token).lstrip().lower()
            if not after:
                if "\n" in token:
                    continue
                follow((*path, token), mass * p)
                continue
            left = [word for word in words if word.startswith(after)]
            if not left and after.rstrip() != body:
                left = [word for word in words if word == after.rstrip()]
            if not left:
                continue
            going_on += p
            if len(left) == 1:
                got[left[0]] += mass * p
            else:
                follow((*path, token), mass * p)
        if body in words:
            got[body] += mass * (1 - going_on)

    follow((), 1.0)
    total = math.fsum(got.values())
    return [got[word] / total for word in words]


@pytest.mark.parametrize("seed", range(60))
def test_the_walk_is_the_sum_over_all_tokenisations(seed: int) -> None:
    drawn = random.Random(seed)
    letters = "abAB1 "
    words = {"".join(drawn.choices("ab1", k=drawn.randint(1, 4))) for _ in range(drawn.randint(2, 6))}
    words |= {f"{word} a" for word in list(words)[:1]}
    if len(words) < 2:
        words |= {"b1ab"}
    ordered = sorted(words)
    pieces = {"".join(drawn.choices(letters, k=drawn.randint(2, 4))) for _ in range(12)}
    vocabulary = sorted({*letters, *pieces, " a", " b", " 1", "\n", "?", "."})
    model = toy_model(seed, vocabulary)
    scores, _ = run(ordered, model, negligible=0.0)
    assert scores is not None
    assert scores.probabilities == pytest.approx(by_every_tokenisation(ordered, model), abs=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_leaving_negligible_paths_changes_little(seed: int) -> None:
    words = ["terrible", "poor", "okay", "good", "great"]
    pieces = ["ter", "te", "po", "ok", "go", "gr", "g", " ter", " good", " great", " gr", " po"]
    model = toy_model(seed, sorted({*"teriblpokaygdo \n?", *pieces}))
    exact, everything = run(words, model, negligible=0.0)
    quick, fewer = run(words, model)
    assert exact is not None
    assert quick is not None
    assert len(fewer) <= len(everything)
    assert quick.probabilities == pytest.approx(exact.probabilities, abs=0.01)


def test_probabilities_sum_to_one() -> None:
    scores, _ = run(["a", "b"], table({"": {"a": 0.2, "b": 0.1, "c": 0.7}}))
    assert scores is not None
    assert math.fsum(scores.probabilities) == pytest.approx(1)


def test_a_leading_space_and_another_case_count_for_the_same_label() -> None:
    scores, _ = run(["good", "bad"], table({"": {"good": 0.1, " good": 0.2, " Good": 0.3, " bad": 0.4}}))
    assert scores is not None
    assert scores.probabilities == pytest.approx((0.6, 0.4))


def test_labels_that_differ_by_case_only_are_kept_apart() -> None:
    scores, _ = run(["us", "US"], table({"": {"us": 0.25, "US": 0.75}}))
    assert scores is not None
    assert scores.probabilities == pytest.approx((0.25, 0.75))


def test_single_tokens_need_one_request() -> None:
    _, asked = run(["1", "2"], table({"": {"1": 0.5, "2": 0.5}}))
    assert asked == [""]


def test_a_half_word_that_one_label_begins_with_is_not_asked_further() -> None:
    _, asked = run(["terrible", "good"], table({"": {" terr": 0.5, " good": 0.5}}))
    assert asked == [""]


def test_only_branching_nodes_are_asked() -> None:
    nodes = {"": {" g": 0.5, " bad": 0.5}, " g": {"reat": 0.25, "ood": 0.75}}
    scores, asked = run(["great", "good", "bad"], table(nodes))
    assert asked == ["", " g"]
    assert scores is not None
    assert scores.probabilities == pytest.approx((0.125, 0.375, 0.5))


def test_a_label_that_begins_another_gets_what_does_not_go_on() -> None:
    nodes = {"": {"1": 0.8, "2": 0.2}, "1": {"0": 0.3, "\n": 0.4, "7": 0.3}}
    scores, _ = run(["1", "10", "2"], table(nodes))
    assert scores is not None
    assert scores.probabilities == pytest.approx((0.56, 0.24, 0.2))


def test_an_answer_that_ends_at_once_ends_the_shorter_label() -> None:
    model = {"": weighed({"1": 0.8, "2": 0.2}), "1": ()}
    scores, _ = run(["1", "10", "2"], lambda text: model[text])
    assert scores is not None
    assert scores.probabilities[0] == pytest.approx(0.8)


def test_a_token_of_white_space_alone_is_walked_through() -> None:
    scores, asked = run(["1", "2"], table({"": {" ": 0.9, "?": 0.1}, " ": {"1": 0.25, "2": 0.75}}))
    assert asked == ["", " "]
    assert scores is not None
    assert scores.probabilities == pytest.approx((0.25, 0.75))


def test_a_rare_newline_costs_no_request() -> None:
    _, asked = run(["1", "2"], table({"": {"1": 0.6, "2": 0.3995, "\n": 0.0005}}))
    assert asked == [""]


def test_a_longer_number_is_not_the_label() -> None:
    scores, _ = run(["4", "5"], table({"": {"45": 0.5, "4": 0.2, "5": 0.3}}))
    assert scores is not None
    assert scores.probabilities == pytest.approx((0.4, 0.6))


def test_a_label_outside_the_choices_takes_the_smallest_returned() -> None:
    scores, _ = run(["1", "2", "3"], table({"": {"1": 0.4, "2": 0.2, "?": 0.1}}))
    assert scores is not None
    assert scores.probabilities == pytest.approx((4 / 7, 2 / 7, 1 / 7))


def test_a_label_outside_the_choices_takes_no_more_than_they_leave() -> None:
    scores, _ = run(["1", "2"], table({"": {"1": 0.9}}))
    assert scores is not None
    assert scores.probabilities == pytest.approx((0.9, 0.1), abs=1e-5)


def test_a_label_outside_the_choices_censors_the_row() -> None:
    scores, _ = run(["1", "2", "3"], table({"": {"1": 0.6, "2": 0.3, "?": 0.1}}))
    assert scores is not None
    assert scores.censored


def test_a_row_with_every_label_returned_is_not_censored() -> None:
    scores, _ = run(["1", "2"], table({"": {"1": 0.6, "2": 0.3, "?": 0.1}}))
    assert scores is not None
    assert not scores.censored


def test_the_bound_of_an_inner_node_is_a_share_of_that_node() -> None:
    nodes = {"": {"g": 0.5, "bad": 0.5}, "g": {"reat": 0.6, "?": 0.1}}
    scores, _ = run(["great", "good", "bad"], table(nodes))
    assert scores is not None
    assert scores.probabilities == pytest.approx((0.3 / 0.85, 0.05 / 0.85, 0.5 / 0.85))


def test_without_any_label_there_are_no_scores() -> None:
    assert run(["1", "2"], table({"": {"The": 0.9, "I": 0.1}}))[0] is None


def test_without_choices_there_are_no_scores() -> None:
    assert run(["1", "2"], lambda text: ())[0] is None


def test_without_following_only_the_first_position_counts() -> None:
    scores, asked = run(["1", "2"], table({"": {"1": 0.3, "2": 0.3, "\n": 0.4}}), follow=False)
    assert asked == [""]
    assert scores is not None
    assert scores.probabilities == pytest.approx((0.5, 0.5))


def test_a_likeliest_token_with_probability_zero_breaks_nothing() -> None:
    scores, _ = run(["1", "2"], lambda text: (("1", -0.0), ("2", -1e4)))
    assert scores is not None
    assert scores.probabilities == pytest.approx((1, 0))


def test_words_apart_at_once_ignore_case() -> None:
    assert not apart_at_once(["Good", "great"])
