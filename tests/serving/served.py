"""A model without a model, for tests of what is around it."""

from __future__ import annotations

import asyncio
from typing import Any

from luthier.serving.refusals import Refusal
from luthier.serving.served_model import Readiness, ScoringAnswer, ScoringRequest, ServedModelFacts


class EchoModel:
    """Answers each row with its text's length, after `seconds`; texts that say so make it fail."""

    def __init__(self, seconds: float = 0.0, version: str | None = "3") -> None:
        self.seconds = seconds
        self.facts = ServedModelFacts(
            uri="models:/stars/3",
            name="stars",
            version=version,
            columns={"text": "string"},
            outputs={"length": "long"},
            example=({"text": "it's good"},),
        )
        self.asked: list[ScoringRequest] = []
        self.given_seconds: list[float] = []
        self.cancelled = 0
        self.is_started = self.is_closed = False
        self.checks: dict[str, str | None] = {"upstream": None}

    async def answer(self, request: ScoringRequest, timeout_seconds: float) -> ScoringAnswer:
        self.asked.append(request)
        self.given_seconds.append(timeout_seconds)
        texts = texts_of(request)
        if "bug" in texts:
            raise RuntimeError("a bug, with the row 'secret cell' in it")
        if "busy" in texts:
            raise Refusal(429, "REQUEST_LIMIT_EXCEEDED", "The queue is full.", retry_after_seconds=1.2)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return ScoringAnswer([{"length": len(text), "score": float("nan")} for text in texts], len(texts))

    def readiness(self) -> Readiness:
        return Readiness(self.checks)

    async def start(self) -> None:
        self.is_started = True

    async def close(self) -> None:
        self.is_closed = True


def texts_of(request: ScoringRequest) -> list[str]:
    data: Any = request.data
    if request.form == "table":
        return [row["text"] for row in data.to_pylist()]
    if request.form == "dataframe_split":
        return [row[0] for row in data["data"]]
    if isinstance(data, dict):
        return list(data["text"])
    return [row["text"] if isinstance(row, dict) else row for row in data]
