"""Whose models can be asked now: the endpoint files of a folder, and the models that their services list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.accounts import deployments, offered_models, why_not_asked
from luthier.accounts.configured import TO_FILL_IN
from luthier.errors import UserError
from luthier.model_catalogue.suiting import kind_of
from luthier.model_choice.candidates import LeftOut
from luthier.providers.endpoint import Endpoint
from luthier.techniques.endpoint_files import read_endpoint

__all__ = ["EMBEDDED", "Askable", "askable_places", "listed_there"]

ENDPOINT_FILES = Path("models/endpoints")
EMBEDDED: Mapping[str, Any] = {
    "endpoint": {"provider": "local", "model": "smollm2-135m-instruct"},
    "embedding": {"provider": "local", "model": "wordllama-256"},
    # So small a model seldom writes a label and nothing else; which one it finds likeliest can be read.
    "answer": {"method": "score"},
}
OWN_SERVERS = ("compatible", "vllm")
"""Providers whose servers alone know what they serve."""


@dataclass(frozen=True)
class Askable:
    """Endpoints that can be asked.

    Attributes:
        places: blocks of endpoint files, one per file.
        listed: blocks for further models that servers of one's own and Azure's deployments have, one per model.
        left_out: files that cannot be asked, and why.
    """

    places: tuple[Mapping[str, Any], ...]
    listed: tuple[Mapping[str, Any], ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def askable_places(
    files: Sequence[str | Path] = (), provider: str | None = None, folder: Path = ENDPOINT_FILES
) -> Askable:
    """The endpoint files that can be asked now, with what their services list. Listing costs nothing.

    Files that are named are taken as they are. Of a folder's, which were not, a key is sent only to the provider that
    its variable belongs to and to servers on this machine; the embedded server is among them.

    Args:
        files: endpoint files; those of `folder` when there are none.
        provider: of this provider only.
        folder: where endpoint files are looked for.

    Raises:
        SpecError: a file is no endpoint file.
        UserError: none of the provider can be asked.
        EndpointError: the key of a file that was named is not set.
    """
    found: list[Mapping[str, Any]] = []
    listed: list[Mapping[str, Any]] = []
    left: list[LeftOut] = []
    for file in files or sorted(folder.glob("*.yaml")):
        blocks = read_endpoint(file)
        endpoint = Endpoint.model_validate(blocks["endpoint"])
        if provider is not None and endpoint.provider != provider:
            continue
        if files:
            endpoint.key()
        elif TO_FILL_IN in str(blocks["endpoint"]):
            # An example as `luthier init` writes it.
            continue
        elif why := why_not_asked(str(file), endpoint):
            left.append(LeftOut(str(file), why.rstrip(".")))
            continue
        more, failure = listed_there(blocks, endpoint)
        if failure and not files:
            left.append(LeftOut(str(file), failure.rstrip(".")))
            continue
        found.append(blocks)
        listed += more
    if not files and provider in (None, "local"):
        found.append(EMBEDDED)
    if not found:
        why = "".join(f" {one.name}: {one.why}." for one in left)
        raise UserError(
            f"no endpoint file here can be asked at {provider!r}.{why} Give one with --endpoint FILE, or let `luthier "
            "init` write models/endpoints/; docs/endpoints.md has an example of each provider."
        )
    return Askable(tuple(found), tuple(listed), tuple(left))


def listed_there(blocks: Mapping[str, Any], endpoint: Endpoint) -> tuple[list[Mapping[str, Any]], str]:
    """Blocks for the other models of a service that only the service knows, and why it could not be asked."""
    if endpoint.provider in OWN_SERVERS:
        offered = offered_models(endpoint)
        names = [(one.id, one.id) for one in offered.items]
        failure = "" if offered.failure is None or names else str(offered.failure)
    elif endpoint.provider == "azure" and endpoint.resource is not None:
        deployed = deployments(endpoint)
        names = [(one.name, one.model_id) for one in deployed.items if one.answers]
        # The deployment of the file can be asked all the same.
        failure = ""
    else:
        return [], ""
    embedding = blocks.get("embedding", {}).get("model")
    more: list[Mapping[str, Any]] = [
        {"embedding" if kind == "embedding" else "endpoint": _moved(endpoint, name, model)}
        for name, model in names
        if name not in (endpoint.model, embedding) and (kind := kind_of(model)) in ("chat", "embedding")
    ]
    return more, failure


def _moved(endpoint: Endpoint, name: str, model: str) -> dict[str, Any]:
    """The endpoint for another model there. What a file says of its own model holds for that one; free is all free."""
    settings = endpoint.asking(name).model_dump(mode="json", exclude_defaults=True)
    price = endpoint.price
    if price is not None and not (price.input_usd_per_million or price.output_usd_per_million):
        settings["price"] = price.model_dump(mode="json", exclude_defaults=True)
    return settings | ({"priced_as": model} if name != model else {})
