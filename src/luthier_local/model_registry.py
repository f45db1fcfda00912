"""The served model cards and the backends behind them, each started on its first request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from luthier.errors import EndpointError
from luthier_local.api_errors import invalid_value, model_not_found
from luthier_local.backend import Backend
from luthier_local.deterministic import DeterministicBackend
from luthier_local.jobs.job_service import JobService
from luthier_local.model_card import ModelCard
from luthier_local.weights import WORDLLAMA_DIGEST

__all__ = ["ModelRegistry"]


class ModelRegistry:
    """Model cards by name. Cards that need the same weights share one backend."""

    def __init__(self, cards: Sequence[ModelCard]) -> None:
        self._cards: dict[str, ModelCard] = {}
        for card in cards:
            if card.id in self._cards:
                raise EndpointError(f"two model cards are named {card.id!r}; names must differ")
            self._cards[card.id] = card
        self.tuned: JobService | None = None
        """Serves the tuned models, which come and go."""
        self._backends: dict[tuple[str, str], Backend] = {}
        self._starting: dict[tuple[str, str], asyncio.Task[Backend]] = {}

    def cards(self) -> list[ModelCard]:
        """Cards served."""
        return [*self._cards.values(), *(self.tuned.cards() if self.tuned is not None else ())]

    def card(self, name: str) -> ModelCard | None:
        """The card of that name."""
        found = self._cards.get(name)
        return self.tuned.card(name) if found is None and self.tuned is not None else found

    def named(self, name: object) -> ModelCard:
        """The card that a request names.

        Raises:
            ApiError: It names none, or none of that name is served.
        """
        if not isinstance(name, str) or not name:
            raise invalid_value("model", "you must provide a model parameter.", None)
        card = self.card(name)
        if card is None:
            raise model_not_found(name, [served.id for served in self.cards()])
        return card

    def digest(self, card: ModelCard) -> str:
        """Identity of the weights behind a card, without starting them."""
        return card.digest if card.digest is not None else _digest_of(card)

    def put(self, card: ModelCard) -> None:
        """Adds a card, or replaces the one of that name."""
        self._cards[card.id] = card

    def remove(self, name: str) -> None:
        """Takes a card away.

        Raises:
            EndpointError: No card has that name.
        """
        if self._cards.pop(name, None) is None:
            raise EndpointError(f"no model is named {name!r}; served: {', '.join(self._cards) or 'none'}")

    async def backend(self, card: ModelCard) -> Backend:
        """The backend of a card, started if it is not running."""
        key = _backend_key(card)
        found = self._backends.get(key)
        if found is not None:
            return found
        if card.backend == "deterministic":
            return self._backends.setdefault(key, DeterministicBackend(card.deterministic_digest, card.salt))
        starting = self._starting.get(key)
        if starting is None:
            starting = self._starting[key] = asyncio.create_task(self._start(key, card))
        # The client may leave before the backend has started; the next one must find it, not start a second one.
        return await asyncio.shield(starting)

    async def _start(self, key: tuple[str, str], card: ModelCard) -> Backend:
        try:
            self._backends[key] = await asyncio.to_thread(_open, card)
        finally:
            del self._starting[key]
        return self._backends[key]

    async def close(self) -> None:
        """Ends every backend, one that is starting as soon as it has started."""
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        backends, self._backends = list(self._backends.values()), {}
        for backend in backends:
            await backend.close()


def _backend_key(card: ModelCard) -> tuple[str, str]:
    if card.backend == "deterministic":
        return card.backend, card.salt
    if card.backend in ("tunable", "tunable-hashed"):
        return card.backend, card.id
    return card.backend, f"{card.path or ''}|{card.context_tokens if card.backend == 'llama' else ''}"


def _digest_of(card: ModelCard) -> str:
    if card.backend == "deterministic":
        return card.deterministic_digest
    if card.backend in ("wordllama", "tunable"):
        return WORDLLAMA_DIGEST
    if card.backend == "tunable-hashed":
        from luthier_local.jobs.token_table import hashed_digest

        return hashed_digest()
    from luthier_local.llama import weights_digest as llama_digest

    return llama_digest(card.path)


def _open(card: ModelCard) -> Backend:
    if card.backend == "wordllama":
        from luthier_local.wordllama import WordLlamaBackend

        return WordLlamaBackend.open()
    if card.backend in ("tunable", "tunable-hashed", "tuned"):
        from luthier_local.jobs.tuned_backend import TunedBackend, UntunedBackend

        if card.backend == "tuned" and card.path is not None:
            return TunedBackend(card.path, card.digest or "")
        return UntunedBackend(card.id, _digest_of(card))
    from luthier_local.llama import LlamaBackend

    return LlamaBackend.open(card.path, card.context_tokens)
