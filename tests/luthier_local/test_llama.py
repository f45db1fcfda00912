"""SmolLM2 and WordLlama behind the protocol: real weights, real llama.cpp."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from luthier.providers.local_service import attach
from luthier_local import ModelCard
from luthier_local.service import service_models
from tests.luthier_local.tuning import served

MODEL = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def smol() -> Iterator[openai.OpenAI]:
    pytest.importorskip("xllamacpp")
    with served(models=service_models()) as (_, client):
        yield client


@pytest.mark.slow
class TestSmolLM2:
    def test_completions_have_openais_logprobs(self, smol: openai.OpenAI) -> None:
        answer = smol.completions.create(
            model=MODEL, prompt="The capital of France is", temperature=0, max_tokens=3, logprobs=5
        )
        choice = answer.choices[0]
        assert " Paris" in choice.text
        assert choice.logprobs is not None
        assert choice.logprobs.tokens is not None
        assert choice.logprobs.top_logprobs is not None
        assert "".join(choice.logprobs.tokens) == choice.text
        assert len(choice.logprobs.top_logprobs[0]) == 5
        assert sum(math.exp(value) for value in choice.logprobs.top_logprobs[0].values()) <= 1
        assert choice.finish_reason == "length"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 3

    def test_chat_streams_what_it_answers_whole(self, smol: openai.OpenAI) -> None:
        whole = smol.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Say hello."}], temperature=0, max_tokens=12
        )
        parts = smol.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Say hello."}],
            temperature=0,
            max_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(parts)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage is not None
        assert whole.usage is not None
        assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens

    def test_a_schema_is_satisfied(self, smol: openai.OpenAI) -> None:
        schema: dict[str, object] = {
            "type": "object",
            "properties": {"label": {"enum": ["good", "bad"]}},
            "required": ["label"],
        }
        answer = smol.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Is a broken camera good or bad?"}],
            temperature=0,
            max_tokens=40,
            response_format={"type": "json_schema", "json_schema": {"name": "r", "schema": schema}},
        )
        assert json.loads(answer.choices[0].message.content or "")["label"] in {"good", "bad"}

    def test_an_answer_does_not_depend_on_what_was_asked_before_or_beside_it(self, smol: openai.OpenAI) -> None:
        shared = "".join(f"Review: thing {i} broke soon\nRating: bad\n\n" for i in range(5))

        def ask(x: str) -> object:
            prompt = f"{shared}Review: {x}\nRating:"
            answer = smol.completions.create(model=MODEL, prompt=prompt, temperature=0, max_tokens=1, logprobs=20)
            logprobs = answer.choices[0].logprobs
            assert logprobs is not None
            return logprobs.top_logprobs

        alone = ask("it broke")
        with ThreadPoolExecutor(4) as pool:
            beside = list(pool.map(ask, ["fine", "it broke", "great stuff", "it broke"]))
        assert [beside[1], beside[3]] == [alone, alone]

    @pytest.mark.parametrize("words", [4090, 60_000])
    def test_a_prompt_beyond_the_context_is_refused(self, smol: openai.OpenAI, words: int) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            smol.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "word " * words}], max_tokens=1
            )
        assert caught.value.code == "context_length_exceeded"

    def test_an_emoji_is_answered(self, smol: openai.OpenAI) -> None:
        answer = smol.completions.create(model=MODEL, prompt="😀👩‍👧", temperature=0, max_tokens=2, logprobs=3)
        assert answer.choices[0].logprobs is not None

    def test_it_does_not_embed(self, smol: openai.OpenAI) -> None:
        with pytest.raises(openai.PermissionDeniedError):
            smol.embeddings.create(model=MODEL, input="x")


@pytest.mark.slow
def test_wordllama_puts_like_texts_together(smol: openai.OpenAI) -> None:
    texts = ["the food was great", "a wonderful meal", "tax law of 1921", "😀"]
    vectors = [item.embedding for item in smol.embeddings.create(model="wordllama-256", input=texts).data]
    assert {len(vector) for vector in vectors} == {256}

    def alike(one: int, other: int) -> float:
        return sum(a * b for a, b in zip(vectors[one], vectors[other], strict=True))

    assert alike(0, 0) == pytest.approx(1, abs=1e-5)
    assert alike(0, 1) > alike(0, 2)


@pytest.mark.slow
def test_a_file_that_is_no_model_is_told_to_the_client(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    wrong, cut = tmp_path / "wrong.gguf", tmp_path / "cut.gguf"
    wrong.write_bytes(b"not a model")
    cut.write_bytes(b"GGUF" + bytes(1000))
    cards = [ModelCard(path.stem, backend="llama", path=str(path)) for path in (wrong, cut)]
    with served(models=[*cards, ModelCard("stars")]) as (_, client):
        for name, said in (("wrong", "no GGUF file"), ("cut", "cannot load")):
            with pytest.raises(openai.InternalServerError, match=said):
                client.completions.create(model=name, prompt="x")
        assert client.completions.create(model="stars", prompt="x").choices


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_attach_has_the_chat_model_ready(clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "0.3")
    service = attach(MODEL)
    with openai.OpenAI(base_url=service.base_url, api_key=service.token) as client:
        # Its weights are in the server's memory before anything is asked.
        assert ".gguf" in Path(f"/proc/{service.pid}/maps").read_text()
        assert client.completions.create(model=MODEL, prompt="Stars:", max_tokens=1).choices
    assert service.digest_of(MODEL).endswith("+q8_0")
    service.release()
