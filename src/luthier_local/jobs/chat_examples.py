"""Training files: chat examples as JSONL, checked line by line as the service checks them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "LEAST_EXAMPLES",
    "MOST_ANSWERS",
    "TrainingExamples",
    "InvalidFile",
    "JobError",
    "read_files",
    "read_training_file",
]

LEAST_EXAMPLES = 10
MOST_ANSWERS = 512
_ROLES = ("system", "developer", "user", "assistant", "tool")
_SHOWN = 5


class JobError(Exception):
    """A fault that ends a job: its code, its message and the parameter that caused it."""

    def __init__(self, code: str, message: str, param: str) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class InvalidFile(JobError):
    """A training or validation file that cannot be used."""

    def __init__(self, code: str, message: str, param: str) -> None:
        super().__init__(code, f"The job failed due to an invalid file. {message}", param)


@dataclass
class TrainingExamples:
    """Pairs of text and answer, one per trained assistant turn."""

    texts: list[str] = field(default_factory=list)
    """The turns before each answer, joined by line breaks."""
    answers: list[str] = field(default_factory=list)
    lines: int = 0
    """Conversations in the file; each may hold several answers, or none that is trained."""

    def __len__(self) -> int:
        return len(self.texts)


def read_training_file(path: Path, param: str, least: int = LEAST_EXAMPLES) -> TrainingExamples:
    """Reads a file of chat examples.

    Args:
        path: The file.
        param: `training_file` or `validation_file`, for the errors.
        least: Fewest lines allowed.

    Raises:
        InvalidFile: What is wrong, with the numbers of the first lines where it is.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        # The folder was cleared, or the job was cancelled while its files were read.
        raise InvalidFile("file_not_found", f"The server's copy of the {param} is gone.", param) from None
    except UnicodeDecodeError as error:
        raise InvalidFile(
            "invalid_file_format", f"Invalid file format. The file is not UTF-8: {error}.", param
        ) from None
    examples = TrainingExamples()
    wrong: list[str] = []
    # Not splitlines: a text may hold a character that Python takes for a line break.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        examples.lines += 1
        fault = _read_line(line, examples)
        if fault:
            wrong.append(f"Line {number}, {fault}")
            if len(wrong) == _SHOWN:
                break
    if wrong:
        raise InvalidFile("invalid_file_format", "Invalid file format. " + " ".join(wrong), param)
    if examples.lines < least:
        what = param.replace("_", " ").capitalize()
        message = f"{what} has {examples.lines} example(s), but must have at least {least} examples"
        raise InvalidFile("invalid_n_examples", message, param)
    if not examples.texts:
        raise InvalidFile(
            "invalid_file_format", "Every assistant message has weight 0: there is nothing to train.", param
        )
    return examples


def read_files(work: Path) -> tuple[TrainingExamples, TrainingExamples | None]:
    """The training and validation examples of a job, from the copies in its folder.

    Raises:
        InvalidFile: What is wrong with them.
    """
    training = read_training_file(work / "training.jsonl", "training_file")
    answers = len(set(training.answers))
    if answers > MOST_ANSWERS:
        raise InvalidFile(
            "invalid_training_file",
            f"The training file has {answers} different answers. This base learns to choose among the answers it "
            f"has seen, at most {MOST_ANSWERS}; it writes nothing of its own.",
            "training_file",
        )
    held_out = work / "validation.jsonl"
    return training, read_training_file(held_out, "validation_file", least=1) if held_out.exists() else None


def _read_line(line: str, examples: TrainingExamples) -> str | None:
    """Adds the examples of one line; returns the fault, if there is one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return "this is not a JSON object."
    if not isinstance(found, dict):
        return "this is not a JSON object."
    if "messages" not in found:
        return 'key "messages": missing. Each line is {"messages": [{"role": ..., "content": ...}, ...]}.'
    turns = found["messages"]
    if not isinstance(turns, list) or not turns:
        return 'key "messages": expected a non-empty list.'
    read: list[str] = []
    answered = False
    pairs: list[tuple[str, str]] = []
    for place, turn in enumerate(turns):
        fault = _check_turn(turn, place)
        if fault:
            return fault
        content = _text_of(turn.get("content"))
        if turn["role"] == "assistant":
            answered = True
            if turn.get("weight", 1) == 1:
                if not content:
                    return f'key "messages.{place}.content": an answer to train on cannot be empty.'
                if not read:
                    return f'key "messages.{place}.role": nothing comes before this answer.'
                pairs.append(("\n".join(read), content))
        read.append(content)
    if not answered:
        return 'key "messages": expected at least one message from the assistant.'
    if turns[-1]["role"] != "assistant":
        return 'key "messages": the last message must be from the assistant.'
    for asked, answer in pairs:
        examples.texts.append(asked)
        examples.answers.append(answer)
    return None


def _check_turn(turn: Any, place: int) -> str | None:
    where = f"messages.{place}"
    if not isinstance(turn, dict):
        return f'key "{where}": expected an object.'
    if turn.get("role") not in _ROLES:
        return f'key "{where}.role": {str(turn.get("role"))[:20]!r} is not one of {", ".join(_ROLES)}.'
    if _text_of(turn.get("content")) is None:
        return f'key "{where}.content": expected a text.'
    if "weight" in turn:
        if turn["role"] != "assistant":
            return f'key "{where}.weight": only messages from the assistant have a weight.'
        if turn["weight"] not in (0, 1) or isinstance(turn["weight"], bool):
            return f'key "{where}.weight": expected 0 or 1.'
    unknown = sorted(set(turn) - {"role", "content", "weight", "name"})
    if unknown:
        return f'key "{where}.{unknown[0]}": not read here.'
    return None


def _text_of(content: Any) -> Any:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    return None
