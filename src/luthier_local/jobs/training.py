"""Training: token vectors and a softmax head, updated together by mini-batch Adam, in numpy.

The same hyperparameters, seed and examples give the same weights, bit for bit, also when training stops after any
step and continues from the saved state: the order of an epoch depends on the seed and the epoch's number alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from luthier_local.jobs.answer_tokens import AnswerTokens
from luthier_local.jobs.chat_examples import JobError
from luthier_local.jobs.job_store import write_whole
from luthier_local.jobs.token_table import Floats, Integers, TokenTable
from luthier_local.jobs.tuned_network import Network, softmax, token_frequencies
from luthier_local.tokenizer import count_tokens

__all__ = ["HeldOutFigures", "ValidationSet", "Hyperparameters", "StepFigures", "Training"]

HEAD_RATE = 0.02
"""Learning rate of the head at a multiplier of 1."""
VECTOR_RATE = 0.002
"""Learning rate of the token vectors at a multiplier of 1."""
_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8
_LEAST_SHARE = 1e-6
"""Probability counted for an answer that training never saw."""


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of a job, each a number."""

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    seed: int


class StepFigures(NamedTuple):
    """Figures of one step on its own batch, before the update."""

    loss: float
    sequence_accuracy: float
    token_accuracy: float


class HeldOutFigures(NamedTuple):
    """Figures on held-out rows."""

    loss: float
    token_accuracy: float


class ValidationSet:
    """Held-out examples, encoded once, and the figures on them."""

    def __init__(self, training: Training, texts: Sequence[str], answers: Sequence[str]) -> None:
        self._training = training
        self.frequencies = token_frequencies(
            training.token_table.encode(texts), training.rows, training.token_table, training.scale
        )
        known = {answer: place for place, answer in enumerate(training.answers)}
        self.right: Integers = np.array([known.get(answer, -1) for answer in answers], np.int64)
        """Index of the right answer among the known ones; -1: training never saw it."""
        self._lengths = np.array([count_tokens(answer) for answer in answers])

    def __len__(self) -> int:
        return len(self.right)

    def shares(self, network: Network) -> Floats:
        """Probabilities, shape (examples, answers)."""
        return network.shares_of(self.frequencies)

    def measure(self, shares: Floats, some: Integers | None = None) -> HeldOutFigures:
        """Loss and accuracy per token of all examples, or of those whose indices are given."""
        right = self.right if some is None else self.right[some]
        lengths = self._lengths if some is None else self._lengths[some]
        known = right >= 0
        found = np.full(len(right), _LEAST_SHARE)
        found[known] = np.maximum(shares[known, right[known]], _LEAST_SHARE)
        hits = self._training.answer_tokens.hits(shares[known], right[known])
        total = int(lengths.sum())
        return HeldOutFigures(float(-np.log(found).sum() / total), hits / total)


