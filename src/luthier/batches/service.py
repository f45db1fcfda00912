"""The Batch API of a service, through the official client: files, batches, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from luthier.errors import EndpointError, UserError
from luthier.journal.stored_batches import StoredBatch
from luthier.providers import PROVIDERS
from luthier.providers.base import PATHS
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Operation
from luthier.providers.redaction import redact
from luthier.providers.sdk_client import SdkClient, pages
from luthier.replies.sdk_errors import ServiceUnavailable, translated

if TYPE_CHECKING:
    import openai

__all__ = ["ENDED", "BatchNotFound", "BatchService", "ServiceBatch", "endpoint_of", "says_queue_full", "url_of"]

Result = TypeVar("Result")

SERVED = ("openai", "azure", "compatible", "vllm", "local")
"""Providers whose batches follow OpenAI's protocol."""

ENDED = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})
"""Statuses of batches that never change again. With any other status, known or not, a batch is still to end."""

TOKEN = "luthier"
"""Key of a batch's metadata."""

QUEUE_FULL = ("token_limit_exceeded", "enqueued token", "batch_queue_full")
"""What services say where too many tokens wait in their queue."""

TRANSFER_SECONDS = 1800.0
"""Longest time for 200 MB."""

PAGE = 100
CLOCKS_APART_SECONDS = 900.0


class BatchNotFound(EndpointError):
    """The service does not know the batch."""


@dataclass(frozen=True, slots=True)
class ServiceBatch:
    """A batch as its service describes it.

    Attributes:
        input_id: file of the requests.
        total: requests in it, 0 until the service has counted them.
        completed: requests answered.
        failed: requests refused.
        output_id: file of the answers.
        error_id: file of the failures.
        said: why it failed as a whole.
        queue_full: whether it failed because too many tokens wait at the service.
    """

    id: str
    status: str
    token: str | None = None
    input_id: str | None = None
    created: float = 0.0
    total: int = 0
    completed: int = 0
    failed: int = 0
    output_id: str | None = None
    error_id: str | None = None
    said: str | None = None
    queue_full: bool = False

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in ENDED


