from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.errors import DataError, EndpointError, Partial, SpecError
from luthier.providers.endpoint import compatible
from luthier.providers.exchange import Answer, Request, Usage
from luthier.spec import Fitted
from luthier.tasks.task import Rows
from luthier.techniques import read_fitted
from luthier.techniques.prompt.prompt import Prompt
from tests.conversing import ENDPOINT, MOOD, hold, rows, scores

EMBEDS = compatible("some-embedder", "http://127.0.0.1:1/v1", api_key_env="EMBED_KEY")
NEAREST = {"count": 2, "select": "nearest", "endpoint": EMBEDS}
TRAIN = rows(
    *[f"angle {a}" for a in range(0, 100, 10)], labels=["good" if a < 50 else "bad" for a in range(0, 100, 10)]
)


def prompt(template: str = "Mood of: {{ text }}", **settings: Any) -> Prompt:
    return Prompt(MOOD, template, **{"endpoint": ENDPOINT, "examples": NEAREST, **settings})


def vector(text: str, length: int = 2) -> Answer:
    """Texts like "angle 30" lie on a circle at that many degrees, so who is near is plain."""
    number = int((re.findall(r"\d+", text) or ["0"])[0])
    turned = np.zeros(length, dtype="<f4")
    turned[:2] = np.cos(np.radians(number)), np.sin(np.radians(number))
    return Answer(embedding=turned.tobytes(), usage=Usage(3, 0), cost_usd=0.25, latency_seconds=0.5)


def reply(request: Request) -> Answer:
    if request.operation == "embedding":
        assert request.endpoint == EMBEDS
        return vector(request.body["input"])
    return Answer(text="good", finish_reason="stop", usage=Usage(10, 1), cost_usd=1.0, latency_seconds=1.0)


def instead(change: Callable[[str], Answer | None]) -> Callable[[Request], Answer]:
    """As `reply`, with some embeddings answered otherwise."""

    def changed(request: Request) -> Answer:
        found = change(request.body["input"]) if request.operation == "embedding" else None
        return reply(request) if found is None else found

    return changed


def fitted_on(spec: Prompt, train: Any = TRAIN) -> Fitted:
    return hold(spec.fit(train), reply)


def shown_to(text: str, spec: Prompt | None = None, train: Any = TRAIN) -> list[str]:
    """The texts of the examples a row is shown, in order."""
    spec = spec or prompt()
    rounds: list[list[Request]] = []
    hold(spec.predict(rows(text), fitted_on(spec, train)), reply, rounds)
    turns = rounds[1][0].body["messages"]
    return [turn["content"].removeprefix("Mood of: ") for turn in turns[:-1] if turn["role"] == "user"]


def test_the_nearest_are_shown_and_the_most_similar_stands_last() -> None:
    assert shown_to("at 42") == ["angle 50", "angle 40"]


def test_a_row_is_never_shown_its_own_text() -> None:
    assert shown_to(" ANGLE  40") == ["angle 50", "angle 30"] or shown_to(" ANGLE  40") == ["angle 30", "angle 50"]


def test_equal_texts_are_shown_once() -> None:
    train = rows("angle 40", "Angle  40", "angle 80", labels=["good", "good", "bad"])
    assert shown_to("at 42", train=train) == ["angle 80", "angle 40"]


def test_each_training_text_is_embedded_once() -> None:
    train = rows("angle 1", "Angle 1", "angle 2", None, "angle 3", labels=["good", "good", "bad", "bad", None])
    rounds: list[list[Request]] = []
    hold(prompt().fit(train), reply, rounds)
    assert [[request.body for request in sent] for sent in rounds] == [[{"input": "angle 1"}, {"input": "angle 2"}]]


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    spec = prompt()
    fitted = fitted_on(spec)
    gather: list[list[Request]] = []
    hold(spec.predict(rows("at 3", "at 42", "at 88"), fitted), reply, gather)
    alone: list[list[Request]] = []
    hold(spec.predict(rows("at 42"), fitted), reply, alone)
    assert gather[1][1] == alone[1][0]


def test_a_blank_row_and_one_the_template_fails_on_are_not_embedded() -> None:
    train = rows("angle 1", "angle 2", "angle 3", labels=["good", "bad", "good"], price=[1, 2, 3])
    spec = prompt("{{ price + 1 }} {{ text }}")
    rounds: list[list[Request]] = []
    given = rows(" ", "at 3", "at 4", price=[1, "cheap", 2])
    found = hold(spec.predict(given, fitted_on(spec, train)), reply, rounds)
    assert [p.state for p in found] == ["empty", "failed", "ok"]
    assert [request.body["input"] for request in rounds[0]] == ["at 4"]


