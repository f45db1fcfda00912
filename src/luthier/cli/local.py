"""luthier local: the embedded server in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["local"]


def local(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    gguf: Annotated[Path | None, typer.Option("--gguf", metavar="FILE", help="Also serve this model.")] = None,
    requests_per_minute: Annotated[
        float | None, typer.Option("--requests-per-minute", help="Answer 429 above this.")
    ] = None,
    tokens_per_minute: Annotated[
        float | None, typer.Option("--tokens-per-minute", help="Answer 429 above this.")
    ] = None,
    latency_ms: Annotated[float, typer.Option("--latency-ms", min=0, help="Added to every answer.")] = 0.0,
) -> None:
    """Serve the OpenAI protocol on this machine. Ends with Ctrl-C."""
    from luthier_local.foreground import serve

    serve(
        port=port,
        gguf=gguf,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        latency_seconds=latency_ms / 1000,
    )
