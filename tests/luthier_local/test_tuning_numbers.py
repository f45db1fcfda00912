"""The training itself: the same weights after any interruption, and accuracies that are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from luthier_local.deterministic import END
from luthier_local.jobs.answer_tokens import AnswerTokens
from luthier_local.jobs.job_requests import HASHED
from luthier_local.jobs.token_table import open_table
from luthier_local.jobs.training import Hyperparameters, Training, ValidationSet
from luthier_local.jobs.tuned_network import Network

TEXTS = [f"{word} {number}" for number in range(6) for word in ("good", "bad", "fair")]
ANSWERS = ["very good", "very bad", "fair"] * 6


def training(seed: int = 1, multiplier: float = 1.0) -> Training:
    return Training(open_table(HASHED), TEXTS, ANSWERS, Hyperparameters(4, 5, multiplier, seed))


def digest_after(steps: Training, folder: Path) -> str:
    while steps.step < steps.steps:
        steps.take_step()
    return steps.network().save(folder / "model.npz")


@pytest.mark.parametrize("step", [1, 4, 7, 15])
def test_training_that_stops_after_any_step_ends_with_the_same_weights(tmp_path: Path, step: int) -> None:
    first = training()
    while first.step < step:
        first.take_step()
    first.save(tmp_path / "state.npy")
    second = training()
    assert second.restore(tmp_path / "state.npy") and second.step == step
    assert digest_after(second, tmp_path) == digest_after(training(), tmp_path)


def test_a_state_cut_short_is_not_trusted(tmp_path: Path) -> None:
    first = training()
    first.take_step()
    first.save(tmp_path / "state.npy")
    (tmp_path / "state.npy").write_bytes((tmp_path / "state.npy").read_bytes()[:-100])
    second = training()
    assert not second.restore(tmp_path / "state.npy") and second.step == 0
    assert digest_after(second, tmp_path) == digest_after(training(), tmp_path)


def test_seed_and_learning_rate_matter(tmp_path: Path) -> None:
    made = {digest_after(training(seed, rate), tmp_path) for seed in (1, 2) for rate in (0.1, 1.0)}
    assert len(made) == 4


def test_what_is_saved_answers_as_what_was_measured(tmp_path: Path) -> None:
    done = training()
    digest_after(done, tmp_path)
    held_out = ValidationSet(done, TEXTS, ANSWERS)
    loaded = Network.load(tmp_path / "model.npz")
    np.testing.assert_allclose(loaded.shares(TEXTS), held_out.shares(done.network()), atol=1e-6)
    assert (loaded.shares(TEXTS).argmax(axis=1) == held_out.right).mean() > 0.9


def test_an_answer_never_seen_is_wrong_and_costs_a_bounded_loss(tmp_path: Path) -> None:
    done = training()
    digest_after(done, tmp_path)
    held_out = ValidationSet(done, ["good 1", "good 1"], ["very good", "unheard of"])
    measured = held_out.measure(held_out.shares(done.network()))
    assert held_out.right.tolist() == [2, -1]
    assert measured.token_accuracy < 1 and measured.loss < 14


def test_token_hits_are_those_of_writing_token_by_token() -> None:
    answers = ["a", "a b", "a b c", "b", "a c", "c"]
    answer_tokens = AnswerTokens(answers)
    shares = np.random.default_rng(0).dirichlet(np.ones(6), 40).astype(np.float32)
    right = np.random.default_rng(1).integers(0, 6, 40)
    expected = 0
    for row, place in zip(shares, right, strict=True):
        begun = ""
        for token in answer_tokens.tokens[place]:
            ranked = answer_tokens.next_tokens(begun, row.tolist())
            expected += ranked[0][0] == token
            begun += token
    assert answer_tokens.hits(shares, right) == expected


def test_the_tokens_of_an_answer_multiply_to_its_probability() -> None:
    answer_tokens = AnswerTokens(["1", "10", "100", "2"])
    shares = [0.1, 0.2, 0.4, 0.3]
    for answer, share in zip(answer_tokens.answers, shares, strict=True):
        begun, found = "", 0.0
        for token in [*answer_tokens.tokens[answer_tokens.answers.index(answer)], END]:
            found += dict(answer_tokens.next_tokens(begun, shares))[token]
            begun += token if token != END else ""
        assert np.exp(found) == pytest.approx(share)
    assert answer_tokens.next_tokens("9", shares) == [(END, 0.0)]
