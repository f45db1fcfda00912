"""A fine-tuning job in the store: its object, events, figures per step, checkpoints and models.

Everything a step reports is written under the step's number, once: a job that goes on after a restart repeats
the steps since its last saved state, and finds their figures written already.
"""

from __future__ import annotations

import csv
import io
import json
import secrets
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier_local.jobs.job_store import StoredObject, now, packed

__all__ = ["FIGURES", "UNFINISHED", "StoredJob"]

UNFINISHED = ("validating_files", "queued", "running", "pausing")
"""States from which a job continues by itself; `paused` waits to be resumed."""

KEPT_CHECKPOINTS = 3

FIGURES = (
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
    "elapsed_tokens",
    "elapsed_examples",
    "training_loss",
    "training_sequence_accuracy",
    "training_token_accuracy",
    "classification/accuracy",
    "classification/weighted_f1_score",
)
"""Columns of a result file after `step`, under the names of today's service and the one before it."""

_LOSSES = {"train_loss": "training", "valid_loss": "validation", "full_valid_loss": "full validation"}

Figures = Mapping[str, float]


class StoredJob(StoredObject):
    """One job in the store."""

    table, first_status = "jobs", "validating_files"

    def _announce(self, write: sqlite3.Connection, record: Mapping[str, Any]) -> None:
        self._add_event(write, "created", f"Created fine-tuning job: {self.id}")
        self._add_event(write, "validating", f"Validating training file: {record['training_file']}")

    def model_name(self, step: int | None = None) -> str:
        """Name of the tuned model, or of the checkpoint after a step."""
        record = self.record
        short = self.id.removeprefix("ftjob-")[:8]
        name = f"ft:{record['model']}:luthier:{record['suffix'] or ''}:{short}"
        return name if step is None else f"{name}:ckpt-step-{step}"

    def say(self, message: str, name: str | None = None, level: str = "info") -> None:
        """Adds an event; a second one of the same name is ignored."""
        with self.store.writing() as write:
            self._add_event(write, name, message, level)

    def write_steps(self, steps: Sequence[tuple[int, Figures]], total: int, every: int, finish: int | None) -> None:
        """Adds the figures of steps, and an event for one step in `every`."""
        with self.store.writing() as write:
            for step, figures in steps:
                write.execute("insert or ignore into steps values (?, ?, ?)", (self.id, step, packed(figures)))
                if step % every == 0 or step == total or "full_valid_loss" in figures:
                    said = [f"{what} loss={figures[name]:.4f}" for name, what in _LOSSES.items() if name in figures]
                    data = {"step": step, "total_steps": total, **figures}
                    message = f"Step {step}/{total}: {', '.join(said)}"
                    self._add_event(write, f"step-{step}", message, data=data, kind="metrics")
            write.execute(
                "update jobs set record = json_set(record, '$.estimated_finish', ?) where id = ?", (finish, self.id)
            )

    def step_figures(self, step: int) -> dict[str, float]:
        """The figures stored for a step."""
        found = self.store.row("select figures from steps where job = ? and step = ?", self.id, step)
        figures: dict[str, float] = json.loads(found["figures"]) if found is not None else {}
        return figures

    def write_checkpoint(self, step: int, figures: Figures, file: Path, digest: str) -> None:
        """Adds a checkpoint and its model; keeps the last three."""
        name = self.model_name(step)
        shown = {key: value for key, value in figures.items() if key in FIGURES[:6]}
        with self.store.writing() as write:
            write.execute(
                "insert or ignore into checkpoints (id, job, step, created_at, model, figures) "
                "values (?, ?, ?, ?, ?, ?)",
                (f"ftckpt_{secrets.token_hex(12)}", self.id, step, now(), name, packed({"step": step, **shown})),
            )
            _add_model(write, name, self.id, file, digest)
            kept = write.execute(
                "select step, model from checkpoints where job = ? order by step desc", (self.id,)
            ).fetchall()
            for old in kept[KEPT_CHECKPOINTS:]:
                write.execute("delete from checkpoints where job = ? and step = ?", (self.id, old["step"]))
                write.execute("delete from models where id = ?", (old["model"],))
            data = {"step": step, "fine_tuned_model_checkpoint": name}
            self._add_event(write, f"checkpoint-{step}", f"Checkpoint created at step {step}", data=data)
        self.drop_unnamed_models()

    def drop_unnamed_models(self) -> None:
        """Deletes this job's model files that no model refers to."""
        named = {row["file"] for row in self.store.rows("select file from models where job = ?", self.id)}
        for file in (self.store.folder / "models").glob(f"{self.id}-*.npz"):
            if file.name not in named:
                file.unlink(missing_ok=True)

    def succeed(self, file: Path, digest: str, trained_tokens: int) -> None:
        """Writes the result file, names the model, and ends the job."""
        result = "file-" + self.id.removeprefix("ftjob-")[:20] + "rs"
        self.store.add_file("fine-tune-results", "step_metrics.csv", self._result_table().encode(), result)
        name = self.model_name()
        with self.store.writing() as write:
            _add_model(write, name, self.id, file, digest)
            self.change(
                write, "succeeded", finished_at=now(), fine_tuned_model=name,
                trained_tokens=trained_tokens, estimated_finish=None, result_files=[result],
            )  # fmt: skip
            self._add_event(write, "model", f"New fine-tuned model created: {name}")
            self._add_event(write, "end", "The job has successfully completed")
        shutil.rmtree(self.work, ignore_errors=True)

    def fail(self, code: str, message: str, param: str | None) -> None:
        """Ends the job as failed, unless it has ended already or is paused."""
        error = {"code": code, "message": message, "param": param}
        self._end("failed", UNFINISHED, message, "error", error=error)

    def cancel(self, since: Sequence[str]) -> bool:
        """Ends the job as cancelled and drops what it trained; returns whether its status was one of `since`."""
        return self._end("cancelled", since, "The job was cancelled")

    def _end(self, status: str, since: Sequence[str], message: str, level: str = "info", **changes: Any) -> bool:
        with self.store.writing() as write:
            if not self.change(write, status, since, finished_at=now(), estimated_finish=None, **changes):
                return False
            self._add_event(write, "end", message, level)
            write.execute("delete from models where job = ?", (self.id,))
            write.execute("delete from checkpoints where job = ?", (self.id,))
        self.drop_unnamed_models()
        shutil.rmtree(self.work, ignore_errors=True)
        return True

    def _result_table(self) -> str:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["step", *FIGURES])
        for row in self.store.rows("select step, figures from steps where job = ? order by step", self.id):
            figures = json.loads(row["figures"])
            table.writerow([row["step"], *(figures.get(name, "") for name in FIGURES)])
        return text.getvalue()

    def _add_event(
        self,
        write: sqlite3.Connection,
        name: str | None,
        message: str,
        level: str = "info",
        data: Mapping[str, Any] | None = None,
        kind: str = "message",
    ) -> None:
        # A message may quote a request, lone surrogates included.
        message = message.encode("utf-8", "backslashreplace").decode()
        write.execute(
            "insert or ignore into events (job, name, created_at, level, message, type, data) "
            "values (?, ?, ?, ?, ?, ?, ?)",
            (self.id, name, now(), level, message, kind, packed(data or {})),
        )


def _add_model(write: sqlite3.Connection, name: str, job: str, file: Path, digest: str) -> None:
    write.execute("insert or ignore into models values (?, ?, ?, ?, ?)", (name, job, now(), file.name, digest))
