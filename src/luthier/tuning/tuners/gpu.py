"""Fine-tuning on one's own GPU: LoRA with TRL and PEFT in a process of its own, answered by vLLM.

Jobs are folders below LUTHIER_HOME (`gpu_jobs`), trained by a program in another environment (`gpu_environment`,
`gpu_training/train.py`); their adapters are loaded into a vLLM server (`gpu_server`).
"""

from __future__ import annotations

import platform
import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.errors import EndpointError
from luthier.providers.endpoint import Endpoint
from luthier.tuning.tuners.gpu_environment import need_training_python
from luthier.tuning.tuners.gpu_jobs import GpuJob, card_locks, cards, gpu_folder
from luthier.tuning.tuners.gpu_server import MOST_RANK, Adapter, VllmServer
from luthier.tuning.tuners.tuner import (
    Checkpoint,
    Hyperparameter,
    JobEvent,
    JobState,
    Rules,
    Submission,
    billed_by_the_hour,
    marked_suffix,
    training_usd,
)

__all__ = ["GpuTuner"]

DEFAULTS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 8,
    "learning_rate": 2e-4,
    "lr_scheduler": "cosine",
    "warmup_ratio": 0.03,
    "weight_decay": 0.0,
    "lora_rank": 16,
    "lora_dropout": 0.05,
}
"""What is used where a spec says nothing; alpha is twice the rank, and each epoch is evaluated and saved."""

HYPERPARAMETERS = (
    Hyperparameter("epochs", "integer", 1, default=DEFAULTS["epochs"]),
    Hyperparameter("batch_size", "integer", 1, default=DEFAULTS["batch_size"]),
    Hyperparameter("learning_rate", "real", 0, default=DEFAULTS["learning_rate"]),
    Hyperparameter("lr_scheduler", "choice", default="cosine", options=("constant", "linear", "cosine")),
    Hyperparameter("warmup_ratio", "real", 0, 1, default=DEFAULTS["warmup_ratio"], zero=True),
    Hyperparameter("weight_decay", "real", 0, default=DEFAULTS["weight_decay"], zero=True),
    Hyperparameter("lora_rank", "integer", 1, MOST_RANK, default=DEFAULTS["lora_rank"]),
    Hyperparameter("lora_alpha", "integer", 1, default=None),
    Hyperparameter("lora_dropout", "real", 0, 1, default=DEFAULTS["lora_dropout"], zero=True),
    Hyperparameter("evaluations", "integer", 0, default=None),
    Hyperparameter("saved_checkpoints", "integer", 1, default=None),
    Hyperparameter("early_stopping_patience", "integer", 1, default=None),
)

RULES = Rules(least_examples=1, most_bytes=None, parallel_jobs=1, pauses=True)

LONGEST_NAME = 64
MODEL = re.compile(r"([0-9a-f]{16}-\d+)(?:-step-(\d+))?$")
HOUR = 3600.0


