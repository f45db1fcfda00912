"""Embeddings of 256 numbers from WordLlama's token table: a mean over tokens, in numpy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from luthier.errors import MissingPart
from luthier_local.backend import Backend, Token
from luthier_local.weights import WORDLLAMA_DIGEST, wordllama_files

__all__ = ["WordLlamaBackend"]


class WordLlamaBackend(Backend):
    """One vector per text: its tokens' vectors averaged and scaled to length one."""

    def __init__(self, table: Path, tokenizer: Path) -> None:
        super().__init__(WORDLLAMA_DIGEST)
        try:
            from safetensors.numpy import load_file
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingPart(
                f"WordLlama's embeddings need the package {error.name}, which is not installed; "
                'type: pip install "luthier[local]"'
            ) from error
        self.table: npt.NDArray[np.float32] = next(iter(load_file(str(table)).values())).astype(np.float32)
        """One row per token."""
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @classmethod
    def open(cls) -> WordLlamaBackend:
        """Loads the pinned weights, fetched on first use."""
        return cls(*wordllama_files())

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """One vector per text, and the tokens they took."""
        return await asyncio.to_thread(self._embed, list(texts))

    async def tokenize(self, text: str) -> list[Token]:
        """The text in the tokens of WordLlama's tokenizer."""
        coded = self._tokenizer.encode(text, add_special_tokens=False)
        return [Token(i, text[start:end]) for i, (start, end) in zip(coded.ids, coded.offsets, strict=True)]

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The rows of the table that each text consists of."""
        return [coded.ids for coded in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def _embed(self, texts: list[str]) -> tuple[list[list[float]], int]:
        vectors = []
        count = 0
        for coded in self._tokenizer.encode_batch(texts, add_special_tokens=False):
            count += len(coded.ids)
            mean = self.table[coded.ids].mean(axis=0) if coded.ids else np.zeros(self.table.shape[1], np.float32)
            norm = float(np.linalg.norm(mean))
            vectors.append((mean / norm if norm else mean).tolist())
        return vectors, count
