"""A training file read back as the recipe that wrote it: its prompt, and how labels are written in answers."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from luthier.errors import SpecError
from luthier.importing.answer_sets import AnswerSet, UnreadableRecipe, answer_set, task_of_labels
from luthier.importing.constant_words import constant_words, literal
from luthier.providers.endpoint import Endpoint
from luthier.tasks.task import Rows, Task
from luthier.techniques.finetune import FineTune, Tuned
from luthier.techniques.prompt.adapter import PromptAdapter, adapter_for
from luthier.techniques.prompt.prompt import Prompt
from luthier.techniques.prompt.settings import Style
from luthier.techniques.prompt.token_walk import apart_at_once

__all__ = ["TrainingRecipe", "UnreadableRecipe", "recipe_of"]

LETTER_KEY = "\n\nAnswer with one letter:\n"
"""What introduces the key from letters to labels; see `PromptAdapter.letter_key`."""

MOST_PROMPTS = 20
"""Prompts of one file that are tried under a given task."""

LEAST_SHARE = 0.5
"""Share of the lines that one prompt must have written, where no task says which are meant."""

SYSTEM = ("system", "developer")


@dataclass(frozen=True)
class TrainingRecipe:
    """What wrote a training file.

    Attributes:
        task: the one given, or one made of the answers (`inferred`).
        template: Jinja template of the user turn, or of the text to complete.
        system: Jinja template of the system turn.
        answer: the block `answer:` of a spec.
        style: `completion` for files of prompts and completions.
        lines: how many the file has.
        reproduced: how many of them a spec of this recipe writes word for word.
        inferred: whether the task was made of the answers.
        rows: texts and labels of the lines that it explains.
    """

    task: Task
    template: str
    system: str | None
    answer: Mapping[str, Any]
    style: Style
    lines: int
    reproduced: int
    inferred: bool
    rows: Rows = field(repr=False)

    @property
    def whole(self) -> bool:
        """Whether it writes every line of the file."""
        return self.reproduced == self.lines

    @property
    def note(self) -> str:
        """What a reader should know before it is trusted; empty where it writes every line."""
        if self.whole:
            return ""
        return f"the recipe writes {self.reproduced:,} of the {self.lines:,} training lines word for word"

    def spec(
        self, endpoint: Endpoint, *, tuned: Tuned | None = None, asked_as: str | None = None, name: str = ""
    ) -> FineTune | Prompt:
        """The recipe as a spec.

        Args:
            endpoint: of the service; its model does not matter where there is a result.
            tuned: the result of the job.
            asked_as: name of a deployment of the result; the result's own name when absent.
            name: of the spec.

        Raises:
            SpecError: the settings contradict each other.
        """
        wording = {"template": self.template} | ({} if self.system is None else {"system": self.system})
        given: dict[str, Any] = {"name": name, "task": self.task, "prompt": wording, "answer": dict(self.answer)}
        if self.style == "completion":
            model = endpoint.model if tuned is None else asked_as or tuned.model
            asked = endpoint.model_copy(update={"model": model})
            return Prompt.make(given | {"prompt": {**wording, "style": "completion"}, "endpoint": asked})
        model = endpoint.model if tuned is None else asked_as or tuned.base_model
        return FineTune.make(given | {"endpoint": endpoint.model_copy(update={"model": model}), "tuned": tuned})


@dataclass(frozen=True)
class _Line:
    """One line: what stands before the row's own turn, that turn, and the answer."""

    system: str | None
    shown: tuple[tuple[str, str], ...]
    turn: str
    answer: str
    style: Style = "chat"

    @property
    def prompt(self) -> tuple[Style, str | None, tuple[tuple[str, str], ...]]:
        """What lines of one prompt share."""
        return self.style, self.system, self.shown


