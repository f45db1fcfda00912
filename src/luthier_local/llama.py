"""llama.cpp behind the protocol: its own HTTP server runs inside this process, reached over loopback.

llama.cpp's server is not exposed itself: it takes any model name, answers `completions` in a shape of
its own, and reports errors differently. Here its native routes are asked and the answers put into ours.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from luthier.errors import EndpointError, MissingPart
from luthier_local.api_errors import ApiError
from luthier_local.backend import Backend, GeneratedToken, Generation, GenerationRequest, Token
from luthier_local.weights import SMOLLM2_DIGEST, smollm2_file

__all__ = ["LlamaBackend", "weights_digest"]

# One request at a time, and none from a cache that another one left: what llama.cpp computes for a text
# differs by up to .3 in log-probability with its neighbours in a batch and with the length of a cached prefix.
_SLOTS = 1
_THREADS = "LUTHIER_LOCAL_THREADS"
_digests: dict[tuple[str, int, int], str] = {}


def weights_digest(path: str | None) -> str:
    """Identity of the weights: pinned for SmolLM2, the file's own SHA-256 for a GGUF given by path."""
    if path is None:
        return SMOLLM2_DIGEST
    try:
        found = Path(path).expanduser().stat()
        key = (path, found.st_size, found.st_mtime_ns)
        if key not in _digests:
            with Path(path).expanduser().open("rb") as file:
                _digests[key] = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        return _digests[key]
    except OSError as error:
        raise EndpointError(f"the model file {path} cannot be read: {error.strerror}") from error


class LlamaBackend(Backend):
    """One GGUF model that takes one request at a time; nothing of a prompt is kept for the next."""

    def __init__(self, engine: Any, url: str, key: str, digest: str) -> None:
        super().__init__(digest)
        self._engine = engine
        self._url = url
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def open(cls, path: str | None, context_tokens: int) -> LlamaBackend:
        """Loads the weights, fetched on first use without a path; blocks until it can answer.

        Raises:
            MissingPart: xllamacpp is not installed, or the weights cannot be fetched.
            EndpointError: The file is no model that llama.cpp reads.
        """
        try:
            import xllamacpp
        except ImportError as error:
            raise MissingPart(
                "the chat model of the embedded server needs the package xllamacpp, which is not installed; "
                'type: pip install "luthier[local]"'
            ) from error
        digest = weights_digest(path)
        file = smollm2_file() if path is None else Path(path).expanduser()
        with file.open("rb") as opened:
            if opened.read(4) != b"GGUF":
                raise EndpointError(f"{file} is no GGUF file; give the path of one that llama.cpp reads")
        key = secrets.token_hex(16)
        given = xllamacpp.CommonParams()
        given.model.path = str(file)
        given.hostnames = ["127.0.0.1"]
        given.port = _free_port()
        # Without a key llama.cpp lets every web page in this machine's browser ask it.
        given.api_keys = [key]
        given.n_parallel = _SLOTS
        given.n_ctx = context_tokens * _SLOTS
        given.cpuparams.n_threads = given.cpuparams_batch.n_threads = _threads()
        # Its default keeps old prompts and grows to more than a gigabyte.
        given.cache_ram_mib = 0
        given.verbosity = 1
        given.n_threads_http = 8
        try:
            engine = xllamacpp.Server(given)
        except RuntimeError as error:
            raise EndpointError(
                f"llama.cpp cannot load {file}: {error} It may be cut short, or of an architecture that "
                "this version does not know."
            ) from error
        return cls(engine, engine.listening_address, key, digest)

    async def generate(self, request: GenerationRequest) -> Generation:
        """The whole answer."""
        if request.max_tokens == 0:
            tokens = await self.tokenize(request.prompt or "")
            return Generation("", (), "length", len(tokens), 0)
        if request.messages is not None:
            return _chat_reply(await self._post("/v1/chat/completions", _chat_question(request)))
        return _native_reply(await self._post("/completion", _native_question(request)))

    async def stream(self, request: GenerationRequest) -> AsyncIterator[GeneratedToken | Generation]:
        """The answer as it is generated."""
        if request.max_tokens == 0:
            yield await self.generate(request)
            return
        chat = request.messages is not None
        question = _chat_question(request) if chat else _native_question(request)
        question["stream"] = True
        if chat:
            question["stream_options"] = {"include_usage": True}
        steps: list[GeneratedToken] = []
        last: dict[str, Any] = {}
        finish = "stop"
        async with self._open("/v1/chat/completions" if chat else "/completion", question) as response:
            if response.status != 200:
                raise _refusal(response.status, await response.read())
            async for line in response.content:
                if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                    continue
                event = json.loads(line[6:])
                new, ended = _chat_event(event) if chat else _native_event(event)
                last = event
                finish = ended or finish
                for step in new:
                    steps.append(step)
                    yield step
        text = "".join(step.text for step in steps)
        yield Generation(text, steps, finish, *_counts(last))

    async def tokenize(self, text: str) -> list[Token]:
        """The text in the model's tokens, without a begin-of-text token."""
        question = {"content": text, "with_pieces": True, "add_special": False}
        answer = await self._post("/tokenize", question)
        return [Token(item["id"], _piece(item["piece"])) for item in answer["tokens"]]

    async def close(self) -> None:
        """Ends llama.cpp's server and frees the weights."""
        if self._session is not None:
            await self._session.close()
        # Its destructor waits for its threads: the last reference goes on another one than the loop's.
        held, self._engine = [self._engine], None
        await asyncio.to_thread(held.clear)

    def _open(self, path: str, question: dict[str, Any]) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {self._key}"},
                timeout=aiohttp.ClientTimeout(total=None),
                # llama.cpp closes kept connections when it likes, and one that is just closing loses a request.
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
            )
        return self._session.post(self._url + path, json=question)

    async def _post(self, path: str, question: dict[str, Any]) -> dict[str, Any]:
        async with self._open(path, question) as response:
            raw = await response.read()
            if response.status != 200:
                raise _refusal(response.status, raw)
            answer: dict[str, Any] = json.loads(raw)
            return answer


