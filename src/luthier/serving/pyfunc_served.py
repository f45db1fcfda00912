"""Any MLflow model behind a server: it runs in a bounded number of threads, and one that hangs is not forgotten."""

from __future__ import annotations

import asyncio
import io
import json
import os
import queue
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from luthier.serving.admission import Admission
from luthier.serving.refusals import Refusal
from luthier.serving.request_rows import invalid_input
from luthier.serving.served_model import PaidCalls, Readiness, ScoringAnswer, ScoringRequest, ServedModelFacts
from luthier.serving.settings import ServerSettings

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc import PyFuncModel

__all__ = ["PyfuncServed", "facts_of_pyfunc"]

THREADS = min(32, 4 * (os.cpu_count() or 1) + 4)
"""A model may compute, or wait for others: more threads than cores, and not many more."""

Work = Callable[[], Any]


class PyfuncServed:
    """Answers requests with a model that MLflow has loaded.

    Python cannot end a thread. One that is still at work when its request's time is over keeps its place until it
    returns; when half of the places are kept so, the server is not ready, and when all are, requests are refused.

    Args:
        model: what MLflow loaded.
        facts: what the server says of it.
        settings: what is refused.
        threads: calls of the model at one time.
    """

    def __init__(
        self, model: PyFuncModel, facts: ServedModelFacts, settings: ServerSettings, *, threads: int = THREADS
    ) -> None:
        self.model, self.facts, self.settings = model, facts, settings
        self.admission = Admission(settings.most_requests)
        self.threads = threads
        self.overdue = 0
        """Calls that are still at work though the time of their request is over."""
        self._free = asyncio.Semaphore(threads)
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()

    async def start(self) -> None:
        """Starts the threads."""
        for number in range(self.threads):
            # Daemons: a call that hangs does not keep the process from ending.
            threading.Thread(target=self._run, name=f"luthier-pyfunc-{number}", daemon=True).start()

    async def close(self) -> None:
        """Ends the threads that are not at work."""
        for _ in range(self.threads):
            self._work.put(None)

    def readiness(self) -> Readiness:
        """Whether it would answer now."""
        why = None
        if 2 * self.overdue >= self.threads:
            why = f"{self.overdue} of {self.threads} calls of the model have not returned when their time was over"
        elif self.admission.requests >= self.admission.most:
            why = f"it has {self.admission.most} requests, as many as it takes"
        # It recorded no answers, so there are none that it could fail to give.
        return Readiness({"capacity": why, "parity": None})

    def paid(self) -> PaidCalls | None:
        """Nothing is known of the calls that a foreign model makes."""
        return None

    async def answer(self, request: ScoringRequest, timeout_seconds: float) -> ScoringAnswer:
        """The model's predictions as MLflow writes them, with `null` for NaN.

        Raises:
            Refusal: the rows do not fit the model's signature, it has no capacity, or time is over.
        """
        with self.admission.place():
            if self.overdue >= self.threads:
                raise Refusal(
                    503,
                    "TEMPORARILY_UNAVAILABLE",
                    "The model has not returned from earlier calls; no thread is left to call it.",
                    retry_after_seconds=30,
                )
            try:
                async with asyncio.timeout(timeout_seconds):
                    return await self._called(request)
            except TimeoutError:
                raise Refusal(
                    504,
                    "DEADLINE_EXCEEDED",
                    f"There is no answer within {timeout_seconds:g} s; send fewer rows, or allow more time.",
                ) from None

    async def _called(self, request: ScoringRequest) -> ScoringAnswer:
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[ScoringAnswer] = loop.create_future()
        late = False

        def settle(answer: ScoringAnswer | None, error: BaseException | None) -> None:
            self._free.release()
            if late:
                self.overdue -= 1
            elif error is not None:
                done.set_exception(error)
            else:
                assert answer is not None
                done.set_result(answer)

        def work() -> None:
            answer, error = None, None
            try:
                answer = self._predicted(request)
            except BaseException as raised:  # the request that waits has to hear of any failure
                error = raised
            loop.call_soon_threadsafe(settle, answer, error)

        self._work.put(work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not done.done():
                late = True
                self.overdue += 1
            raise

    def _predicted(self, request: ScoringRequest) -> ScoringAnswer:
        from mlflow.exceptions import MlflowException
        from mlflow.utils.proto_json_utils import NumpyEncoder, _get_jsonable_obj

        schema = self.model.metadata.get_input_schema()
        try:
            given = _parsed(request, schema)
            raw = self.model.predict(given, params=dict(request.params) or None)
        except MlflowException as error:
            if error.error_code not in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE"):
                raise
            # MLflow's own words hold the rows.
            raise self._misfit(given if "given" in locals() else None) from None
        plain = _get_jsonable_obj(raw, pandas_orient="records")
        # Through JSON and back, so that nothing is left of numpy and NaN is null.
        predictions = json.loads(json.dumps(plain, cls=NumpyEncoder), parse_constant=lambda _: None)
        return ScoringAnswer(predictions, len(given) if hasattr(given, "__len__") else 1)

    def _misfit(self, given: Any) -> Refusal:
        columns = getattr(given, "columns", None)
        missing = [] if columns is None else [name for name in self.facts.columns if name not in set(map(str, columns))]
        reads = ", ".join(f"{name!r} ({kind})" for name, kind in self.facts.columns.items())
        takes = "".join(f"; params: {name} ({kind})" for name, kind in self.facts.params.items())
        if missing:
            return invalid_input(f"Column {', '.join(map(repr, missing))} is missing; the model reads {reads}.")
        return invalid_input(f"The rows or params do not fit the model, which reads {reads or 'rows'}{takes}.")

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


def facts_of_pyfunc(
    model: PyFuncModel, uri: str, name: str | None, version: str | None, example: tuple[Mapping[str, Any], ...]
) -> ServedModelFacts:
    """What a server says of a model, by its signature."""
    signature = model.metadata.signature
    return ServedModelFacts(
        uri=uri,
        name=name or model.metadata.flavors["python_function"].get("loader_module", "model").rpartition(".")[2],
        version=version,
        columns=_types(None if signature is None else signature.inputs),
        params=_types(None if signature is None else signature.params),
        outputs=_types(None if signature is None else signature.outputs),
        example=example,
    )


def _types(schema: Any) -> dict[str, str]:
    if schema is None:
        return {}
    documents = schema.to_dict()
    return {str(one["name"]): str(one["type"]) for one in documents if one.get("name") is not None}


def _parsed(request: ScoringRequest, schema: Any) -> Any:
    """The rows as MLflow's own server gives them to a model."""
    from mlflow.pyfunc.scoring_server import infer_and_parse_data, parse_csv_input

    if request.form != "table":
        return infer_and_parse_data({request.form: request.data}, schema)
    frame: pd.DataFrame = request.data.to_pandas()
    if all(str(kind) in ("string", "large_string") for kind in request.data.schema.types):
        # A csv: types are those of the signature, or what its cells look like.
        return parse_csv_input(io.StringIO(frame.to_csv(index=False)), schema)
    return frame
