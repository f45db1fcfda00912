"""Trains the LoRA adapter of one job with TRL and PEFT. Runs by itself: `python train.py FOLDER`, then `go` on stdin.

Of the job's folder it reads job.json and `wanted`, and writes:

    events.jsonl   a line for each message and each logged step
    status         queued, validating_files or running
    checkpoints/   checkpoint-N, each an adapter with what is needed to go on from it
    adapter/       the result
    exit.json      how it ended; written last

SIGTERM ends it at the next step: with a checkpoint, unless `wanted` says `cancel`. Nothing of Luthier is imported, as
this runs in an environment that has none.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LOGGED_STEPS = 200
"""Into so many parts the losses of a job are divided at most."""

NO_CARD = "-1"
"""The CUDA_VISIBLE_DEVICES of a job that is trained on the CPU, as CUDA itself reads it."""

MOST_ROWS_AT_ONCE = 4
"""Rows on the card at the same time; a larger batch is summed from parts of equal size."""

NAMES = {"loss": "train_loss", "eval_loss": "valid_loss", "num_tokens": "elapsed_tokens"}
"""Luthier's names of TRL's figures."""

SCHEDULERS = {"constant": "constant_with_warmup"}
"""Its names of Luthier's schedulers, where they differ: its `constant` takes no warmup."""

SUCCEEDED, FAILED, NOT_BEGUN = "succeeded", "failed", "not begun"


class Stopped(BaseException):
    """SIGTERM came before training. Not an `Exception`, so that no library takes it for a fault of its own."""


