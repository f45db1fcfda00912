"""An account with thirty fine-tuning jobs in every state, as months of other people's work have left it.

Those that succeeded were really trained, so that their models answer. The others were written into the store, and no
trainer touches them: `Account` holds the trainer's lock until `goes_on` gives it back.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from luthier.endpoints import Endpoint, Price
from luthier_local import LocalServer, ModelCard
from luthier_local.jobs.job_store import JobStore, packed
from luthier_local.jobs.stored_job import StoredJob
from tests.conftest import KEY
from tests.luthier_local.tuning import SOUNDS, chat, jsonl, upload, wait

__all__ = ["BASE", "FIRST", "HOUR", "JOBS", "Account", "build_account", "running"]

BASE = "gpt-4o-mini-2024-07-18"
"""Name of the base model: one that is known elsewhere, though a small one answers here."""

MODELS = [ModelCard(BASE, backend="tunable-hashed", completions=False)]

FIRST = 1_767_571_200
"""Unix time of the oldest job: 2026-01-05. Each further job is a day later."""

HOUR, DAY = 3600, 86_400

FEELINGS = {"negative": "terrible bad", "neutral": "okay average", "positive": "great wonderful"}

JOBS = (
    ["succeeded"] * 15 + ["failed"] * 4 + ["cancelled"] * 3 + ["running"] * 2 + ["queued"] * 2
    + ["validating_files", "paused", "paused", "under_review"]
)  # fmt: skip
"""States of the jobs, oldest first; the last is a word that no client knows."""

SUCCEEDED = JOBS.count("succeeded")


def lines(
    sounds: Mapping[str, str], count: int, seed: int, system: str | None, template: str, answer: Callable[[str], str]
) -> bytes:
    """A training file: the same words around each text."""
    drawn = random.Random(seed)
    examples = []
    for number in range(count):
        label = drawn.choice(list(sounds))
        thing = drawn.choice(["food", "room", "soup", "staff"])
        text = f"The {thing} was {sounds[label]}, visit {number}"
        examples.append(chat(template.format(text=text), answer(label), system))
    return jsonl(examples)


Form = tuple[Mapping[str, str], str | None, str, Callable[[str], str]]

FORMS: Mapping[str, Form] = {
    "stars": (SOUNDS, "You rate reviews of restaurants.", "Stars for: {text}", str),
    "stars-plain": (SOUNDS, None, "{text}", str),
    "stars-json": (SOUNDS, "Answer in JSON.", "Review: {text}\nStars?", lambda s: json.dumps({"score": int(s)})),
    "mood": (FEELINGS, "Which mood has the text?", "{text}", str),
    "mood-json": (FEELINGS, "Which mood has the text?", "{text}", lambda s: json.dumps({"label": s})),
}
"""Labels with words for them, the system turn, the words around a text, and how an answer is written."""

FILES = {
    name: (lines(sounds, 60, 1, system, template, answer), lines(sounds, 40, 2, system, template, answer))
    for name, (sounds, system, template, answer) in FORMS.items()
}
"""Training and validation lines by name."""

ORDERS: Sequence[tuple[str, Mapping[str, Any]]] = [
    *(("stars", {"n_epochs": epochs, "batch_size": size}) for epochs in (1, 2, 4) for size in (10, 20)),
    ("stars-plain", {"n_epochs": 2}),
    ("stars-json", {"n_epochs": 3}),
    ("stars-json", {}),
    ("mood", {"n_epochs": 2, "learning_rate_multiplier": 2}),
    ("mood", {"n_epochs": 4}),
    ("mood-json", {"n_epochs": 3}),
    ("stars", {"n_epochs": 3}),
    ("stars", {"n_epochs": 3}),
    ("stars", {"n_epochs": 3}),
]
"""What the jobs that succeeded were trained on, and how. Of the last three something was deleted since: the training
file, the model, the result file."""


@dataclass
class Account:
    """The account behind a running server.

    Attributes:
        server: speaks the protocol; its key is in STARS_KEY.
        store: its database, which a test may change.
        lock: held by the test, so that no job goes on.
    """

    server: LocalServer
    store: JobStore
    lock: FileLock

    @property
    def endpoint(self) -> Endpoint:
        """Where it is."""
        return Endpoint(
            provider="compatible",
            base_url=self.server.base_url,
            model=BASE,
            api_key_env="STARS_KEY",
            price=Price(input_usd_per_million=1, output_usd_per_million=2, training_usd_per_million=10),
        )

    def write_endpoint(self, path: Path) -> Path:
        """An endpoint file, as a command reads it."""
        fields = self.endpoint.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        path.write_text(json.dumps({"endpoint": {**fields, "provider": "compatible"}}))
        return path

    def ids(self, *states: str) -> list[str]:
        """Ids of the jobs, oldest first; of those in these states, if given."""
        found = self.store.rows("select id, status from jobs order by number")
        return [row["id"] for row in found if not states or row["status"] in states]

    def job(self, identity: str) -> dict[str, Any]:
        """The job's object."""
        return StoredJob(self.store, identity).record

    def add_jobs(self, count: int) -> list[str]:
        """Ids of further jobs, which are queued; a second after one another."""
        added = []
        with self.store.writing() as write:
            record = self.job(self.ids("queued")[0])
            for number in range(count):
                identity, created = f"ftjob-more-{number}", FIRST + len(JOBS) * DAY + number
                more = {**record, "id": identity, "created_at": created, "suffix": f"more-{number}"}
                write.execute("insert into jobs (id, status, record) values (?, 'queued', ?)", (identity, packed(more)))
                added.append(identity)
        return added

    def goes_on(self) -> None:
        """Has the server's trainer take up the jobs that are not ended."""
        self.lock.release()