class BatchService:
    """The Batch API at one endpoint. The key is read when it is needed and is in no message.

    Args:
        endpoint: who answers.

    Raises:
        UserError: the provider has no batches of this protocol.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        if endpoint.provider not in SERVED:
            raise UserError(
                f"provider {endpoint.provider} has no Batch API of OpenAI's protocol. Batches go to: "
                f"{', '.join(SERVED)}. Ask {endpoint.label} with --mode live."
            )
        self._endpoint = endpoint
        self._sdk = SdkClient(endpoint)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Keys in use now."""
        return (*self._sdk.secrets, *PROVIDERS[self._endpoint.provider].secrets(self._endpoint))

    def upload(self, file: Path) -> str:
        """Sends the input of a batch; returns the service's id of the file.

        Raises:
            OutcomeUnknown: no answer came, and the file may be there.
        """

        def create(client: openai.OpenAI) -> str:
            with file.open("rb") as content:
                given = (file.name, content, "application/jsonl")
                return client.with_options(timeout=TRANSFER_SECONDS).files.create(file=given, purpose="batch").id

        return self._call(create, f"uploading {file.name}", changes=True)

    def find_file(self, name: str, size: int) -> str | None:
        """The id of an uploaded file of this name and size."""

        def find(client: openai.OpenAI) -> str | None:
            for page in pages(client.files.list(purpose="batch")):
                for known in page:
                    same = known.get("filename") == name and known.get("bytes") in (None, size)
                    if same and known.get("status") not in ("error", "deleted"):
                        return str(known["id"])
            return None

        return self._call(find, f"looking for {name}")

    def file_status(self, file: str) -> tuple[str, str]:
        """Whether an uploaded file can be used yet: its status and what the service says of it."""

        def ask(client: openai.OpenAI) -> tuple[str, str]:
            known = client.files.retrieve(file).to_dict()
            return str(known.get("status") or "processed").lower(), str(known.get("status_details") or "")

        return self._call(ask, f"looking at file {file}")

    def create(self, file: str, operation: Operation, token: str) -> ServiceBatch:
        """Orders a batch, once: a retry after a timeout could buy another.

        Raises:
            OutcomeUnknown: no answer came, and the batch may have been ordered.
        """
        import openai

        url: Any = url_of(self._endpoint, operation)
        body: dict[str, Any] = {"input_file_id": file, "endpoint": url, "completion_window": "24h"}

        def order(client: openai.OpenAI) -> ServiceBatch:
            try:
                return self._read(client.batches.create(**body, metadata={TOKEN: token}))
            except openai.BadRequestError as error:
                if "metadata" not in str(error).lower():
                    raise
            # A service that takes none is given none: its batch is found again by its file.
            return self._read(client.batches.create(**body))

        return self._call(order, "ordering the batch", changes=True)

    def find(self, token: str, file: str | None, since: float) -> list[ServiceBatch]:
        """Batches with this token or of this file, oldest first.

        Args:
            token: of the batch.
            file: its input; some services keep no token.
            since: when it was ordered at the earliest, in seconds since 1970; older ones need not be looked at.
        """
        newest_first = self._endpoint.provider in ("openai", "azure", "local")

        def look(client: openai.OpenAI) -> list[ServiceBatch]:
            found: list[ServiceBatch] = []
            for page in pages(client.batches.list(limit=PAGE)):
                batches = [self._read(item) for item in page]
                found += [batch for batch in batches if batch.token == token or (file and batch.input_id == file)]
                if newest_first and batches and max(batch.created for batch in batches) < since - CLOCKS_APART_SECONDS:
                    break
            return sorted(found, key=lambda batch: batch.created)

        return self._call(look, "looking for the batch")

    def poll(self, batch: str) -> ServiceBatch:
        """The batch now.

        Raises:
            BatchNotFound: the service does not know it.
        """
        return self._call(lambda client: self._read(client.batches.retrieve(batch)), f"asking for {batch}", found=True)

    def cancel(self, batch: str) -> ServiceBatch:
        """Asks the service to end a batch; what it has answered until then is kept and billed.

        Raises:
            BatchNotFound: the service does not know it.
        """
        import openai

        try:
            return self._call(
                lambda client: self._read(client.batches.cancel(batch)), f"cancelling {batch}", changes=True, found=True
            )
        except EndpointError as error:
            refused = isinstance(error.__cause__, openai.BadRequestError | openai.ConflictError)
            if refused and (now := self.poll(batch)).ended:
                return now
            raise

    def download(self, file: str, target: Path) -> None:
        """Fetches a file of answers into a local one, which only this user can read.

        Raises:
            BatchNotFound: the service does not have the file any more.
        """

        def fetch(client: openai.OpenAI) -> None:
            with (
                client.with_options(timeout=TRANSFER_SECONDS).files.with_streaming_response.content(file) as response,
                target.open("wb") as written,
            ):
                target.chmod(0o600)
                for part in response.iter_bytes(1 << 18):
                    written.write(part)

        self._call(fetch, f"fetching {file}", found=True)

    def delete(self, file: str) -> None:
        """Deletes a file; one that is gone already is no error."""

        def remove(client: openai.OpenAI) -> None:
            client.files.delete(file)

        try:
            self._call(remove, f"deleting {file}", found=True)
        except BatchNotFound:
            return

    def close(self) -> None:
        """Closes the connections."""
        self._sdk.close()

    def _call(
        self, ask: Callable[[openai.OpenAI], Result], doing: str, *, changes: bool = False, found: bool = False
    ) -> Result:
        """Asks once; what goes wrong becomes an error of Luthier's."""
        import httpx2
        import openai

        try:
            return ask(self._sdk.connected())
        except httpx2.HTTPError as error:
            # While a body is streamed the client's own errors come through.
            raise ServiceUnavailable(f"{self._endpoint.address} broke off ({doing}): {type(error).__name__}") from error
        except openai.OpenAIError as error:
            if self._endpoint.provider == "local":
                # The server may have been restarted, with another port and token.
                self._sdk.close()
            said = translated(error, self._endpoint, self.secrets, doing, changes=changes)
            if found and isinstance(error, openai.NotFoundError):
                raise BatchNotFound(str(said)) from error
            raise said from error

    def _read(self, given: Any) -> ServiceBatch:
        batch: Mapping[str, Any] = given if isinstance(given, Mapping) else given.to_dict()
        counts = batch.get("request_counts") or {}
        faults = (batch.get("errors") or {}).get("data") or []
        words = [_words(fault) for fault in faults if isinstance(fault, Mapping)]
        codes = " ".join(f"{fault.get('code')} {fault.get('message')}" for fault in faults).lower()
        return ServiceBatch(
            id=str(batch["id"]),
            status=str(batch.get("status") or "unknown").lower(),
            token=(batch.get("metadata") or {}).get(TOKEN),
            input_id=batch.get("input_file_id") or None,
            created=float(batch.get("created_at") or 0.0),
            total=int(counts.get("total") or 0),
            completed=int(counts.get("completed") or 0),
            failed=int(counts.get("failed") or 0),
            output_id=batch.get("output_file_id") or None,
            error_id=batch.get("error_file_id") or None,
            said=redact("; ".join(words[:3]), self.secrets) or None,
            queue_full=any(sign in codes for sign in QUEUE_FULL),
        )


def url_of(endpoint: Endpoint, operation: Operation) -> str:
    """The route of a batch's lines, as the service spells it."""
    # Azure's documents leave the version out; OpenAI insists on it.
    return PATHS[operation] if endpoint.provider == "azure" else f"/v1{PATHS[operation]}"


def endpoint_of(batch: StoredBatch) -> Endpoint:
    """Whom a batch asks.

    Raises:
        UserError: this version of Luthier cannot read it.
    """
    try:
        return Endpoint.model_validate_json(batch.endpoint)
    except EndpointError as error:
        raise UserError(
            f"the endpoint of a batch at {batch.address} cannot be read any more ({error}). Give the batch up: "
            f"luthier batches cancel {batch.token} --forget"
        ) from error


def says_queue_full(error: Exception) -> bool:
    """Whether a refusal means that too many tokens wait at the service."""
    return any(sign in str(error).lower() for sign in QUEUE_FULL)


def _words(fault: Mapping[str, Any]) -> str:
    line = f"line {fault['line']}: " if fault.get("line") else ""
    return f"{line}{fault.get('message') or fault.get('code')}"