def test_a_training_row_the_template_fails_on_is_never_shown() -> None:
    train = rows("angle 1", "angle 2", "angle 3", labels=["good", "bad", "good"], price=[1, "cheap", 3])
    assert len(fitted_on(prompt("{{ price + 1 }} {{ text }}"), train).state["pool"]) == 2


@pytest.mark.parametrize(
    ("answer", "state", "transient"),
    [
        (Answer(failure="permanent", error="too long"), "failed", False),
        (Answer(failure="transient", error="500"), "failed", True),
        (Answer(failure="content", error="filtered"), "refused", False),
    ],
)
def test_a_row_without_vector_fails_alone(answer: Answer, state: str, transient: bool) -> None:
    spec = prompt()
    one, other = hold(
        spec.predict(rows("odd 1", "at 42"), fitted_on(spec)), instead(lambda text: answer if "odd" in text else None)
    )
    assert (one.state, one.transient, other.state) == (state, transient, "ok")
    assert one.error == f"its text got no embedding: {answer.error}"


def test_a_vector_that_is_no_numbers_fails_its_row_and_leaves_out_its_training_text() -> None:
    def nan(text: str) -> Answer | None:
        return Answer(embedding=np.array([np.nan, 1], "<f4").tobytes()) if text in ("odd 1", "angle 40") else None

    fitted = hold(prompt().fit(TRAIN), instead(nan))
    assert len(fitted.state["pool"]) == len(TRAIN) - 1
    one, other = hold(prompt().predict(rows("odd 1", "at 42"), fitted), instead(nan))
    assert (one.state, other.state) == ("failed", "ok")


def test_cost_and_time_of_a_row_hold_its_embedding() -> None:
    spec = prompt()
    (found,) = hold(spec.predict(rows("at 42"), fitted_on(spec)), reply)
    call = found.call
    assert (call.cost_usd, call.spent_usd, call.latency_seconds, call.input_tokens) == (1.25, 1.25, 1.5, 13)


def test_a_vector_of_another_length_names_both_and_the_cure() -> None:
    spec = prompt(name="near")
    with pytest.raises(EndpointError, match=r"'near'.*some-embedder.* 3 .* 2"):
        hold(spec.predict(rows("at 42"), fitted_on(spec)), instead(lambda text: vector(text, 3)))


def test_vectors_of_two_lengths_are_two_models() -> None:
    with pytest.raises(EndpointError, match="vectors of 2 and 3 numbers"):
        hold(prompt().fit(TRAIN), instead(lambda text: vector(text, 3 if "40" in text else 2)))


def test_a_training_text_that_may_be_embedded_later_leaves_the_fit_partial() -> None:
    with pytest.raises(Partial, match="1 of 10 training texts have no vector yet"):
        hold(prompt().fit(TRAIN), instead(lambda text: Answer(failure="transient") if "40" in text else None))


def test_a_training_text_the_service_will_not_embed_is_left_out() -> None:
    fitted = hold(prompt().fit(TRAIN), instead(lambda t: Answer(failure="content") if "40" in t else None))
    assert (len(fitted.state["pool"]), fitted.arrays["vectors"].shape) == (9, (9, 2))


def test_an_endpoint_that_embeds_nothing_is_named() -> None:
    with pytest.raises(EndpointError, match=r"0 of 10 training texts.*no such model"):
        hold(prompt().fit(TRAIN), lambda request: Answer(failure="permanent", error="no such model"))


def test_fewer_training_rows_than_examples() -> None:
    with pytest.raises(DataError, match=r" 2 nearest examples.* 1 .*prompt\.examples\.count"):
        hold(prompt().fit(rows("angle 1", labels=["good"])), reply)


def test_calibration_rows_are_never_shown() -> None:
    spec = prompt(answer={"method": "score", "calibration_rows": 4})
    scored = scores({"good": 0.6, "bad": 0.4})
    rounds: list[list[Request]] = []
    fitted = hold(spec.fit(TRAIN), lambda r: reply(r) if r.operation == "embedding" else scored(r), rounds)
    pool = {example["inputs"]["text"] for example in fitted.state["pool"]}
    held = {request.body["input"] for request in rounds[1]}
    assert (len(pool), len(held), pool & held) == (6, 4, set())


def test_a_saved_folder_shows_the_same(tmp_path: Path) -> None:
    spec = prompt()
    fitted = fitted_on(spec)
    again = read_fitted(fitted.save(tmp_path / "fitted"))
    rounds: list[list[Request]] = []
    others: list[list[Request]] = []
    hold(fitted.predict(rows("at 42", "at 7")), reply, rounds)
    hold(again.predict(rows("at 42", "at 7")), reply, others)
    assert rounds == others
    assert again.arrays["vectors"].dtype == np.float32