def recipe_of(content: bytes, task: Task | None = None) -> TrainingRecipe:
    """The recipe of a training file.

    Args:
        content: JSON lines of chat turns, or of prompts and completions, with or without a byte order mark.
        task: whose labels the answers must be; one is made of them when absent.

    Raises:
        UnreadableRecipe: it is none that Luthier has; the message says why.

    Examples:
        >>> texts = [("The soup was cold", 2), ("What a lovely room", 5), ("It was fine", 3)]
        >>> turns = [[{"role": "user", "content": f"Stars for: {text}"}, {"role": "assistant", "content": str(stars)}]
        ...          for text, stars in texts]
        >>> found = recipe_of("\\n".join(json.dumps({"messages": one}) for one in turns).encode())
        >>> found.template, found.task.type, found.task.labels, found.reproduced
        ('Stars for: {{ text }}', 'rating', ('2', '3', '4', '5'), 3)
    """
    lines, strange = _read(content)
    count = len(lines) + strange.total()
    if not lines:
        raise UnreadableRecipe(strange.most_common(1)[0][0] if strange else "its training file is empty")
    groups: dict[Any, list[_Line]] = defaultdict(list)
    for line in lines:
        groups[line.prompt].append(line)
    ranked = sorted(groups.values(), key=len, reverse=True)
    _need_one_prompt(ranked, count, task)
    first: UnreadableRecipe | None = None
    for group in ranked[: MOST_PROMPTS if task is not None else 1]:
        try:
            return _recipe(group, count, task)
        except UnreadableRecipe as error:
            first = first or error
    assert first is not None
    raise first


def _need_one_prompt(ranked: Sequence[Sequence[_Line]], count: int, task: Task | None) -> None:
    largest = ranked[0]
    if len(largest) >= LEAST_SHARE * count or (task is not None and len(largest) > 1):
        return
    turns = {len(line.shown) for group in ranked for line in group}
    if max(turns):
        raise UnreadableRecipe(
            f"its lines are conversations of up to {max(turns) + 2} turns that differ from line to line; imports know "
            "one text and one answer"
        )
    raise UnreadableRecipe(
        f"its system message differs from line to line ({len(ranked):,} in {count:,} lines); imports know a constant "
        "one"
    )


def _recipe(lines: Sequence[_Line], count: int, task: Task | None) -> TrainingRecipe:
    style, system, shown = lines[0].prompt
    if shown:
        raise UnreadableRecipe(
            f"its lines show {sum(role == 'user' for role, _ in shown)} examples before each text, for which a "
            "fine-tune spec has no place"
        )
    key = _letter_key([line.turn for line in lines])
    turns = [line.turn if key is None else line.turn.removesuffix(key[0]) for line in lines]
    said = [line.answer if key is None else key[1].get(line.answer.strip(), line.answer) for line in lines]
    made = task_of_labels(list(key[1].values())) if key is not None and task is None else task
    answers = answer_set(Counter(said), made)
    column = answers.task.text
    words = constant_words(turns)
    texts = [words.text_of(turn) for turn in turns]
    known = [place for place, text in enumerate(texts) if text is not None and text.strip()]
    rows = Rows(
        inputs=tuple({column: texts[place]} for place in known),
        labels=tuple(answers.labels[said[place]] for place in known),
        text=column,
        numbers=tuple(place + 1 for place in known),
    )
    compares = key is not None or (not answers.json and (style == "completion" or apart_at_once(answers.written)))
    answer: dict[str, Any] = {"method": answers.method(compares=compares)}
    if answers.words:
        answer["words"] = dict(answers.words)
    recipe = TrainingRecipe(
        task=answers.task,
        template=words.template(column),
        system=None if system is None else literal(system) or '{{ "" }}',
        answer=answer,
        style=style,
        lines=count,
        reproduced=0,
        inferred=task is None,
        rows=rows,
    )
    return _checked(recipe, [lines[place] for place in known], answers)


