"""Trains nothing: goes through the steps of a job as transformers' Trainer does, calls the callbacks, writes the files.

Three variables make it do what real training does at its worst:

    STAND_IN_GATE    a file; from the third step on, no step ends before it is there
    STAND_IN_LOSSES  validation losses of the evaluations, in order; they fall otherwise
    STAND_IN_FAULT   the message of an OutOfMemoryError after the second step
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch  # type: ignore[import-not-found,unused-ignore]

FIELDS = Path(__file__).with_name("sft_config_fields.txt").read_text().split()
TOKENS_A_ROW = 10
GATED_STEP = 3
PATIENCE_SECONDS = 300.0


class SFTConfig(SimpleNamespace):
    """Refuses a setting that the published class does not have."""

    def __init__(self, **given: Any) -> None:
        if unknown := set(given) - set(FIELDS):
            raise TypeError(f"SFTConfig got an unexpected keyword argument {unknown}")
        super().__init__(**given)


class SFTTrainer:
    """The loop."""

    def __init__(
        self,
        model: str,
        args: SFTConfig,
        train_dataset: Any,
        eval_dataset: Any,
        peft_config: Any,
        callbacks: list[Any],
    ) -> None:
        assert all(set(row) <= {"prompt", "completion", "chat_template_kwargs"} for row in train_dataset)
        self.model, self.args, self.rows, self.valid = model, args, train_dataset, eval_dataset
        self.adapter, self.callbacks = peft_config.given, callbacks
        batch = args.per_device_train_batch_size * args.gradient_accumulation_steps
        steps = -(-len(train_dataset) // batch) * args.num_train_epochs
        self.state = SimpleNamespace(global_step=0, max_steps=steps, log_history=[])
        self.tokens_a_step = min(batch, len(train_dataset)) * TOKENS_A_ROW
        self.losses = json.loads(os.environ.get("STAND_IN_LOSSES", "[]"))
        self.control = SimpleNamespace(should_training_stop=False)
        self.tokens = 0

    def train(self, resume_from_checkpoint: str | None = None) -> None:
        """From the start, or from a checkpoint."""
        if resume_from_checkpoint is not None:
            saved = json.loads((Path(resume_from_checkpoint) / "trainer_state.json").read_text())
            self.state = SimpleNamespace(**saved)
        self.call("on_train_begin")
        while self.state.global_step < self.state.max_steps and not self.control.should_training_stop:
            self.step()
        self.call("on_log", logs={"train_runtime": 1.0, "train_loss": 0.5})

    def step(self) -> None:
        """One step, and what follows it, in the order of transformers."""
        self.control.should_evaluate = self.control.should_save = False
        self.state.global_step += 1
        number = self.state.global_step
        self.wait(number)
        if number == GATED_STEP and (fault := os.environ.get("STAND_IN_FAULT")):
            raise torch.OutOfMemoryError(fault)
        self.tokens += self.tokens_a_step
        self.call("on_step_end")
        if number % self.args.logging_steps == 0:
            self.log({"loss": 2.0 / number, "learning_rate": self.args.learning_rate, "num_tokens": self.tokens})
        if self.control.should_evaluate:
            assert self.valid is not None
            done = sum("eval_loss" in row for row in self.state.log_history)
            loss = self.losses[done] if done < len(self.losses) else 3.0 / number
            self.log({"eval_loss": loss, "eval_num_tokens": self.tokens, "epoch": 1.0})
            self.call("on_evaluate")
        if self.control.should_save:
            self.save_model(f"{self.args.output_dir}/checkpoint-{number}")
            state = Path(self.args.output_dir) / f"checkpoint-{number}" / "trainer_state.json"
            state.write_text(json.dumps(vars(self.state)))

    def wait(self, number: int) -> None:
        """At the gate, if there is one."""
        gate = os.environ.get("STAND_IN_GATE")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while gate and number >= GATED_STEP and not Path(gate).exists():
            assert time.monotonic() < deadline, "the test never opened the gate"
            time.sleep(0.005)

    def log(self, logs: dict[str, Any]) -> None:
        """Figures into the history and to the callbacks."""
        self.state.log_history.append({**logs, "step": self.state.global_step})
        self.call("on_log", logs=logs)

    def save_model(self, folder: str) -> None:
        """An adapter without weights."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        config = {"r": self.adapter["r"], "base_model_name_or_path": self.model}
        (Path(folder) / "adapter_config.json").write_text(json.dumps(config))
        (Path(folder) / "adapter_model.safetensors").write_bytes(b"")

    def call(self, event: str, **facts: Any) -> None:
        """Tells the callbacks."""
        for callback in self.callbacks:
            getattr(callback, event)(self.args, self.state, self.control, **facts)
