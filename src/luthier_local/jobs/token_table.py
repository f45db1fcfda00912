"""The token tables a tunable model starts from: WordLlama's, or a small one without weights for tests."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from luthier_local.jobs.job_requests import HASHED, WORDLLAMA_TABLE
from luthier_local.tokenizer import split_tokens, token_id

__all__ = ["Floats", "Integers", "TokenTable", "hashed_digest", "open_table"]

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_HASHED_VERSION = "1"
_ROWS, _DIMENSIONS = 8192, 64
_opening = threading.Lock()


@dataclass(frozen=True)
class TokenTable:
    """A vector per token, and the tokenizer that goes with it."""

    name: str
    digest: str
    vectors: Floats
    encode: Callable[[Sequence[str]], list[Integers]]


def open_table(name: str) -> TokenTable:
    """The table of that name, loaded once per process; WordLlama's is fetched on first use."""
    with _opening:
        return _load(name)


@functools.cache
def _load(name: str) -> TokenTable:
    return _wordllama() if name == WORDLLAMA_TABLE else _hashed()


def _wordllama() -> TokenTable:
    from luthier_local.wordllama import WordLlamaBackend

    backend = WordLlamaBackend.open()

    def encode(texts: Sequence[str]) -> list[Integers]:
        return [np.array(ids, np.int64) for ids in backend.token_ids(texts)]

    return TokenTable(WORDLLAMA_TABLE, backend.digest, backend.table, encode)


def hashed_digest() -> str:
    """Digest of the table that has no weights."""
    return f"luthier-hashed/{_HASHED_VERSION}"


def _hashed() -> TokenTable:
    table = np.random.default_rng(20260101).standard_normal((_ROWS, _DIMENSIONS)).astype(np.float32)

    def encode(texts: Sequence[str]) -> list[Integers]:
        return [
            np.array([token_id(token.strip().lower()) % _ROWS for token in split_tokens(text)], np.int64)
            for text in texts
        ]

    return TokenTable(HASHED, hashed_digest(), table, encode)
