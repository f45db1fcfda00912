"""The store of files, jobs and batches, and the workers that process them.

The store is opened when it is first needed, so that a server that only answers has no folder, or at the start
where the folder holds jobs of an earlier server.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from luthier.errors import EndpointError
from luthier_local.jobs.batch_worker import UNFINISHED_BATCHES, AnswerLine, BatchWorker
from luthier_local.jobs.job_store import JobStore
from luthier_local.jobs.stored_job import UNFINISHED
from luthier_local.jobs.trainer import Trainer
from luthier_local.model_card import ModelCard

__all__ = ["JobService", "JobSettings"]

_CONTEXT_TOKENS = 32_768
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobSettings:
    """Where jobs are kept, and what tests slow down."""

    folder: Path | None = None
    """`None`: a temporary one, deleted at the end."""
    training_step_seconds: float = 0.0
    batch_queue_tokens: int | None = None


class JobService:
    """The files, jobs and tuned models of one server."""

    def __init__(
        self, settings: JobSettings, answer_line: AnswerLine, find_model: Callable[[str], ModelCard | None]
    ) -> None:
        self.settings = settings
        self._answer_line = answer_line
        self._find_model = find_model
        self._temporary: Path | None = None

    @cached_property
    def store(self) -> JobStore:
        """The database and the folder beside it."""
        folder = self.settings.folder
        if folder is None:
            folder = self._temporary = Path(tempfile.mkdtemp(prefix="luthier-local-"))
        return JobStore(folder)

    @cached_property
    def trainer(self) -> Trainer:
        """The worker of the fine-tuning jobs."""
        trainer = Trainer(self.store, self.settings.training_step_seconds)
        trainer.start()
        return trainer

    @cached_property
    def batch_worker(self) -> BatchWorker:
        """The worker of the batches; `start` it on the event loop."""
        return BatchWorker(self.store, self._answer_line, lambda name: self._find_model(name) is not None)

    @property
    def _there(self) -> bool:
        """Whether there is a store; another server of the folder may have made it."""
        return "store" in self.__dict__ or self.has_past

    @property
    def has_past(self) -> bool:
        """Whether an earlier server worked in this folder."""
        folder = self.settings.folder
        return folder is not None and (folder / "jobs.db").exists()

    async def open(self) -> None:
        """Continues what an earlier server of this folder left.

        Raises:
            EndpointError: The folder cannot be used.
        """
        if self.has_past:
            self.trainer.nudge()
            self.batch_worker.start()

    async def close(self) -> None:
        """Stops the workers, whose jobs a later server continues, and closes the store."""
        if "batch_worker" in self.__dict__:
            await self.batch_worker.stop()
            del self.batch_worker
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        if "trainer" in self.__dict__:
            self.trainer.stop()
            del self.trainer
        if "store" in self.__dict__:
            self.store.close()
            del self.store
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    @property
    def busy(self) -> bool:
        """Whether a job or batch is unfinished that continues by itself."""
        if not self._there:
            return False
        try:
            found = any(
                self.store.row(f"select 1 from {table} where status in ({', '.join('?' * len(states))})", *states)
                for table, states in (("jobs", UNFINISHED), ("batches", UNFINISHED_BATCHES))
            )
        except (EndpointError, sqlite3.Error):
            _log.exception("the unfinished jobs cannot be read")
            return True
        if found:
            # Another server of the folder may have accepted it and ended: this one processes it.
            self.trainer.nudge()
            self.batch_worker.start()
        return found

    @property
    def trouble(self) -> str | None:
        """Why fine-tuning jobs are held up, if they are."""
        return self.trainer.trouble if "trainer" in self.__dict__ else None

    def card(self, name: str) -> ModelCard | None:
        """The card of a tuned model."""
        if not name.startswith("ft:") or not self._there:
            return None
        found = self.store.row("select * from models where id = ?", name)
        return None if found is None else self._card(found["id"], found["file"], found["digest"])

    def cards(self) -> list[ModelCard]:
        """The cards of all tuned models and checkpoints, oldest first."""
        if not self._there:
            return []
        found = self.store.rows("select * from models order by created_at, rowid")
        return [self._card(row["id"], row["file"], row["digest"]) for row in found]

    def _card(self, name: str, file: str, digest: str) -> ModelCard:
        path = self.store.folder / "models" / file
        return ModelCard(
            name, backend="tuned", completions=False, digest=digest, path=str(path), context_tokens=_CONTEXT_TOKENS
        )

    def expire_batches(self) -> None:
        """Has the time of every unfinished batch run out."""
        marks = ", ".join("?" * len(UNFINISHED_BATCHES))
        with self.store.writing() as write:
            write.execute(
                f"update batches set record = json_set(record, '$._expires', 0) where status in ({marks})",
                UNFINISHED_BATCHES,
            )

    def delete_model(self, name: str) -> bool:
        """Removes a tuned model, and its file with the last name; returns whether there was one."""
        with self.store.writing() as write:
            found = write.execute("select file from models where id = ?", (name,)).fetchone()
            if found is None:
                return False
            write.execute("delete from models where id = ?", (name,))
            write.execute("delete from checkpoints where model = ?", (name,))
            left = write.execute("select 1 from models where file = ?", (found["file"],)).fetchone()
        if left is None:
            (self.store.folder / "models" / found["file"]).unlink(missing_ok=True)
        return True
