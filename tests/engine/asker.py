"""A program that asks the server at URL so many questions, as a command of Luthier would: for tests that kill it.

With a third argument it has as many texts embedded.
"""

from __future__ import annotations

import sys

from luthier.endpoints import Endpoint, Request, default_engine, draining
from luthier.errors import LuthierError


def main(url: str, count: int, embeds: bool) -> int:
    endpoint = Endpoint(provider="compatible", model="deterministic", base_url=url, api_key_env="K")
    requests = [
        Request(
            "chat", {"messages": [{"role": "user", "content": f"great, stars 1 to 5, visit {n}:"}], "max_tokens": 2}
        )
        for n in range(count)
    ]
    if embeds:
        requests = [Request("embedding", {"input": f"visit {n}: great soup"}) for n in range(count)]
    engine = default_engine()
    try:
        with draining(engine):
            answers = engine.run(requests, endpoint)
    except LuthierError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(sum(answer.failure is None for answer in answers), sum(answer.from_journal for answer in answers))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), len(sys.argv) > 3))