class AdapterTraining:
    """One job and the files in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.job: dict[str, Any] = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        self.settings: dict[str, Any] = self.job["settings"]
        self.on_cpu = self.job["cards"] == NO_CARD
        self.stopping = False
        self.training = False
        self.total_steps: int | None = None
        self.tokens: int | None = None
        self.tokens_before = 0
        self.events = folder / "events.jsonl"
        if self.events.exists() and not self.events.read_bytes().endswith(b"\n"):
            # The process before was killed while it wrote.
            with self.events.open("ab") as events:
                events.write(b"\n")

    def run(self) -> dict[str, Any]:
        """Waits for the card and trains; how it ended, as in exit.json."""
        try:
            self.say("waiting for the card", status="queued", card=False)
            cards = [take(Path(lock)) for lock in self.job["locks"]]
            self.say("reading the files", status="validating_files", card=True)
            adapter = self.train()
            del cards
        except Stopped:
            adapter = None
        except Exception as error:
            traceback.print_exc()
            return self.ended(FAILED, error=explained(error))
        if adapter is None:
            return self.ended("cancelled" if self.wanted() == "cancel" else "paused")
        return self.ended(SUCCEEDED, adapter=str(adapter.relative_to(self.folder)))

    def train(self) -> Path | None:
        """Trains from the last checkpoint, if there is one; the folder of the result, `None` if it was stopped."""
        import torch  # type: ignore[import-not-found,unused-ignore]
        from datasets import Dataset  # type: ignore[import-not-found,unused-ignore]
        from peft import LoraConfig  # type: ignore[import-not-found,unused-ignore]
        from trl import SFTTrainer  # type: ignore[import-not-found,unused-ignore]

        if not torch.cuda.is_available() and not self.on_cpu:
            raise RuntimeError(
                "PyTorch sees no card. Is there a driver for CUDA 13? CUDA_VISIBLE_DEVICES=-1 trains on the CPU."
            )
        train, valid = (self.rows(name) for name in ("training_file", "validation_file"))
        assert train is not None
        trainer = SFTTrainer(
            model=self.job["model"],
            args=self.config(len(train)),
            train_dataset=Dataset.from_list(train),
            eval_dataset=None if valid is None else Dataset.from_list(valid),
            peft_config=LoraConfig(**adapter_settings(self.settings)),
            callbacks=[self.callback(valid is not None)],
        )
        reached = last_checkpoint(self.folder / "checkpoints")
        self.training = True
        if self.stopping:
            raise Stopped
        if reached is None:
            self.say("training", status="running")
        else:
            self.tokens_before = self.tokens_until(step_of(reached))
            self.say(f"training goes on after step {step_of(reached)}", status="running")
        trainer.train(resume_from_checkpoint=None if reached is None else str(reached))
        if self.stopping and trainer.state.global_step < trainer.state.max_steps:
            return None
        if "early_stopping_patience" in self.settings:
            return best_checkpoint(self.folder / "checkpoints", trainer.state.log_history)
        trainer.save_model(str(self.folder / "adapter"))
        return self.folder / "adapter"

    def config(self, rows: int) -> Any:
        """The settings of TRL for so many training rows."""
        from trl import SFTConfig

        given = self.settings
        at_once = max(part for part in range(1, MOST_ROWS_AT_ONCE + 1) if given["batch_size"] % part == 0)
        steps = math.ceil(rows / given["batch_size"]) * given["epochs"]
        return SFTConfig(
            output_dir=str(self.folder / "checkpoints"),
            # TRL's own default is float32.
            model_init_kwargs={"dtype": "float32" if self.on_cpu else "bfloat16"},
            bf16=not self.on_cpu,
            use_cpu=self.on_cpu,
            # By default it would cut lines after 1,024 tokens, and the answer stands at their end.
            max_length=None,
            num_train_epochs=given["epochs"],
            per_device_train_batch_size=at_once,
            gradient_accumulation_steps=given["batch_size"] // at_once,
            learning_rate=given["learning_rate"],
            lr_scheduler_type=SCHEDULERS.get(given["lr_scheduler"], given["lr_scheduler"]),
            # A share of the steps; from 1 on it would be a number of steps.
            warmup_steps=min(given["warmup_ratio"], math.nextafter(1.0, 0.0)),
            weight_decay=given["weight_decay"],
            seed=given["seed"],
            # The callback says when to evaluate and when to save.
            eval_strategy="no",
            save_strategy="no",
            logging_steps=max(1, steps // LOGGED_STEPS),
            disable_tqdm=True,
            report_to="none",
        )

    def callback(self, validates: bool) -> Any:
        """Writes events, evaluates and saves as often as asked, and stops."""
        from transformers import TrainerCallback  # type: ignore[import-not-found,unused-ignore]

        training, given = self, self.settings
        patience = given.get("early_stopping_patience")
        evaluations = given["evaluations"] if validates else 0

        class Watching(TrainerCallback):  # type: ignore[misc,unused-ignore]
            def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                training.total_steps = state.max_steps

            def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                control.should_evaluate |= falls_on(state.global_step, state.max_steps, evaluations)
                control.should_save |= falls_on(state.global_step, state.max_steps, given["saved_checkpoints"])
                if patience is not None:
                    # So that the best of them is there to be the result.
                    control.should_save |= control.should_evaluate
                if training.stopping:
                    control.should_training_stop = True
                    control.should_save |= training.wanted() != "cancel"

            def on_log(
                self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **rest: Any
            ) -> None:
                training.note(state.global_step, logs or {})

            def on_evaluate(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                losses = [loss for _, loss in evaluated(state.log_history)]
                if patience is not None and len(losses) - 1 - losses.index(min(losses)) >= patience:
                    control.should_training_stop = True
                    training.say(
                        f"the validation loss has not fallen in {patience} evaluations", step=state.global_step
                    )

        return Watching()

    def rows(self, which: str) -> list[dict[str, Any]] | None:
        """The lines of a file, split so that only the answer is learned."""
        if self.job[which] is None:
            return None
        extra = {"chat_template_kwargs": self.job["template"]} if self.job.get("template") else {}
        rows = []
        with Path(self.job[which]).open(encoding="utf-8") as lines:
            for line in lines:
                *prompt, answer = json.loads(line)["messages"]
                rows.append({"prompt": prompt, "completion": [answer], **extra})
        return rows

    def note(self, step: int, logs: Mapping[str, Any]) -> None:
        """Writes the figures of a step."""
        if "train_runtime" in logs:
            return  # the means of the whole job
        figures = {
            NAMES.get(name, name.replace("eval_", "valid_")): float(value)
            for name, value in logs.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        if "elapsed_tokens" in figures:
            # TRL counts from 0 whenever training goes on from a checkpoint.
            figures["elapsed_tokens"] += self.tokens_before
            self.tokens = round(figures["elapsed_tokens"])
        losses = [f"{name} {figures[name]:.4f}" for name in ("train_loss", "valid_loss") if name in figures]
        self.say(f"step {step}: {', '.join(losses)}", step=step, metrics=figures)

    def tokens_until(self, step: int) -> int:
        """Tokens that were read until a step, by what was written then."""
        read = 0.0
        for line in self.events.read_bytes().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if (event.get("step") or math.inf) <= step:
                read = max(read, event.get("metrics", {}).get("elapsed_tokens", 0.0))
        return round(read)

    def say(self, message: str, *, status: str | None = None, **facts: Any) -> None:
        """Appends an event; with a status, the job has it from now on."""
        event = {"created": time.time(), "message": message, "total_steps": self.total_steps, **facts}
        with self.events.open("ab") as events:
            events.write(json.dumps(event).encode() + b"\n")
        if status is not None:
            write(self.folder / "status", status)

    def ended(self, status: str, **facts: Any) -> dict[str, Any]:
        """How it ended, once its last event is written."""
        self.say(f"{status}{': ' if facts.get('error') else ''}{facts.get('error', '')}")
        return {"code": 1 if status == FAILED else 0, "status": status, "trained_tokens": self.tokens, **facts}

    def wanted(self) -> str:
        """What the job was asked to become: `cancel`, `pause` or nothing."""
        try:
            return (self.folder / "wanted").read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def stop(self, number: int, frame: Any) -> None:
        """On SIGTERM: ends at once, or while it trains after the step."""
        self.stopping = True
        if not self.training:
            raise Stopped


def adapter_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of PEFT: adapters that vLLM serves, on all linear layers."""
    return {
        "r": given["lora_rank"],
        "lora_alpha": given["lora_alpha"],
        "lora_dropout": given["lora_dropout"],
        "target_modules": "all-linear",
        "task_type": "CAUSAL_LM",
    }