def test_the_price_holds_the_embeddings_and_the_longest_examples() -> None:
    spec = prompt()
    fitting, answering = spec.first_requests(rows("at 42", "at 42", None), TRAIN)
    assert [request.operation for request in fitting] == ["embedding"] * 10
    assert [request.operation for request in answering] == ["embedding", "chat", "chat"]
    # One example more than is shown, as a row of the pool leaves its own out.
    assert len(answering[1].body["messages"]) == 2 * 3 + 1


def test_a_fitted_one_has_only_rows_left_to_price() -> None:
    spec = prompt()
    fitting, answering = spec.first_requests(rows("at 42"), None, fitted_on(spec))
    assert (fitting, [request.operation for request in answering]) == ([], ["embedding", "chat"])


def test_a_preview_says_which_examples_are_not_known_yet() -> None:
    import pandas as pd

    train = pd.DataFrame({"text": list(TRAIN.texts), "label": list(TRAIN.labels)})
    shown = prompt().preview(pd.DataFrame({"text": ["at 42"]}), train)
    assert any("nearest" in note for note in shown.notes)
    assert len(shown.turns[0]) == 5


def test_both_endpoints_belong_to_the_spec() -> None:
    spec = prompt()
    assert spec.endpoints == (ENDPOINT, EMBEDS)
    assert [probe.operation for probe in spec.probes()] == ["chat", "embedding"]


def test_another_chat_model_keeps_the_model_that_embeds() -> None:
    moved = prompt().with_endpoint(compatible("other", "http://127.0.0.1:2/v1"))
    assert [endpoint.model for endpoint in moved.endpoints] == ["other", "some-embedder"]


def test_the_key_of_the_model_that_embeds_changes_no_digest() -> None:
    other = {**NEAREST, "endpoint": compatible("some-embedder", "http://127.0.0.1:1/v1", api_key_env="OTHER_KEY")}
    assert prompt(examples=other).digest == prompt().digest


def test_another_model_that_embeds_is_another_spec() -> None:
    other = {**NEAREST, "endpoint": compatible("other-embedder", "http://127.0.0.1:1/v1")}
    assert prompt(examples=other).digest != prompt().digest


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ({"count": 2, "select": "nearest"}, "select: nearest needs a model that embeds; add endpoint: {provider"),
        ({"count": 2, "endpoint": EMBEDS}, "endpoint is for select: nearest, and select is balanced"),
        ({"count": 0, "select": "nearest", "endpoint": EMBEDS}, "select: nearest needs a count of at least 1"),
        ({"count": [1, 3]}, "count is a list, which only select: searched takes"),
        ({"count": 2, "samples": 9}, "samples belong to select: searched, and select is balanced"),
        ({"count": [3, 3], "select": "searched"}, "count lists different numbers of examples"),
        ({"count": 2.5}, "count is a whole number"),
    ],
)
def test_a_wrong_choice_of_examples_is_explained(examples: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as found:
        prompt(examples=examples)
    assert message in str(found.value)


class Counted(dict[str, Any]):
    """A row that counts how often its cells are read."""

    reads = 0

    def __getitem__(self, name: str) -> Any:
        Counted.reads += 1
        return super().__getitem__(name)


def test_a_table_of_twice_the_rows_takes_twice_the_reading() -> None:
    def reads(count: int) -> int:
        Counted.reads = 0
        inputs = tuple(Counted(text=f"angle {i}") for i in range(count))
        prompt().first_requests(Rows((), (), "text"), Rows(inputs, ("good",) * count, "text"))
        return Counted.reads

    assert reads(400) <= 2.5 * reads(200)


def test_equal_vectors_stand_in_the_order_of_the_training_rows_in_any_batch() -> None:
    train = rows(*[f"twin {i} angle 5" for i in range(40)], labels=["good", "bad"] * 20)
    spec = prompt()
    fitted = hold(spec.fit(train), instead(lambda text: vector("5")))
    given = [f"at {i}" for i in range(30)]
    batch: list[list[Request]] = []
    hold(spec.predict(rows(*given), fitted), reply, batch)
    for place in (0, 7, 29):
        alone: list[list[Request]] = []
        hold(spec.predict(rows(given[place]), fitted), reply, alone)
        assert alone[1][0] == batch[1][place]
        shown = [turn["content"] for turn in alone[1][0].body["messages"][:-1] if turn["role"] == "user"]
        assert shown == ["Mood of: twin 1 angle 5", "Mood of: twin 0 angle 5"]


def test_a_label_without_training_rows_is_noted_where_the_leaderboard_shows_it() -> None:
    train = rows("angle 1", "angle 2", "angle 3", labels=["good"] * 3)
    assert fitted_on(prompt(), train).state["notes"] == ["No training row has label bad, so no example shows it."]
    assert "notes" not in fitted_on(prompt()).state
