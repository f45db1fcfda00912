"""`python -m luthier_local`: the server in the foreground or as the shared service; weights and sample data."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from luthier.errors import LuthierError


def main(arguments: list[str] | None = None) -> int:
    """Parses, calls, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m luthier_local",
        description="Serves the OpenAI protocol on this machine, for trials and tests.",
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--gguf", type=Path, help="a GGUF file to serve under its name, beside the usual models")
    parser.add_argument("--requests-per-minute", type=float)
    parser.add_argument("--tokens-per-minute", type=float)
    parser.add_argument("--burst-requests", type=int, default=5)
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument("--record", action="store_true", help="keep the bodies of requests")
    parser.add_argument("--fetch", metavar="MODEL", help="fetch what this model needs, and end")
    parser.add_argument("--sample", type=Path, metavar="FOLDER", help="write the sample tables there, and end")
    parser.add_argument("--service", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.service:
        _detach(given.log)
    try:
        if given.fetch is not None:
            from luthier_local.weights import ensure_weights

            ensure_weights(given.fetch)
        elif given.sample is not None:
            from luthier_local.sample import write_sample

            write_sample(given.sample)
        elif given.service:
            from luthier_local.service import run_service

            run_service()
        else:
            from luthier_local.foreground import serve

            commands = ("fetch", "sample", "service", "log")
            serve(**{name: value for name, value in vars(given).items() if name not in commands})
    except LuthierError as error:
        # A program that runs this reads the message from stdout, apart from the progress on stderr.
        print(error, file=sys.stdout if given.fetch or given.sample else sys.stderr)
        return error.exit_code
    return 0


def _detach(log: Path | None) -> None:
    """Detaches from the starting process: prints the pid on stdout, then writes to the log only."""
    if hasattr(os, "fork"):
        # So the starter has no child to wait for, and no zombie when this ends.
        child = os.fork()
        if child:
            print(child, flush=True)
            os._exit(0)
    else:
        print(os.getpid(), flush=True)
    descriptor = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