def _checked(recipe: TrainingRecipe, lines: Sequence[_Line], answers: AnswerSet) -> TrainingRecipe:
    """The recipe with the number of lines that its own spec writes again, word for word."""
    try:
        spec = recipe.spec(Endpoint(provider="openai", model="any"))
    except SpecError as error:
        raise UnreadableRecipe(f"its recipe is no valid spec ({error})") from error
    adapter = adapter_for(spec, {})
    if adapter.answer_mode in ("text", "json"):
        for answer, label in answers.labels.items():
            read = adapter.reader.read_json(answer) if answers.json else adapter.reader.read(answer)
            if read.value != label:
                raise UnreadableRecipe(f"its answer {answer!r:.60} would not be read as {label!r}")
    if isinstance(spec, FineTune):
        written = [_chat_line(example) for example in spec.training_examples(recipe.rows)]
    else:
        written = [_completion_line(adapter, *row) for row in zip(recipe.rows.inputs, recipe.rows.labels, strict=True)]
    same = sum(one == other for one, other in zip(written, lines, strict=True))
    if not same:
        raise UnreadableRecipe("its lines are not what any recipe of Luthier writes")
    return TrainingRecipe(**{**recipe.__dict__, "reproduced": same})


def _completion_line(adapter: PromptAdapter, inputs: Mapping[str, Any], label: Any) -> _Line:
    prompt = adapter.request(inputs).body["prompt"]
    return _Line(None, (), prompt, adapter.answers[adapter.task.position(label)], "completion")


def _letter_key(turns: Sequence[str]) -> tuple[str, dict[str, str]] | None:
    """The key from letters to labels at the end of every turn, and what each letter stands for."""
    _, found, rest = turns[0].rpartition(LETTER_KEY)
    if not found or not all(turn.endswith(found + rest) for turn in turns):
        return None
    pairs = [line.partition(" = ") for line in rest.split("\n")]
    if [letter for letter, _, _ in pairs] != [chr(ord("A") + place) for place in range(len(pairs))]:
        return None
    return found + rest, {letter: word for letter, _, word in pairs}


def _read(content: bytes) -> tuple[list[_Line], Counter[str]]:
    """The lines, and why others cannot be read, with how many."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableRecipe("its training file is not UTF-8") from error
    lines: list[_Line] = []
    strange: Counter[str] = Counter()
    # Only these end a line: JSON may hold other characters that Python takes for a line break.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except ValueError as error:
            raise UnreadableRecipe(f"its training file is not JSON in line {number}") from error
        found = _line(given) if isinstance(given, dict) else "its lines are no JSON objects"
        if isinstance(found, str):
            strange[found] += 1
        else:
            lines.append(found)
    return lines, strange


def _line(given: Mapping[str, Any]) -> _Line | str:
    """A line, or why it cannot be read."""
    if isinstance(given.get("prompt"), str) and isinstance(given.get("completion"), str):
        return _Line(None, (), given["prompt"], given["completion"].strip(), "completion")
    if "preferred_output" in given or "chosen" in given:
        return "its lines compare a preferred answer with another; imports know answers to learn"
    return _chat_line(given)


def _chat_line(given: Mapping[str, Any]) -> _Line | str:
    messages = given.get("messages")
    if not isinstance(messages, list) or not all(isinstance(turn, dict) for turn in messages):
        return "its lines have neither messages nor a prompt and a completion"
    turns = [(str(turn.get("role")), _content(turn)) for turn in messages]
    if any(text is None for _, text in turns):
        return "its turns hold images, audio or calls of tools; imports know texts"
    read = [(role, text) for role, text in turns if text is not None]
    system = read.pop(0)[1] if read and read[0][0] in SYSTEM else None
    if len(read) < 2 or read[-1][0] != "assistant":
        return "its lines end without an answer of the assistant, as those of reinforcement do"
    if messages[-1].get("weight") == 0:
        return "its answers have weight 0, so nothing was learned from them"
    if [role for role, _ in read] != ["user", "assistant"] * (len(read) // 2):
        return "its turns are not those of a user and an assistant in turn"
    return _Line(system, tuple(read[:-2]), read[-2][1], read[-1][1])


def _content(turn: Mapping[str, Any]) -> str | None:
    """The text of a turn; `None` where it is more than text."""
    content = turn.get("content")
    if turn.get("tool_calls") or turn.get("function_call") or turn.get("role") in ("tool", "function"):
        return None
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        return "".join(str(part.get("text")) for part in parts) if len(parts) == len(content) else None
    return content if isinstance(content, str) else None