def _threads() -> int:
    given = os.environ.get(_THREADS, "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # On two cores a second thread waits for the client more than it computes.
    return 1 if cores <= 2 else min(8, cores // 2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _common(request: GenerationRequest) -> dict[str, Any]:
    question: dict[str, Any] = {"temperature": request.temperature, "cache_prompt": False}
    if request.temperature > 0:
        # What OpenAI samples from, rather than llama.cpp's top 40.
        question |= {"top_k": 0, "min_p": 0, "top_p": 1}
    if request.seed is not None:
        question["seed"] = (request.seed + request.sample) & 0xFFFFFFFF
    if request.stop:
        question["stop"] = list(request.stop)
    return question


def _chat_question(request: GenerationRequest) -> dict[str, Any]:
    question = _common(request)
    question["messages"] = [
        {"role": "system" if turn.role == "developer" else turn.role, "content": turn.content}
        for turn in request.messages or ()
    ]
    if request.max_tokens is not None:
        question["max_tokens"] = request.max_tokens
    if request.top is not None:
        # llama.cpp gives no log-probabilities at all for a top of none.
        question |= {"logprobs": True, "top_logprobs": max(1, request.top)}
    if request.schema == {}:
        question["response_format"] = {"type": "json_object"}
    elif request.schema is not None:
        question["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": request.schema},
        }
    return question


def _native_question(request: GenerationRequest) -> dict[str, Any]:
    question = _common(request)
    question |= {"prompt": request.prompt, "n_predict": request.max_tokens}
    if request.top is not None:
        question["n_probs"] = max(1, request.top)
    if request.schema is not None:
        question["json_schema"] = request.schema
    return question


def _chat_reply(answer: dict[str, Any]) -> Generation:
    choice = answer["choices"][0]
    text = choice["message"].get("content") or ""
    return Generation(text, _steps(_listed(choice)), choice["finish_reason"], *_counts(answer))


def _native_reply(answer: dict[str, Any]) -> Generation:
    finish = "length" if answer.get("stop_type") == "limit" else "stop"
    return Generation(answer["content"], _steps(answer.get("completion_probabilities")), finish, *_counts(answer))


def _chat_event(event: dict[str, Any]) -> tuple[list[GeneratedToken], str | None]:
    if not event.get("choices"):
        return [], None
    choice = event["choices"][0]
    return _steps(_listed(choice), choice["delta"].get("content")), choice.get("finish_reason")


def _native_event(event: dict[str, Any]) -> tuple[list[GeneratedToken], str | None]:
    steps = _steps(event.get("completion_probabilities"), event.get("content"))
    if not event.get("stop"):
        return steps, None
    return steps, "length" if event.get("stop_type") == "limit" else "stop"


def _listed(choice: dict[str, Any]) -> Any:
    return (choice.get("logprobs") or {}).get("content")


def _steps(listed: Sequence[dict[str, Any]] | None, text: str | None = None) -> list[GeneratedToken]:
    """The tokens with their rivals; where log-probabilities were not asked for, the streamed text as one token."""
    if not listed:
        return [GeneratedToken(text, 0.0, ())] if text else []
    return [
        GeneratedToken(
            item["token"],
            float(item["logprob"]),
            [(rival["token"], float(rival["logprob"])) for rival in item.get("top_logprobs") or ()],
        )
        for item in listed
    ]


def _counts(answer: dict[str, Any]) -> tuple[int, int, int, int]:
    """Prompt, completion, reasoning and cached tokens."""
    cached = int((answer.get("timings") or {}).get("cache_n", 0))
    usage = answer.get("usage")
    if usage:
        return usage["prompt_tokens"], usage["completion_tokens"], 0, cached
    return answer.get("tokens_evaluated", 0), answer.get("tokens_predicted", 0), 0, cached


def _piece(piece: str | list[int]) -> str:
    # Part of a character comes as bytes.
    return piece if isinstance(piece, str) else bytes(piece).decode("utf-8", "replace")


def _refusal(status: int, raw: bytes) -> ApiError:
    try:
        error = json.loads(raw)["error"]
        message, kind = str(error["message"]), str(error.get("type", ""))
    except (ValueError, KeyError, TypeError):
        message, kind = raw[:300].decode("utf-8", "replace"), ""
    if kind == "exceed_context_size_error":
        return ApiError(400, message, param="messages", code="context_length_exceeded")
    if 400 <= status < 500 and status not in (401, 403):
        return ApiError(400, message)
    return ApiError(500, f"llama.cpp: {message}", kind="server_error")
