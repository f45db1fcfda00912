"""The server in the foreground of a terminal: `luthier local`, `python -m luthier_local`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from luthier.errors import EndpointError
from luthier.home import local_folder
from luthier_local.app import Application
from luthier_local.faults import Fault
from luthier_local.jobs.job_service import JobSettings
from luthier_local.model_card import ModelCard
from luthier_local.rate_limits import RateLimits
from luthier_local.server import host, leave_on_signal, listen_on
from luthier_local.service import jobs_folder, service_models
from luthier_local.weights import weights_cached

__all__ = ["KEY_VARIABLE", "serve"]

KEY_VARIABLE = "LUTHIER_LOCAL_KEY"


def serve(
    *,
    port: int = 0,
    gguf: str | Path | None = None,
    models: Sequence[ModelCard] = (),
    api_key: str | None = None,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    burst_requests: int = 5,
    latency_seconds: float = 0.0,
    record: bool = False,
    faults: Sequence[Fault] = (),
    announce: Callable[[str], object] = print,
) -> None:
    """Serves until Ctrl-C or SIGTERM.

    Args:
        port: 0: any free one.
        gguf: A GGUF file to serve under its name without the ending, beside the usual models.
        models: Cards to serve instead of the usual models.
        api_key: Key that requests must carry. `None`: the variable `LUTHIER_LOCAL_KEY`, or a key made
            once and kept in `$LUTHIER_HOME/local/key` (mode 0600).
        requests_per_minute: Limit on the generating routes together.
        tokens_per_minute: The same for tokens.
        burst_requests: Requests admitted at once after a rest.
        latency_seconds: Added to every answer of a generating route.
        record: Keep the bodies of requests for `GET /_luthier/requests`.
        faults: Scripted faults from the start.
        announce: Takes each line that is to be shown.

    Raises:
        EndpointError: The port is taken, or the GGUF file is not there.
    """
    cards = list(models) or service_models()
    if gguf is not None:
        path = Path(gguf).expanduser()
        if not path.is_file():
            raise EndpointError(f"there is no model file {path}; give the path of a GGUF file")
        cards = [ModelCard(path.stem, backend="llama", path=str(path.resolve())), *cards]
    key, kept_in = _key(api_key)
    application = Application(
        cards,
        key,
        limits=RateLimits(requests_per_minute, tokens_per_minute, burst_requests),
        faults=faults,
        record=record,
        latency_seconds=latency_seconds,
        jobs=JobSettings(jobs_folder()),
    )
    listener = listen_on(port)
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    def say() -> None:
        announce(f"base URL  {base_url}")
        announce(f"key       {kept_in}")
        for card in cards:
            later = "" if weights_cached(card.id) else " (weights are fetched on first use)"
            announce(f"model     {card.id}: {_abilities(card)}{later}")
        announce("Ctrl-C ends it. It is for trying out and for tests: no model to judge quality by.")

    async def main() -> None:
        await host(application, listener, leave_on_signal(), say, grace_seconds=2.0)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())


def _key(given: str | None) -> tuple[str, str]:
    if given:
        return given, "the one given"
    from_variable = os.environ.get(KEY_VARIABLE)
    if from_variable:
        return from_variable, f"in the variable {KEY_VARIABLE}"
    path = local_folder() / "key"
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("sk-" + secrets.token_hex(16))
    key = path.read_text().strip()
    if not key:
        raise EndpointError(f"the key file {path} is empty; delete it and start again")
    return key, f"in the file {path}; to use it, type: export OPENAI_API_KEY=$(cat {path})"


def _abilities(card: ModelCard) -> str:
    if card.backend in ("tunable", "tunable-hashed"):
        return "fine-tuning jobs"
    able = (("chat", card.chat), ("completions", card.completions), ("embeddings", card.embeddings))
    return ", ".join(name for name, yes in able if yes)