class GpuTuner:
    """Jobs on this machine's GPU, and the vLLM that answers with their results.

    Args:
        endpoint: `model` is the base model, as a folder or by its name at Hugging Face; `base_url` is where vLLM
            answers or is to answer.
        wait: waits so many seconds.
        clock: Unix time.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint, self._wait, self._clock = endpoint, wait, clock
        self.server = VllmServer(endpoint, wait=wait, clock=clock)

    @property
    def place(self) -> str:
        """The GPU of this machine, by the machine's name: its jobs are known nowhere else."""
        return f"the GPU of {platform.node()}"

    def hyperparameters(self, model: str) -> Sequence[Hyperparameter]:
        """The same for every base model."""
        return HYPERPARAMETERS

    def rules(self, model: str) -> Rules:
        """One job a card; others wait. No line is cut."""
        return RULES

    def epochs_for(self, rows: int, asked: Any) -> int | None:
        """What was asked, or three."""
        return int(DEFAULTS["epochs"] if asked == "auto" else asked)

    def estimate(self, model: str, tokens: int, epochs: int | None) -> float | None:
        """By the endpoint's training price; else by its price of an hour and the speed of the last job of this model.

        `None` where there is no price, or no such job has succeeded on this machine.
        """
        by_token = training_usd(self._endpoint.price, tokens, epochs)
        if by_token is not None or self._usd_per_hour is None or epochs is None:
            return by_token
        if self._usd_per_hour == 0:
            return 0.0
        for job in sorted(self._jobs(), key=lambda job: -job.document()["created"]):
            state = job.state()
            if state.base_model == model and state.status == "succeeded" and state.trained_tokens:
                return tokens * epochs * job.card_seconds() / state.trained_tokens / HOUR * self._usd_per_hour
        return None

    def admit(self, model: str) -> None:
        """Looks whether there is an environment that trains, without importing it. The job itself finds the card."""
        need_training_python()

    def find(self, token: str) -> list[JobState]:
        """The job whose folder has the token for a name."""
        job = self._job(token)
        return [self._now(job)] if job.exists() else []

    def upload(self, name: str, content: bytes) -> str:
        """Keeps the file below LUTHIER_HOME; its name holds the digest of the content."""
        place = gpu_folder() / "files" / name
        place.parent.mkdir(exist_ok=True)
        if not place.exists() or place.stat().st_size != len(content):
            new = place.with_name(f"{name}.{secrets.token_hex(4)}")
            new.write_bytes(content)
            new.replace(place)
        return name

    def submit(self, submission: Submission) -> JobState:
        """Makes the job's folder and starts its process; a second submission with the same token finds the first's."""
        job = self._job(submission.token)
        job.create(self._document(submission))
        return self._now(job)

    def poll(self, job: str) -> JobState:
        """The job now. One whose process was never started, as its maker died, is started."""
        return self._now(self._job(job))

    def events(self, job: str, known: Collection[str] = ()) -> list[JobEvent]:
        """What the training has written that is not known yet."""
        return [event for event in self._job(job).events() if event.id not in known]

    def checkpoints(self, job: str) -> list[Checkpoint]:
        """The checkpoints it has saved, also of a job that was stopped."""
        return self._job(job).checkpoints()

    def cancel(self, job: str) -> JobState:
        """Ends the job's process, by SIGKILL if need be, and returns when it is gone."""
        self._job(job).cancel()
        return self._job(job).state(self._usd_per_hour)

    def pause(self, job: str) -> JobState:
        """Asks the process to save a checkpoint after its step and to end; the card is free then."""
        self._job(job).pause()
        return self._job(job).state(self._usd_per_hour)

    def resume(self, job: str) -> JobState:
        """Starts a paused job again from its last checkpoint."""
        self._job(job).resume()
        return self._job(job).state(self._usd_per_hour)

    def listed(self) -> list[JobState]:
        """Every job of this machine, newest first."""
        found = [job.state(self._usd_per_hour) for job in self._jobs()]
        return sorted(found, key=lambda state: -(state.created or 0.0))

    def result(self, file: str) -> bytes:
        """Refused: jobs have no result files; figures come as events.

        Raises:
            EndpointError: always.
        """
        raise EndpointError(f"jobs on your own GPU have no result files such as {file!r}; their figures are events.")

    def endpoint(self, model: str) -> Endpoint:
        """The same endpoint, asked for the tuned model; it answers once its adapter is loaded."""
        return self._endpoint.model_copy(update={"model": model})

    def check_name(self, name: str, model: str) -> None:
        """Refuses a name that vLLM answers with another model.

        Raises:
            SpecError: says which.
        """
        self.server.check_name(self._adapter(name, model))

    def deploy(self, model: str, name: str, training_type: str | None = None) -> Endpoint:
        """Loads an adapter into the running vLLM, or into one that is started; returns when it is listed.

        Args:
            model: a result or a checkpoint.
            name: that the adapter is asked by.
            training_type: not used.

        Raises:
            SpecError: the name answers with another model.
            EndpointError: vLLM refuses the adapter, serves another base model, or does not start.
            ServiceUnavailable: the card trains and is not free in time.
        """
        adapter = self._adapter(name, model)
        self.server.check_name(adapter)
        self.server.load(adapter)
        return self.at(name, model)

    def at(self, name: str, model: str) -> Endpoint:
        """The vLLM, asked for the adapter."""
        return billed_by_the_hour(self._endpoint, name, model)

    def undeploy(self, name: str) -> None:
        """Unloads an adapter; a vLLM that Luthier started ends with its last adapter, and the card is free."""
        self.server.unload(name)

    def is_deployed(self, name: str) -> bool:
        """Whether vLLM has an adapter of this name. A server that does not answer has none."""
        return self.server.has(name)

    @property
    def _usd_per_hour(self) -> float | None:
        return None if self._endpoint.price is None else self._endpoint.price.hosting_usd_per_hour

    def _document(self, submission: Submission) -> Mapping[str, Any]:
        folder = gpu_folder() / "files"
        train, validation = submission.training_file, submission.validation_file
        return {
            "token": submission.token,
            "name": marked_suffix(submission.suffix, submission.token, LONGEST_NAME),
            "model": submission.model,
            "train": train,
            "validation": validation,
            "training_file": str(folder / train),
            "validation_file": None if validation is None else str(folder / validation),
            "settings": settings_of(submission),
            # What the model is asked with it is trained with, such as enable_thinking: false.
            "template": self._endpoint.extra_body.get("chat_template_kwargs"),
            "cards": cards(),
            "locks": [str(lock) for lock in card_locks()],
            "created": self._clock(),
        }

    def _adapter(self, name: str, model: str) -> Adapter:
        matched = MODEL.search(model)
        if matched is None:
            raise EndpointError(f"{model!r} is no result of a job on this machine; those end in a job's id.")
        job, step = self._job(matched[1]), matched[2]
        document = job.document()
        path = job.adapter(None if step is None else int(step))
        return Adapter(name, path, document["model"], document["settings"]["lora_rank"])

    def _now(self, job: GpuJob) -> JobState:
        state = job.state(self._usd_per_hour)
        if state.status != "queued":
            return state
        job.start()
        return job.state(self._usd_per_hour)

    def _job(self, token: str) -> GpuJob:
        # The id may come from a command line.
        name = token if re.fullmatch(r"[0-9A-Za-z-]+", token) else "unknown"
        return GpuJob(self._folder / name, self._clock, self._wait)

    def _jobs(self) -> list[GpuJob]:
        return [
            self._job(path.parent.name) for path in self._folder.glob("*/job.json") if MODEL.match(path.parent.name)
        ]

    @property
    def _folder(self) -> Path:
        return gpu_folder() / "jobs"


def settings_of(submission: Submission) -> dict[str, Any]:
    """Every setting of the training, with the defaults of those that are not given.

    Examples:
        >>> asked = Submission("base", "train", None, {"epochs": "auto", "lora_rank": 8}, 7, None, "token")
        >>> settings = settings_of(asked)
        >>> settings["epochs"], settings["lora_alpha"], settings["saved_checkpoints"], settings["learning_rate"]
        (3, 16, 3, 0.0002)
    """
    given = {name: value for name, value in submission.hyperparameters.items() if value != "auto"}
    settings = DEFAULTS | given
    each_epoch = {"evaluations": settings["epochs"], "saved_checkpoints": settings["epochs"]}
    settings = {**each_epoch, "lora_alpha": 2 * settings["lora_rank"], **settings}
    settings["seed"] = secrets.randbelow(2**31) if submission.seed is None else submission.seed
    return settings
