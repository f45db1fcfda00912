"""One job in training: what is measured at each step, when it is stored, and which models are kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from luthier_local.jobs.chat_examples import read_files
from luthier_local.jobs.job_store import now
from luthier_local.jobs.stored_job import StoredJob
from luthier_local.jobs.token_table import Integers, open_table
from luthier_local.jobs.training import Hyperparameters, Training, ValidationSet

__all__ = ["CLASSIFIED_ROWS", "TrainingRun"]

CLASSIFIED_ROWS = 256
"""Most validation rows that the classification figures of an epoch are taken from."""
_REPORTED_STEPS = 200
_FLUSH_SECONDS = 0.5


class TrainingRun:
    """A job in training."""

    def __init__(self, job: StoredJob, training: Training, validation: ValidationSet | None) -> None:
        self.job = job
        self._training = training
        self._validation = validation
        self._every = -(-training.steps // _REPORTED_STEPS)
        self._pending: list[tuple[int, dict[str, float]]] = []
        self._began = self._flushed = time.monotonic()
        self._first = training.step
        self._kept: tuple[int, Path, str] | None = None
        self.saved = False
        """Whether a state was saved since the run began or resumed."""
        self._classified: Integers = np.array([], np.int64)
        if validation is not None:
            # Drawn from the rows with a known answer.
            known = np.flatnonzero(validation.right >= 0)
            self._classified = np.random.default_rng(training.settings.seed).permutation(known)[:CLASSIFIED_ROWS]

    @classmethod
    def prepare(cls, job: StoredJob) -> TrainingRun:
        """Reads the files and restores the saved state, if there is one.

        Raises:
            InvalidFile: A file is wrong.
            LuthierError: The base's weights cannot be fetched.
        """
        record = job.record
        examples, held_out = read_files(job.work)
        chosen = record["hyperparameters"]
        settings = Hyperparameters(**chosen, seed=record["seed"])
        training = Training(open_table(record["_table"]), examples.texts, examples.answers, settings)
        training.restore(job.work / "state.npy")
        return cls(job, training, ValidationSet(training, held_out.texts, held_out.answers) if held_out else None)

    @property
    def step(self) -> int:
        """Steps taken, those before a restart included."""
        return self._training.step

    def run(self, between: Callable[[TrainingRun], bool]) -> None:
        """Takes the remaining steps, and ends the job.

        Args:
            between: Called after every step; true stops the run.
        """
        training = self._training
        while training.step < training.steps:
            figures = self._take_step()
            ends_epoch = training.step % training.steps_per_epoch == 0
            if ends_epoch:
                figures |= self._measure_epoch()
            self._pending.append((training.step, figures))
            if ends_epoch:
                # Figures before state: after a kill, repeated steps find their figures stored and none is missing.
                self.flush()
                self._keep_model(figures)
                self._save()
            elif time.monotonic() - self._flushed > _FLUSH_SECONDS:
                self.flush()
            if training.step < training.steps and between(self):
                return
        file, digest = self._model()
        trained = int(training.tokens.sum()) * training.settings.n_epochs
        self.job.succeed(file, digest, trained)

    def flush(self) -> None:
        """Stores the figures of the last steps."""
        training = self._training
        self._flushed = time.monotonic()
        taken = training.step - self._first
        left = (self._flushed - self._began) / taken * (training.steps - training.step) if taken else 0.0
        self.job.write_steps(self._pending, training.steps, self._every, now() + round(left))
        self._pending = []

    def keep(self) -> None:
        """Makes a checkpoint in the middle of an epoch, and saves the state."""
        if self._kept is None or self._kept[0] != self._training.step:
            found = self.job.step_figures(self._training.step)
            self._keep_model({**found, **self._measure_epoch()})
        self._save()

    def _save(self) -> None:
        self._training.save(self.job.work / "state.npy")
        self.saved = True

    def _take_step(self) -> dict[str, float]:
        training = self._training
        found = training.take_step()
        tokens, examples = training.seen()
        figures: dict[str, float] = {
            "train_loss": found.loss,
            "train_mean_token_accuracy": found.token_accuracy,
            "elapsed_tokens": tokens,
            "elapsed_examples": examples,
            "training_loss": found.loss,
            "training_sequence_accuracy": found.sequence_accuracy,
            "training_token_accuracy": found.token_accuracy,
        }
        if self._validation is not None and training.step % self._every == 0:
            size = training.settings.batch_size
            begin = training.step // self._every * size
            rows = [place % len(self._validation) for place in range(begin, begin + min(size, len(self._validation)))]
            measured = training.measure_some(self._validation, rows)
            figures |= {"valid_loss": measured.loss, "valid_mean_token_accuracy": measured.token_accuracy}
        return figures

    def _measure_epoch(self) -> dict[str, float]:
        """Figures of the whole validation file, for the model that would be served now."""
        if self._validation is None:
            return {}
        shares = self._validation.shares(self._training.network())
        measured = self._validation.measure(shares)
        figures = {"full_valid_loss": measured.loss, "full_valid_mean_token_accuracy": measured.token_accuracy}
        if len(self._classified):
            right = self._validation.right[self._classified]
            said = shares[self._classified].argmax(axis=1)
            figures |= {
                "classification/accuracy": float((said == right).mean()),
                "classification/weighted_f1_score": _weighted_f1(right, said),
            }
        return figures

    def _keep_model(self, figures: dict[str, float]) -> None:
        file, digest = self._model()
        self.job.write_checkpoint(self._training.step, figures, file, digest)

    def _model(self) -> tuple[Path, str]:
        """The model of this step as a file."""
        step = self._training.step
        if self._kept is None or self._kept[0] != step:
            file = self.job.store.folder / "models" / f"{self.job.id}-{step}.npz"
            self._kept = step, file, self._training.network().save(file)
        return self._kept[1:]


def _weighted_f1(right: Integers, said: Integers) -> float:
    # Not scikit-learn's: importing it takes longer than a small job.
    total = 0.0
    for label in np.unique(right):
        hits = int(((right == label) & (said == label)).sum())
        support = int((right == label).sum())
        total += support * 2 * hits / (support + int((said == label).sum()))
    return total / len(right)
