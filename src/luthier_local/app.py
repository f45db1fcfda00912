"""The server's parts put together: routes, models, jobs, and what tests control; nothing here listens."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from luthier.errors import EndpointError
from luthier.processes import build_of_luthier
from luthier_local import model_routes
from luthier_local.faults import Fault, FaultRules
from luthier_local.jobs import batch_routes, file_routes, tuning_routes
from luthier_local.jobs.job_service import JobService, JobSettings
from luthier_local.json_bodies import decode_body, decode_json, json_response
from luthier_local.model_card import ModelCard
from luthier_local.model_registry import ModelRegistry
from luthier_local.rate_limits import RateLimits
from luthier_local.request_log import RequestLog
from luthier_local.routing import Router

__all__ = ["Application"]


class Application:
    """Everything between a request and its answer.

    Args:
        cards: Models served from the start.
        api_key: Key that requests must carry.
        limits: Rate limits of the generating routes; `None`: none.
        faults: Scripted faults in force from the start.
        record: Whether the bodies of requests are kept.
        latency_seconds: Added to every answer of a generating route.
        jobs: Where files, jobs and batches are kept.
    """

    def __init__(
        self,
        cards: Sequence[ModelCard],
        api_key: str,
        *,
        limits: RateLimits | None = None,
        faults: Sequence[Fault] = (),
        record: bool = False,
        latency_seconds: float = 0.0,
        jobs: JobSettings | None = None,
    ) -> None:
        self.received = RequestLog(record)
        self.faults = FaultRules(faults)
        self.router = Router(api_key, self.received, self.faults, limits or RateLimits(), latency_seconds)
        self.registry = ModelRegistry(cards)
        self.jobs = JobService(jobs or JobSettings(), self.router.answer_line, self.registry.card)
        self.registry.tuned = self.jobs
        self.web = self.router.web
        model_routes.add_routes(self.router, self.registry)
        file_routes.add_routes(self.router, self.jobs)
        tuning_routes.add_routes(self.router, self.jobs, self.registry)
        batch_routes.add_routes(self.router, self.jobs)
        self._add_control_routes()
        self.web.on_startup.append(lambda _: self.jobs.open())
        self.web.on_cleanup.append(lambda _: self.jobs.close())

    @property
    def busy(self) -> bool:
        """Whether a request is being answered or a job is unfinished."""
        return self.received.in_flight > 0 or self.jobs.busy

    def _add_control_routes(self) -> None:
        async def health(_: web.Request) -> web.StreamResponse:
            return json_response({"status": "ok", "build": build_of_luthier()})

        async def add_faults(request: web.Request) -> web.StreamResponse:
            given = decode_json(await request.read() or b"null")
            rules = given if isinstance(given, list) else [given]
            if not all(isinstance(rule, dict) for rule in rules):
                raise EndpointError("expected a fault, or a list of faults, as JSON objects")
            for fault in [Fault.from_json(rule) for rule in rules]:
                self.faults.add(fault)
            return json_response({"faults": len(self.faults)})

        async def clear_faults(_: web.Request) -> web.StreamResponse:
            self.faults.clear()
            return json_response({"faults": 0})

        async def requests(_: web.Request) -> web.StreamResponse:
            return json_response(self.received.to_json())

        async def clear_requests(request: web.Request) -> web.StreamResponse:
            self.received.clear()
            return await requests(request)

        async def change_models(request: web.Request) -> web.StreamResponse:
            body = decode_body(await request.read())
            if set(body) == {"remove"}:
                self.registry.remove(str(body["remove"]))
            else:
                self.registry.put(ModelCard.from_json(body))
            return json_response({"models": [card.id for card in self.registry.cards()]})

        # The one route that wants no key.
        self.web.router.add_get("/health", health)
        self.router.add_control("POST", "/_luthier/faults", add_faults)
        self.router.add_control("DELETE", "/_luthier/faults", clear_faults)
        self.router.add_control("GET", "/_luthier/requests", requests)
        self.router.add_control("DELETE", "/_luthier/requests", clear_requests)
        self.router.add_control("POST", "/_luthier/models", change_models)
