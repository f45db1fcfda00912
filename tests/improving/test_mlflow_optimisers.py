"""MLflow's GEPA asks through the search alone: within its budget, from its journal, and what it writes stays text."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Engine, Journal
from luthier.errors import BudgetReached, EndpointError, MissingPart
from luthier.improving import mlflow_optimisers
from luthier.improving.mlflow_optimisers import Gepa
from luthier.improving.records import MeasuredPrompt, Proposal
from luthier.tasks.task import Rows
from luthier.techniques import Prompt
from tests.conftest import REPOSITORY
from tests.improving.searching import Searching
from tests.patience import PATIENCE_SECONDS
from tests.scripted_server import Refused, serving

pytest.importorskip("gepa", reason="gepa has no release for Python 3.15")

WORDS = {"rhubarb": "5", "gristle": "1", "velvet": "4", "cardboard": "2", "thunder": "5", "puddle": "1"}
FIRST = "How many stars does the guest give, from 1 to 5?"
TOLD = re.compile(r"it was (\w+) here.*?the right answer is (\d)", re.S)

Writes = Callable[[str], str]


def adds_a_word(prompt: str) -> str:
    """A writer that reads one word off a wrong row, as a person would."""
    present = prompt.partition("```\n")[2].partition("\n```")[0]
    told = prompt.partition("# Example 1")[2]
    for example in told.split("# Example"):
        found = TOLD.search(example)
        if found and found[1] not in present:
            return f"Sure.\n```\n{present} A {found[1]} is {found[2]}.\n```"
    return f"```\n{present}\n```"


def knows_what_it_is_told(prompt: str) -> str:
    """A model that knows no word but those the instructions explain."""
    instructions, _, text = prompt.rpartition("Text: ")
    word = next(word for word in WORDS if word in text)
    return WORDS[word] if f"{word} is" in instructions else "3"


@contextmanager
def service(writes: Writes = adds_a_word) -> Iterator[tuple[Endpoint, list[tuple[bool, str]]]]:
    """A chat service, and what it was asked: whether to write, and the prompt."""
    asked: list[tuple[bool, str]] = []

    def answer(body: bytes) -> str:
        prompt = "\n\n".join(turn["content"] for turn in json.loads(body)["messages"])
        is_writing = "write a new instruction" in prompt
        asked.append((is_writing, prompt))
        said = writes(prompt) if is_writing else knows_what_it_is_told(prompt)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        usage = {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55}
        return json.dumps({"id": "x", "object": "chat.completion", "model": "m", "usage": usage, "choices": [choice]})

    with serving(200, answer) as url:
        yield Endpoint(provider="compatible", base_url=url, model="m"), asked


def reviews(count: int = 36) -> Rows:
    words = [list(WORDS)[number % len(WORDS)] for number in range(count)]
    inputs = tuple({"text": f"Visit {number}: it was {word} here"} for number, word in enumerate(words))
    return Rows(inputs=inputs, labels=tuple(WORDS[word] for word in words), text="text")


def starting(task: lt.Task, endpoint: Endpoint) -> Prompt:
    return lt.Prompt(task, "Text: {{ text }}", system=FIRST, endpoint=endpoint, name="first")


def words_of(spec: Prompt) -> set[str]:
    return {word for word in WORDS if word in (spec.prompt.system or "")}


def test_it_finds_the_words_that_decide(engine: Engine, task: lt.Task) -> None:
    with service() as (endpoint, asked):
        search = Searching(starting(task, endpoint), reviews(), engine)
        by = Gepa()
        found = [one for _ in range(4) for one in by.propose(search, 4)]
        assert any(words_of(one.spec) == set(WORDS) for one in found)
    assert len({one.spec.digest for one in found}) == len(found)
    assert all(one.how == "instructions rewritten by GEPA from 8 rows" and one.parent for one in found)
    assert max(Counter(asked).values()) == 1


class Limited(Searching):
    """A search whose budget reaches for so many rows; of its money the writer's answers take none."""

    def __init__(self, start: Prompt, rows: Rows, engine: Engine, most: int) -> None:
        self.left = most
        super().__init__(start, rows, engine)

    def measure(self, proposals: Sequence[Proposal], positions: Sequence[int]) -> Sequence[MeasuredPrompt]:
        if len(positions) > self.left:
            raise BudgetReached(f"{self.left} rows are left")
        self.left -= len(positions)
        return super().measure(proposals, positions)


def test_the_end_of_the_budget_ends_it_with_what_is_known(engine: Engine, task: lt.Task) -> None:
    with service() as (endpoint, asked):
        spec = starting(task, endpoint)
        with pytest.raises(BudgetReached, match="left"):
            Gepa().propose(Limited(spec, reviews(), engine, 36 + 8 + 10), 4)
        found = Gepa().propose(Limited(spec, reviews(), engine, 36 + 8 + 28 + 8), 4)
        assert len(found) == 1
        assert sum(not is_writing for is_writing, _ in asked) <= 36 + 8 + 28 + 8


