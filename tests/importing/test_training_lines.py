"""A training file is read back as the recipe that wrote it, and as nothing else."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.importing.answer_sets import answer_set
from luthier.importing.constant_words import constant_words, literal
from luthier.importing.training_lines import TrainingRecipe, UnreadableRecipe, recipe_of
from luthier.techniques.finetune import Tuned
from luthier.techniques.prompt.template import compiled
from luthier.tuning.training_files import training_file
from tests.work import python_calls

BASE = lt.openai("gpt-4.1-mini-2025-04-14")
SENTENCES = [
    "Cold soup, and nobody said sorry.",
    "What a lovely room!",
    "It was fine",
    "The bar is loud; we left early.",
    "Never again: they lost our booking.",
    "Staff remembered us from last year",
    "A view of the harbour, and breakfast until noon.",
    "12 minutes for a coffee",
    "I would come back for the bread alone",
    "Parking costs more than dinner.",
    'They said "soon" twice',
    "Ask for the table by the window",
]


def table() -> pd.DataFrame:
    """Sixty sentences of many kinds, each with a rating."""
    texts = [f"{one}{' !' * times}" for times in range(5) for one in SENTENCES]
    return pd.DataFrame({"text": texts, "stars": [1 + place % 5 for place in range(len(texts))]})


def written(spec: lt.FineTune) -> bytes:
    """The file that Luthier itself uploads for this spec."""
    return training_file(spec, spec.task.rows(table(), labelled=True)).content


def chat(pairs: list[tuple[str, str]], system: str | None = None, template: str = "%s") -> bytes:
    lines = []
    for text, answer in pairs:
        turns = [] if system is None else [{"role": "system", "content": system}]
        turns.append({"role": "user", "content": template.replace("%s", text)})
        lines.append({"messages": [*turns, {"role": "assistant", "content": answer}]})
    return jsonl(lines)


def jsonl(lines: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def rated(*answers: str) -> list[tuple[str, str]]:
    """Every sentence twice, with these answers in turn."""
    return list(zip([*SENTENCES, *(f"{one} Again." for one in SENTENCES)], itertools.cycle(answers), strict=False))


def texts_of(recipe: TrainingRecipe) -> list[str]:
    return [row[recipe.task.text] for row in recipe.rows.inputs]


WORDS = {"1": "terrible", "2": "poor", "3": "okay", "4": "good", "5": "excellent"}
PROMPTS = [
    ("Stars for: {{ text }}", None),
    ("Review: {{ text }}\nStars:", None),
    ("Text: {{ text }}\nAnswer:", "How does the writer feel? Answer with one word: {{ words | join(', ') }}."),
    ("Stars (one of {{ labels | join(', ') }}) for: {{ text }}", None),
    ("{{ text }}", "Rate the review from 1 to 5.\nAnswer with the number alone."),
    ("Rate this review from 1 to 5 {{ text }}", None),
    ("<review>{{ text }}</review>\nStars?", None),
    ('Is "{{ text }}" good? ->', None),
    ("```\n{{ text }}\n```\n\n###\n\n", None),
]
ANSWERS: list[Any] = ["score", "text", "json", {"method": "score", "words": WORDS}, {"method": "json", "words": WORDS}]


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
@pytest.mark.parametrize(("template", "system"), PROMPTS)
def test_what_luthier_writes_is_recognised_word_for_word(
    task: lt.Task, template: str, system: str | None, answer: Any
) -> None:
    prompt = {"template": template} | ({} if system is None else {"system": system})
    spec = lt.FineTune(task, prompt=prompt, answer=answer, endpoint=BASE)
    content = written(spec)
    if "words" in (answer if isinstance(answer, dict) else {}):
        # The words stand for labels that the lines do not name.
        with pytest.raises(UnreadableRecipe, match="no labels of task 'stars'"):
            recipe_of(content, task)
        found = recipe_of(content)
        assert set(found.task.labels) == set(WORDS.values())
    else:
        found = recipe_of(content, task)
        assert (found.task, found.inferred) == (task, False)
        assert found.answer["method"] == ("json" if answer == "json" else "score")
    assert found.whole
    assert found.note == ""
    again = found.spec(BASE)
    assert isinstance(again, lt.FineTune)
    assert training_file(again, found.rows).content == content
    assert texts_of(found) == list(table()["text"])


def test_a_key_of_letters_is_part_of_the_answer_and_not_of_the_prompt() -> None:
    moods = lt.Task("moods", labels=["sad", "sorry", "serene"])
    spec = lt.FineTune(moods, "Mood: {{ text }}\n", answer="score", endpoint=BASE)
    rows = moods.rows({"text": SENTENCES, "label": ["sad", "sorry", "serene"] * 4}, labelled=True)
    content = training_file(spec, rows).content
    assert b"A = sad" in content
    found = recipe_of(content, moods)
    assert found.template == "Mood: {{ text }}"
    assert (found.answer, found.whole) == ({"method": "score"}, True)
    inferred = recipe_of(content)
    assert sorted(inferred.task.labels) == ["sad", "serene", "sorry"]


def test_a_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    content = chat(rated("1", "5", "3"), template="Stars for: %s")
    assert recipe_of(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")) == recipe_of(content)


@pytest.mark.parametrize(
    "hostile",
    ["{{ 1 + 1 }}", "{% for x in y %}", "{# gone #}", "{{", "}}", "{", "{{{ x }}}", "{%- raw -%}", "a\r\nb\r", "\n\n"],
)
def test_constant_words_are_never_run_as_a_template(hostile: str) -> None:
    prompts = [(hostile, "Rate: %s"), (None, f"{hostile}: %s"), (None, f"Rate:\n{hostile}\n%s\n{hostile}")]
    for system, template in prompts:
        found = recipe_of(chat(rated("1", "5", "3"), system, template))
        assert found.whole
        spec = found.spec(BASE)
        assert found.system is None or compiled(found.system).fill({}, (), ()) == system
        assert isinstance(spec, lt.FineTune)


def test_random_words_around_the_text_are_written_back_exactly() -> None:
    drawn = random.Random(7)
    for _ in range(200):
        text = "".join(drawn.choice("{}%#\\\"' \r\nab") for _ in range(drawn.randint(1, 12)))
        assert compiled(literal(text)).fill({}, (), ()) == text
        around = constant_words([f"{text}: {one}\n{text}" for one in SENTENCES])
        filled = compiled(around.template("text")).fill({"text": "{{ never }}"}, (), ())
        assert filled == f"{around.before}{{{{ never }}}}{around.after}"


@pytest.mark.parametrize(
    ("turns", "before", "after"),
    [
        ([f"Stars for: The {one}" for one in SENTENCES], "Stars for: ", ""),
        ([f"The {one}" for one in SENTENCES], "", ""),
        ([f"https://example.com/{number}" for number in range(20)], "", ""),
        ([f"{one} Thanks." for one in SENTENCES], "", ""),
        ([f"{one} Stars:" for one in SENTENCES], "", " Stars:"),
        ([f"Please rate this text {one}" for one in SENTENCES], "Please rate this text ", ""),
        ([f"Text: «{one}»" for one in SENTENCES], "Text: «", "»"),
        ([f"<t>{one}</t>" for one in SENTENCES], "<t>", "</t>"),
        ([f"{one}\n\n###\n\n" for one in SENTENCES], "", "\n\n###\n\n"),
        ([f"Q: {one}\n\nOn a scale\nof five:" for one in SENTENCES], "Q: ", "\n\nOn a scale\nof five:"),
        (["Rate: one"] * 20, "", ""),
    ],
)
def test_words_that_texts_share_by_chance_stay_with_the_texts(turns: list[str], before: str, after: str) -> None:
    found = constant_words(turns)
    assert (found.before, found.after) == (before, after)


def test_a_few_odd_lines_do_not_hide_the_prompt_of_the_others() -> None:
    lines = [*chat(rated("1", "5", "3"), template="Stars for: %s").splitlines(keepends=True)]
    odd = chat([("Hello there", "1")])
    found = recipe_of(b"".join([*lines, odd]))
    assert found.template == "Stars for: {{ text }}"
    assert (found.reproduced, found.lines) == (24, 25)
    assert found.note == "the recipe writes 24 of the 25 training lines word for word"


@pytest.mark.parametrize(
    ("answers", "type_", "labels"),
    [
        (("1", "2", "4", "5"), "rating", "1 2 3 4 5"),
        (("0", "10", "3"), "rating", "0 1 2 3 4 5 6 7 8 9 10"),
        (("-1", "0", "1"), "rating", "-1 0 1"),
        (("1", "1.5", "3"), "rating", "1 1.5 2 2.5 3"),
        (("0", "50", "70"), "rating", "0 10 20 30 40 50 60 70"),
        (("4 stars", "1 star", "5 stars"), "rating", "1 2 3 4 5"),
        (("4/5", "1/5", "2/5"), "rating", "1 2 3 4"),
        (("0", "1"), "classification", "0 1"),
        (("404", "500", "200"), "classification", "200 404 500"),
        (("001", "002", "003"), "classification", "001 002 003"),
        (("bad", "Good", "good", "good"), "classification", "bad good"),
        (("intent 3", "intent 14", "intent 5"), "classification", "intent 14|intent 3|intent 5"),
    ],
)
def test_answers_become_a_rating_only_where_they_are_a_scale(answers: tuple[str, ...], type_: str, labels: str) -> None:
    found = recipe_of(chat(rated(*answers)))
    assert found.task.type == type_
    assert list(found.task.labels) == labels.split("|" if "|" in labels else None)
    assert found.inferred


def test_json_under_another_key_is_written_and_read_as_it_stands() -> None:
    found = recipe_of(chat(rated('{"score": "4"}', '{"score": "1"}', '{"score": "5"}')))
    assert (found.task.labels, found.answer["method"]) == (("1", "2", "3", "4", "5"), "text")
    assert found.answer["words"]["2"] == '{"score": "2"}'
    assert found.whole


def test_json_with_luthiers_key_is_method_json() -> None:
    found = recipe_of(chat(rated('{"label": "good"}', '{"label": "bad"}')))
    assert (found.task.labels, found.answer, found.whole) == (("bad", "good"), {"method": "json"}, True)


def test_a_given_task_keeps_its_own_spelling() -> None:
    task = lt.Task("codes", labels=["001", "002", "003"], text="body", label="code")
    found = recipe_of(chat(rated("1", "2", "3")), task)
    assert found.answer == {"method": "score", "words": {"001": "1", "002": "2", "003": "3"}}
    assert (found.template, found.rows.labels[:3], found.whole) == ("{{ body }}", ("001", "002", "003"), True)


def test_answers_that_are_no_labels_of_the_task_say_which_and_what_to_do(task: lt.Task) -> None:
    with pytest.raises(UnreadableRecipe) as refused:
        recipe_of(chat(rated("spam", "ham")), task)
    assert "'spam', 'ham'" in refused.value.why
    assert "1, 2, 3, 4, 5" in refused.value.why
    assert "without --task" in refused.value.cure


def test_of_a_file_with_several_prompts_that_of_the_task_is_taken(task: lt.Task) -> None:
    topics = chat([*rated("food", "room"), *rated("food", "room")], "Which topic?")
    content = topics + chat(rated("1", "5"), "How many stars?")
    found = recipe_of(content, task)
    assert found.system == "How many stars?"
    assert (found.reproduced, found.lines) == (24, 72)
    assert recipe_of(content).task.labels == ("food", "room")


def test_free_text_is_not_taken_for_labels() -> None:
    pairs = [(one, f"Dear guest, thank you for number {place}.") for place, one in enumerate(SENTENCES * 2)]
    with pytest.raises(UnreadableRecipe, match=r"its answers are free text \(24 different ones in 24 lines"):
        recipe_of(chat(pairs))


def test_lines_that_nothing_was_learned_from_are_left_out() -> None:
    lines = [json.loads(line) for line in chat(rated("1", "5", "3")).splitlines()]
    lines[0]["messages"][-1] |= {"weight": 0, "content": "Something long and free, which is not a label."}
    lines[1]["messages"][-1]["weight"] = 1
    found = recipe_of(jsonl(lines))
    assert (found.reproduced, found.lines) == (23, 24)


def test_content_in_parts_is_read_and_images_are_refused() -> None:
    lines = [json.loads(line) for line in chat(rated("1", "5", "3"), template="Stars for: %s").splitlines()]
    for line in lines:
        line["messages"][0]["content"] = [{"type": "text", "text": line["messages"][0]["content"]}]
    assert recipe_of(jsonl(lines)).template == "Stars for: {{ text }}"
    for line in lines:
        line["messages"][0]["content"].append({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})
    with pytest.raises(UnreadableRecipe, match="images"):
        recipe_of(jsonl(lines))


def test_prompts_and_completions_become_a_prompt_to_the_tuned_model() -> None:
    lines = [{"prompt": f"{text}\n\n###\n\n", "completion": f" {answer}"} for text, answer in rated("good", "bad")]
    found = recipe_of(jsonl(lines))
    assert found.whole
    tuned = Tuned(model="ft:davinci-002:me::abc", job="ftjob-1", base_model="davinci-002")
    spec = found.spec(lt.openai("davinci-002"), tuned=tuned, name="old")
    assert isinstance(spec, lt.Prompt)
    assert (spec.technique, spec.style, spec.base_model) == ("prompt", "completion", "ft:davinci-002:me::abc")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"messages": []}\nno json\n', "not JSON in line 2"),
        (jsonl([{"input": {}, "preferred_output": [], "non_preferred_output": []}] * 3), "preferred"),
        (jsonl([{"messages": [{"role": "user", "content": "a"}], "reference": "b"}] * 3), "without an answer"),
        (chat([(one, "4") for one in SENTENCES]), "all '4'"),
        (
            jsonl([{"messages": [{"role": "tool", "content": "x"}]}]),
            "calls of tools",
        ),
        (b"".join(chat([pair], f"You are number {place}") for place, pair in enumerate(rated("1", "2"))), "system"),
    ],
)
def test_what_is_no_recipe_says_why(content: bytes, why: str) -> None:
    with pytest.raises(UnreadableRecipe) as refused:
        recipe_of(content)
    assert why in refused.value.why
    assert refused.value.why.startswith("its ")


def test_conversations_and_shown_examples_are_refused_with_a_reason() -> None:
    lines = [json.loads(line) for line in chat(rated("1", "5", "3")).splitlines()]
    shown = [{"role": "user", "content": "Great"}, {"role": "assistant", "content": "5"}]
    with pytest.raises(UnreadableRecipe, match="show 1 examples before each text"):
        recipe_of(jsonl([{"messages": [*shown, *line["messages"]]} for line in lines]))
    talks = [{"messages": [*lines[place - 1]["messages"], *line["messages"]]} for place, line in enumerate(lines)]
    with pytest.raises(UnreadableRecipe, match="up to 4 turns"):
        recipe_of(jsonl(talks))


def test_a_spec_asks_the_tuned_model_or_its_deployment(task: lt.Task) -> None:
    found = recipe_of(chat(rated("1", "5", "3"), "Rate it."), task)
    tuned = Tuned(model="ft:gpt:me:stars:abc", job="ftjob-1", base_model="gpt", run_id="r1")
    plain = found.spec(lt.openai("whatever"), tuned=tuned, name="stars")
    assert plain.endpoint is not None
    assert (plain.endpoint.model, plain.base_model) == ("ft:gpt:me:stars:abc", "gpt")
    azure = Endpoint(provider="azure", model="x", base_url="https://a.openai.azure.com")
    there = found.spec(azure, tuned=tuned, asked_as="stars-prod")
    assert there.endpoint is not None
    assert (there.endpoint.model, there.base_model) == ("stars-prod", "gpt")


def test_the_work_per_line_is_the_same_for_ten_thousand_lines(task: lt.Task) -> None:
    lines = [(f"{SENTENCES[place % 12]} {place}", str(1 + place % 5)) for place in range(10_000)]
    content = chat(lines, "Rate. " * 400, "Stars for: %s")
    found: list[TrainingRecipe] = []
    calls = python_calls(lambda: found.append(recipe_of(content, task)))
    assert found[0].reproduced == 10_000
    assert calls.total() < 300 * 10_000


def test_labels_without_lines_are_written_as_the_others_are(task: lt.Task) -> None:
    found = answer_set({"Rating: 4": 5, "Rating: 1": 5}, task)
    assert found.written == ("Rating: 1", "Rating: 2", "Rating: 3", "Rating: 4", "Rating: 5")
