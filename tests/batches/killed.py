"""A program that has so many requests answered by batch, as a command of Luthier would: for tests that kill it."""

from __future__ import annotations

import sys

from luthier.endpoints import Endpoint, default_engine
from tests.batches.asker import ask, requests

if __name__ == "__main__":
    ask(default_engine(), requests(int(sys.argv[2])), Endpoint.model_validate_json(sys.argv[1]))