@pytest.mark.parametrize("rows", [40, 44, 76, 80, 112, 150])
def test_a_search_that_was_stopped_goes_on_without_paying_twice(engine: Engine, task: lt.Task, rows: int) -> None:
    with service() as (endpoint, asked):
        spec = starting(task, endpoint)
        # As if it had been killed: all that is left of it is the journal.
        with contextlib.suppress(BudgetReached):
            Gepa().propose(Limited(spec, reviews(), engine, rows), 4)
        found = Gepa().propose(Searching(spec, reviews(), engine), 4)
        paid = Counter(asked)
    with service() as (endpoint, asked):
        at_once = Gepa().propose(Searching(starting(task, endpoint), reviews(), Engine(Journal.in_memory())), 4)
    assert [one.spec.prompt for one in found] == [one.spec.prompt for one in at_once]
    assert paid == Counter(asked)
    assert set(paid.values()) == {1}


def test_it_goes_on_where_it_stopped_while_the_best_prompt_is_its_own(engine: Engine, task: lt.Task) -> None:
    with service() as (endpoint, asked):
        search = Searching(starting(task, endpoint), reviews(), engine)
        by = Gepa()
        first, second = by.propose(search, 1), by.propose(search, 1)
        assert words_of(first[0].spec) < words_of(second[0].spec)
        other = search.start.with_settings({"prompt.system": FIRST + " A velvet is 4. A puddle is 1. A thunder is 5."})
        search.measure([Proposal(other, "", "by hand")], range(36))
        (third,) = by.propose(search, 1)
        assert third.spec.prompt.system is not None
        assert third.spec.prompt.system.startswith(other.prompt.system or "no")
        assert max(Counter(asked).values()) == 1


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("```\nRate from 1 to 5 stars. {{ 7 * 7 }}{% for x in y %} {# 1 #}\n```", None),
        ("```\n\n```", "it is empty"),
        ("```\n" + "many words from 1 to 5 " * 200 + "\n```", "characters, and"),
        ("```\nFrom 1 to 5, as in: COPIED\n```", "copies the words"),
        ("```\nNumbers.\n```", "does not name the answer"),
        (f"```\n{FIRST}\n```", "was measured already"),
    ],
)
def test_what_is_written_is_a_text_of_the_prompt_or_nothing(
    written: str, why: str | None, engine: Engine, task: lt.Task
) -> None:
    def writes(prompt: str) -> str:
        return written.replace("COPIED", re.findall(r"Visit \d+: it was \w+ here", prompt)[0])

    with service(writes) as (endpoint, asked):
        search = Searching(starting(task, endpoint), reviews(), engine)
        Gepa().propose(search, 1)
        prompts = {prompt for is_writing, prompt in asked if not is_writing}
        assert any((why or "was measured already") in note for note in search.notes)
        assert why is not None or sum("stars. {{ 7 * 7 }}{% for x in y %} {# 1 #}" in one for one in prompts) == 8
        assert all(re.search(r"Text: Visit \d+: it was \w+ here$", one) for one in prompts)


def test_an_error_of_the_writer_is_told_and_not_asked_for_again(engine: Engine, task: lt.Task) -> None:
    def refuses(_: str) -> str:
        raise Refused(401, '{"error": {"message": "wrong key"}}')

    with service(refuses) as (endpoint, asked):
        with pytest.raises(EndpointError, match="wrong key"):
            Gepa().propose(Searching(starting(task, endpoint), reviews(), engine), 4)
        assert sum(is_writing for is_writing, _ in asked) == 1


def test_rows_that_are_answered_right_ask_for_nothing(engine: Engine, task: lt.Task) -> None:
    with service() as (endpoint, asked):
        told = " ".join(f"A {word} is {stars}." for word, stars in WORDS.items())
        search = Searching(starting(task, endpoint).with_settings({"prompt.system": told}), reviews(), engine)
        assert Gepa().propose(search, 4) == []
        assert len(asked) == 36


WATCHED = """
import sys
from pathlib import Path

def watch(event, given):
    if event == "socket.connect" and str(given[1][0]) not in ("127.0.0.1", "::1"):
        print("CONNECTED", given[1])
    if event == "open" and isinstance(given[0], str) and isinstance(given[1], str) and set(given[1]) & set("wax+"):
        print("WROTE", given[0])
    if event == "pickle.find_class":
        print("UNPICKLED", given)

import mlflow, mlflow.genai.optimize
from luthier.endpoints import Engine, Journal
from luthier.improving.mlflow_optimisers import Gepa
from tests.conftest import stars
from tests.improving import test_mlflow_optimisers as here
sys.addaudithook(watch)
with here.service() as (endpoint, asked):
    search = here.Searching(here.starting(stars(), endpoint), here.reviews(), Engine(Journal.in_memory()))
    found = Gepa().propose(search, 4)
print(len(found), mlflow.active_run(), {"litellm", "dspy"} & {*sys.modules}, list(Path().iterdir()))
"""


@pytest.mark.slow
def test_it_connects_to_nothing_else_writes_no_file_and_logs_no_run(tmp_path: Path) -> None:
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")])
    done = subprocess.run(
        [sys.executable, "-c", WATCHED],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "3"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.stdout.splitlines()[-1:] == ["4 None set() []"], done.stdout + done.stderr


def test_a_package_that_is_missing_is_named_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_optimisers, "PACKAGE", "no_such_package")
    with pytest.raises(MissingPart, match=r"needs no_such_package.*pip install 'luthier\[gepa\]'.*--by rewrite"):
        Gepa()
