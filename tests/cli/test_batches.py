"""`luthier batches`: what runs, and how it is given up."""

from __future__ import annotations

import json

from luthier.endpoints import Endpoint, Engine, Journal
from luthier_local import Fault, LocalServer
from tests.batches.asker import PURPOSE, ask, requests
from tests.cli.conftest import Run


def test_a_batch_is_listed_until_it_is_cancelled(run: Run, endpoint: Endpoint, server: LocalServer) -> None:
    assert run("batches", "list").out == "no batch is open\n"
    server.faults.add(Fault("slow", path="chat/completions", delay_seconds=60))
    engine = Engine(Journal.from_environment())
    (batch,) = ask(engine, requests(3), endpoint, wait=False).batches
    engine.close()
    listed = run("batches", "list").out
    assert listed.startswith(f"{batch.token}  {PURPOSE}: {batch.batch_id} at {endpoint.address}: ")
    [told] = json.loads(run("batches", "list", "--json").out)
    assert (told["token"], told["lines"], told["endpoint"]["base_url"]) == (batch.token, 3, server.base_url)
    cancelled = run("batches", "cancel", batch.token)
    assert cancelled.code == 0 and "cancelled, 0 of 3 answered" in cancelled.out
    assert run("batches", "list").out == "no batch is open\n"


def test_a_batch_that_is_not_there_is_a_mistake(run: Run) -> None:
    ended = run("batches", "cancel", "0123")
    assert ended.code == 2 and "there is no open batch '0123'; open are: none" in ended.err