class Training:
    """One job's weights and the optimiser's state."""

    def __init__(
        self, token_table: TokenTable, texts: Sequence[str], answers: Sequence[str], settings: Hyperparameters
    ) -> None:
        self.token_table = token_table
        self.settings = settings
        self.answers = sorted(set(answers))
        self.answer_tokens = AnswerTokens(self.answers)
        place = {answer: number for number, answer in enumerate(self.answers)}
        self._right = np.array([place[answer] for answer in answers], np.int64)
        self.tokens = np.array([count_tokens(text) for text in texts], np.int64)
        """Tokens of each example, its answer included."""
        self.tokens += self.answer_tokens.lengths[self._right]
        encoded = token_table.encode(texts)
        self.rows: Integers = np.unique(np.concatenate(encoded))
        unscaled = token_frequencies(encoded, self.rows, token_table, 1.0)
        lengths = np.linalg.norm(unscaled.features(token_table.vectors[self.rows]), axis=1)
        # Features have length one on average, so that one learning rate fits any table.
        self.scale = float(1 / lengths.mean()) if lengths.any() else 1.0
        self._frequencies = unscaled.trained
        size, classes = token_table.vectors.shape[1], len(self.answers)
        self._weights: dict[str, Floats] = {
            "vectors": token_table.vectors[self.rows] * np.float32(self.scale),
            "head": np.zeros((size, classes), np.float32),
            "bias": np.zeros(classes, np.float32),
        }
        self._first = {name: np.zeros_like(weight) for name, weight in self._weights.items()}
        self._second = {name: np.zeros_like(weight) for name, weight in self._weights.items()}
        self.step = 0
        self.steps_per_epoch = -(-len(self._right) // settings.batch_size)
        self.steps = self.steps_per_epoch * settings.n_epochs
        self._drawn: tuple[int, Integers] | None = None

    def batch(self, step: int) -> Integers:
        """Indices of the examples of a step; steps count from 0."""
        epoch, within = divmod(step, self.steps_per_epoch)
        size = self.settings.batch_size
        return self._order(epoch)[within * size : (within + 1) * size]

    def seen(self) -> tuple[int, int]:
        """Tokens and examples that the steps so far have read, those before a restart included."""
        epochs, within = divmod(self.step, self.steps_per_epoch)
        read = self._order(epochs)[: within * self.settings.batch_size]
        tokens = epochs * int(self.tokens.sum()) + int(self.tokens[read].sum())
        return tokens, epochs * len(self.tokens) + len(read)

    def _order(self, epoch: int) -> Integers:
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, np.random.default_rng([self.settings.seed, epoch]).permutation(len(self._right))
        return self._drawn[1]

    # An overflow shows in the loss.
    @np.errstate(over="ignore", invalid="ignore")
    def take_step(self) -> StepFigures:
        """Measures the next batch and updates the weights.

        Raises:
            JobError: The loss is not finite.
        """
        some = self.batch(self.step)
        right = self._right[some]
        rows = np.arange(len(some))
        frequencies = self._frequencies[some]
        # Only the vectors of the tokens in the batch are touched.
        columns, narrow = np.unique(frequencies.indices, return_inverse=True)
        frequencies = csr_matrix((frequencies.data, narrow, frequencies.indptr), shape=(len(some), len(columns)))
        vectors, head = self._weights["vectors"][columns], self._weights["head"]
        features = frequencies @ vectors
        shares = softmax(features @ head + self._weights["bias"])
        figures = self._figures(shares, right)
        error = shares
        error[rows, right] -= 1
        error /= len(some)
        self.step += 1
        self._update("vectors", frequencies.T @ (error @ head.T), VECTOR_RATE, columns)
        self._update("head", features.T @ error, HEAD_RATE)
        self._update("bias", error.sum(axis=0), HEAD_RATE)
        if not math.isfinite(figures.loss):
            raise self._diverged()
        return figures

    def _figures(self, shares: Floats, right: Integers) -> StepFigures:
        total = int(self.answer_tokens.lengths[right].sum())
        own = np.maximum(shares[np.arange(len(right)), right], 1e-12)
        hits = self.answer_tokens.hits(shares, right)
        whole = float((shares.argmax(axis=1) == right).mean())
        return StepFigures(float(-np.log(own).sum() / total), whole, hits / total)

    def _update(self, name: str, slope: Floats, rate: float, columns: Integers | None = None) -> None:
        where = slice(None) if columns is None else columns
        first, second = self._first[name][where], self._second[name][where]
        # In place: otherwise megabytes would be allocated thousands of times.
        room = slope * slope
        room *= np.float32(1 - _SECOND)
        second *= np.float32(_SECOND)
        second += room
        slope *= np.float32(1 - _FIRST)
        first *= np.float32(_FIRST)
        first += slope
        if columns is not None:
            self._first[name][columns], self._second[name][columns] = first, second
        np.multiply(second, np.float32(1 / (1 - _SECOND**self.step)), out=room)
        np.sqrt(room, out=room)
        room += np.float32(_TINY)
        np.divide(first, room, out=room)
        room *= np.float32(rate * self.settings.learning_rate_multiplier / (1 - _FIRST**self.step))
        self._weights[name][where] -= room

    def measure_some(self, validation: ValidationSet, some: Sequence[int]) -> HeldOutFigures:
        """Loss and accuracy on the held-out examples at some indices, with the current weights."""
        rows = np.array(some, np.int64)
        features = validation.frequencies.rows(rows).features(self._weights["vectors"])
        return validation.measure(softmax(features @ self._weights["head"] + self._weights["bias"]), rows)

    def _diverged(self) -> JobError:
        multiplier = self.settings.learning_rate_multiplier
        return JobError(
            "training_diverged",
            f"Training diverged: after step {self.step} of {self.steps} the weights are no numbers any more. "
            f"The learning_rate_multiplier of {multiplier:g} is too large; around 0.3 is usual.",
            "learning_rate_multiplier",
        )

    def network(self) -> Network:
        """The model that would be served now, its vectors rounded to half floats.

        Raises:
            JobError: Its weights are not finite.
        """
        weights = self._weights
        with np.errstate(over="ignore", invalid="ignore"):
            served = weights["vectors"].astype(np.float16).astype(np.float32)
        if not all(np.isfinite(part).all() for part in (served, weights["head"], weights["bias"])):
            raise self._diverged()
        head, bias = weights["head"].copy(), weights["bias"].copy()
        return Network(self.token_table, self.scale, self.rows, served, head, bias, self.answers)

    def save(self, path: Path) -> None:
        """Writes the state that the next step depends on, atomically."""

        def write(file: IO[bytes]) -> None:
            np.save(file, np.array(self.step), allow_pickle=False)
            for array in self._memory():
                np.save(file, array, allow_pickle=False)

        write_whole(path, write)

    def restore(self, path: Path) -> bool:
        """Restores what `save` wrote; returns whether there was a readable state."""
        try:
            with path.open("rb") as file:
                step = int(np.load(file, allow_pickle=False))
                found = [np.load(file, allow_pickle=False) for _ in self._memory()]
        except (FileNotFoundError, EOFError, ValueError):
            # A file cut short by a loss of power: training from the start gives the same weights.
            return False
        for array, saved in zip(self._memory(), found, strict=True):
            array[...] = saved
        self.step = step
        return True

    def _memory(self) -> list[Floats]:
        return [array for part in (self._weights, self._first, self._second) for array in part.values()]
