"""Batches at Azure: the embedded server by its routes."""

from __future__ import annotations

import pytest

from luthier.endpoints import Endpoint, Engine, RunOptions
from luthier.errors import EndpointError
from luthier_local import Fault, LocalServer, ModelCard
from tests.batches.asker import ask, requests

LINES = "batches/chat/completions"


def deployment(server: LocalServer, model: str = "stars-model", **settings: str) -> Endpoint:
    return Endpoint(provider="azure", base_url=server.azure_url, model=model, api_key_env="STARS_KEY", **settings)


def test_answers_are_kept_under_what_the_deployment_says_it_is(engine: Engine, server: LocalServer) -> None:
    endpoint = deployment(server)
    assert ask(engine, requests(4), endpoint).answered == 4
    # One call asked which model it is.
    assert server.received.by_path["chat/completions"] == 1
    assert all(answer.from_journal for answer in engine.run(requests(4), endpoint))
    assert engine.identity(endpoint, "chat") == f"{endpoint.address} stars-model"


def test_a_deployment_that_answers_batches_only_has_to_be_named(engine: Engine, server: LocalServer) -> None:
    server.faults.add(Fault("status", contains="Say 1.", status=400, message="operation unsupported"))
    with pytest.raises(EndpointError, match=r"answers batches only.*identity: gpt-4o-mini"):
        ask(engine, requests(2), deployment(server))
    assert ask(engine, requests(2), deployment(server, identity="stars 1")).answered == 2


def test_answers_of_another_model_are_kept_as_its_own(engine: Engine, server: LocalServer) -> None:
    endpoint = deployment(server, "stars")
    server.put_model(ModelCard("stars", reports_model="stars-2024"))
    ask(engine, requests(2, "pasta"), endpoint)
    server.put_model(ModelCard("stars", reports_model="stars-2025"))
    outcome = ask(engine, requests(3), endpoint)
    assert outcome.complete and outcome.answered == 3 and server.received.by_path[LINES] == 5
    entries = engine.entries(requests(3), endpoint)
    assert {entry.identity for entry in entries if entry} == {f"{endpoint.address} stars-2025"}


def test_a_service_that_takes_no_metadata_is_given_none(engine: Engine, server: LocalServer) -> None:
    server.faults.add(Fault("status", path="batches", status=400, message="metadata is not supported", times=1))
    server.faults.add(Fault("done_reset", path="batches", method="POST", nth=2, times=1))
    options = RunOptions(engine=engine)
    assert ask(engine, requests(3), deployment(server, identity="stars"), options=options).answered == 3
    assert server.received.by_path[LINES] == 3
