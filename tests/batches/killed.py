"""A program that has so many requests answered by batch, as a command of Luthier would: for tests that kill it.

With a third argument it never has the last of them, so that it is killed while it writes the others down.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from luthier.batches.asking import ask_by_batch
from luthier.endpoints import Endpoint, Request, RunOptions, default_engine
from tests.batches.asker import PURPOSE, ask, requests
from tests.patience import PATIENCE_SECONDS

if __name__ == "__main__":
    endpoint, asked = Endpoint.model_validate_json(sys.argv[1]), requests(int(sys.argv[2]))

    def unending() -> Iterator[tuple[Request, Endpoint]]:
        yield from ((request, endpoint) for request in asked)
        time.sleep(PATIENCE_SECONDS)

    if len(sys.argv) > 3:
        ask_by_batch(unending, RunOptions(engine=default_engine()), wait=True, purpose=PURPOSE)
    else:
        ask(default_engine(), asked, endpoint)