def build_account(folder: Path) -> None:
    """Makes the account's folder; see `running`."""
    import openai

    with LocalServer(models=MODELS, api_key=KEY, folder=folder) as server:
        with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client:
            files = {
                name: tuple(
                    client.files.create(file=(f"{name}-{table}.jsonl", content), purpose="fine-tune").id
                    for table, content in zip(("train", "valid"), contents, strict=True)
                )
                for name, contents in FILES.items()
            }
            orders = []
            for place, (name, settings) in enumerate(ORDERS):
                train, valid = files[name]
                if place == len(ORDERS) - 3:
                    train = upload(client, FILES[name][0])
                method: Any = {"type": "supervised", "supervised": {"hyperparameters": dict(settings)}}
                orders.append(
                    client.fine_tuning.jobs.create(
                        model=BASE,
                        training_file=train,
                        validation_file=None if place % 5 == 4 else valid,
                        suffix=f"{name}-{place}",
                        seed=place,
                        method=method,
                    )
                )
            ended = [wait(client, order).to_dict() for order in orders]
            assert {job["status"] for job in ended} == {"succeeded"}
            unreadable = upload(client, b"no JSON lines\n" * 20)
            client.files.delete(str(ended[-3]["training_file"]))
            client.models.delete(str(ended[-2]["fine_tuned_model"]))
            client.files.delete(ended[-1]["result_files"][0])  # type: ignore[index]
    store = JobStore(folder)
    try:
        for state in JOBS[SUCCEEDED:]:
            _write_job(store, ended[0], state, unreadable)
        _backdate(store)
    finally:
        store.close()


def _write_job(store: JobStore, template: Mapping[str, Any], state: str, unreadable: str) -> None:
    number = len(store.rows("select id from jobs"))
    record = {
        **template,
        "id": f"ftjob-{number:024x}",
        "suffix": f"other-{number}",
        "status": state,
        "fine_tuned_model": None,
        "finished_at": None,
        "trained_tokens": None,
        "result_files": [],
        "error": None,
        "_table": "hashed",
    }
    if state == "failed":
        record |= {"training_file": unreadable, "trained_tokens": None}
        # Services give a reason mostly, not always.
        if number % 2:
            record["error"] = {
                "code": "invalid_training_file",
                "message": "line 1 is no JSON",
                "param": "training_file",
            }
    training = store.file(str(record["training_file"])).read_bytes()
    work = store.work(str(record["id"]))
    if state not in ("failed", "cancelled"):
        work.mkdir()
        (work / "training.jsonl").write_bytes(training)
    with store.writing() as write:
        write.execute("insert into jobs (id, status, record) values (?, ?, ?)", (record["id"], state, packed(record)))
    job = StoredJob(store, str(record["id"]))
    job.say(f"Created fine-tuning job: {job.id}", "created")
    if state in ("running", "paused", "cancelled"):
        steps = [(step, {"train_loss": 2.0 / step, "train_mean_token_accuracy": 0.1 * step}) for step in (1, 2, 3)]
        job.write_steps(steps, 12, 1, None)


def _backdate(store: JobStore) -> None:
    """A job a day, an event a minute, and an hour from the creation to the end."""
    with store.writing() as write:
        for place, row in enumerate(write.execute("select id, status, record from jobs order by number").fetchall()):
            created = FIRST + place * DAY
            record = json.loads(row["record"]) | {"created_at": created}
            if row["status"] in ("succeeded", "failed", "cancelled"):
                record["finished_at"] = created + HOUR
            write.execute("update jobs set record = ? where id = ?", (packed(record), row["id"]))
            for minute, event in enumerate(
                write.execute("select number from events where job = ? order by number", (row["id"],)).fetchall()
            ):
                moment = created + min(60 * minute, HOUR)
                write.execute("update events set created_at = ? where number = ?", (moment, event["number"]))


@contextmanager
def running(folder: Path, **given: Any) -> Iterator[Account]:
    """A server of such a folder, whose jobs stand still.

    Args:
        folder: of `build_account`, or a copy.
        given: settings of `LocalServer`.
    """
    lock = FileLock(folder / "trainer.lock")
    with lock, LocalServer(models=MODELS, api_key=KEY, folder=folder, **given) as server:
        store = JobStore(folder)
        try:
            yield Account(server, store, lock)
        finally:
            store.close()