def falls_on(step: int, steps: int, times: int) -> bool:
    """Whether something done so many times in so many steps, the last time at the end, is done at this one."""
    return step * times // steps > (step - 1) * times // steps


def evaluated(log: list[dict[str, Any]]) -> list[tuple[int, float]]:
    """Step and validation loss of each evaluation."""
    return [(row["step"], row["eval_loss"]) for row in log if "eval_loss" in row]


def best_checkpoint(folder: Path, log: list[dict[str, Any]]) -> Path:
    """The checkpoint of the lowest validation loss."""
    step, _ = min(evaluated(log), key=lambda one: one[1])
    return folder / f"checkpoint-{step}"


def last_checkpoint(folder: Path) -> Path | None:
    """The last whole checkpoint: its trainer_state.json is written last."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    return max(whole, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """The step at which a checkpoint was saved."""
    return int(checkpoint.name.rpartition("-")[2])


def explained(error: Exception) -> str:
    """An error as one line; `log.txt` has the traceback."""
    said = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
    if type(error).__name__ == "OutOfMemoryError":
        return f"{said} Shorten the lines, take a smaller model, or free the card: vLLM holds most of it while it runs."
    return said


def take(lock: Path) -> int:
    """Waits until no other job and no server of Luthier has the card; it is given back when this process ends."""
    held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def write(path: Path, text: str) -> None:
    """Writes a file that is never seen half written."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def main(folder: Path, begins: Callable[[], bool]) -> int:
    """Trains, and writes how it ended; the exit code."""
    if not begins():
        # The process that started this died before it had written down which process it is.
        outcome: dict[str, Any] = {"code": 1, "status": NOT_BEGUN}
    else:
        training = AdapterTraining(folder)
        signal.signal(signal.SIGTERM, training.stop)
        outcome = training.run()
    sys.stdout.flush()
    sys.stderr.flush()
    write(folder / "exit.json", json.dumps(outcome))
    return int(outcome["code"])


if __name__ == "__main__":
    # Not by way of the libraries' own clean-up, which may hang once the outcome is written.
    os._exit(main(Path(sys.argv[1]), lambda: sys.stdin.readline() == "go\n"))
