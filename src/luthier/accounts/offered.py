"""The models that an account is offered: what the service lists, and what Azure's control plane adds to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from luthier.accounts.azure_control_plane import ControlPlane
from luthier.accounts.records import Listed, OfferedModel
from luthier.errors import EndpointError, UserError
from luthier.model_names import ModelName, parse_model_name
from luthier.providers.endpoint import Endpoint
from luthier.providers.sdk_client import SdkClient
from luthier.replies.sdk_errors import translated

if TYPE_CHECKING:
    import openai

__all__ = ["offered_models"]

TRIES_AGAIN = 2
"""How often the official client repeats a page; it waits as the service's headers say, at most a minute."""

LONGEST_SECONDS = 30.0
"""Longest wait for a page: someone is looking at the terminal."""

CONTEXT = ("context_tokens", "context_window", "context_length", "max_context_length", "max_model_len")
"""What servers call the length of a model's context."""

LONGEST_TEXT = 200
"""Characters; what is longer is a description, a licence or a template."""

READ = frozenset(
    ("id", "object", "created", "created_at", "owned_by", "shutdown_date", "lifecycle_status", "capabilities", *CONTEXT)
)
"""Fields of a model that have a place of their own."""


def offered_models(
    endpoint: Endpoint, *, credential: Any = None, plane: ControlPlane | None = None
) -> Listed[OfferedModel]:
    """The models that a service lists for the account behind an endpoint, its fine-tuned ones among them.

    At Azure with `resource:` the control plane is asked too: it knows versions, SKUs and when each of them retires. A
    service that refuses or is unavailable is the `failure` of what is returned, and is not raised.

    Args:
        endpoint: whom to ask; its model is not used.
        credential: of azure-identity; `DefaultAzureCredential` when absent.
        plane: the account's control plane; made from the endpoint when absent.
    """
    served = _served(endpoint, credential)
    if plane is None:
        if endpoint.provider != "azure" or endpoint.resource is None:
            return served
        plane = ControlPlane(endpoint, credential=credential)
    told = plane.list_models()
    return Listed(
        tuple(_joined(served.items, [_of_the_account(model) for model in told.items])), served.failure or told.failure
    )


def _served(endpoint: Endpoint, credential: Any) -> Listed[OfferedModel]:
    """What the data plane lists."""
    import openai

    sdk = SdkClient(endpoint, credential)
    found: list[OfferedModel] = []
    try:
        for page in _pages(sdk.connected().with_options(max_retries=TRIES_AGAIN, timeout=LONGEST_SECONDS), endpoint):
            found += map(_of_azure if endpoint.provider == "azure" else _of_the_service, page)
    except openai.OpenAIError as error:
        failure = translated(error, endpoint, sdk.secrets, "listing the models", changes=False)
        return Listed(tuple(found), failure)
    except UserError as error:
        return Listed(tuple(found), error)
    finally:
        sdk.close()
    return Listed(tuple(found))


def _pages(client: openai.OpenAI, endpoint: Endpoint) -> Iterator[list[dict[str, Any]]]:
    """The pages of the list; most services send everything on one, whatever is asked for."""
    known: set[str] = set()
    after: dict[str, object] = {}
    while True:
        # Read as it comes: the client fails on a web page, and on a list without an object around it (Together).
        reply = client.models.with_raw_response.list(extra_query=after)
        try:
            page = json.loads(reply.http_response.content)
        except ValueError:
            page = None
        items = page.get("data") if isinstance(page, dict) else page
        if not isinstance(items, list):
            raise EndpointError(
                f"{endpoint.address} answered something that is no list of models. Give `base_url:` up to and "
                "including /v1, as in https://HOST/v1."
            )
        named = [item for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)]
        new = [item for item in named if item["id"] not in known]
        yield new
        known |= {item["id"] for item in new}
        if not new or not isinstance(page, dict) or not page.get("has_more"):
            return
        after = {"after": new[-1]["id"]}


def _of_the_service(told: Mapping[str, Any]) -> OfferedModel:
    given = told.get("capabilities")
    capabilities = _texts(given) if isinstance(given, Mapping) else {}
    ends = told.get("deprecation")
    until = ends if isinstance(ends, Mapping) else {"inference": told.get("shutdown_date") or ends}
    contexts = [told[name] for name in CONTEXT if type(told.get(name)) is int]
    return OfferedModel(
        id=told["id"],
        model=parse_model_name(told["id"]),
        created=next((told[name] for name in ("created", "created_at") if type(told.get(name)) in (int, float)), None),
        owned_by=told.get("owned_by"),
        lifecycle=_state(told.get("lifecycle_status")),
        retires=_day(until.get("inference")),
        fine_tuning_until=_day(until.get("fine_tune")),
        fine_tuning_kinds=("fine_tune",) if capabilities.get("fine_tune") == "true" else (),
        context_tokens=contexts[0] if contexts else None,
        capabilities=capabilities | _texts({name: value for name, value in told.items() if name not in READ}),
    )


def _of_azure(told: Mapping[str, Any]) -> OfferedModel:
    """Azure's data plane writes name and version as one, as in gpt-4.1-mini-2025-04-14."""
    model = _of_the_service(told)
    name = model.id.removesuffix(f"-{model.model.snapshot}")
    if model.model.is_tuned or name == model.id:
        return model
    return replace(model, name=name, version=model.id.removeprefix(f"{name}-"))


def _of_the_account(told: Any) -> OfferedModel:
    """A `models.AccountModel` of azure-mgmt-cognitiveservices."""
    name, version = str(told.name), told.version
    capabilities = _texts(told.capabilities or {})
    ends, system = told.deprecation, told.system_data
    sku_ends = {sku.name: sku.deprecation_date.date() for sku in told.skus or () if sku.deprecation_date is not None}
    skus = tuple(str(sku.name) for sku in told.skus or ())
    retires = _day(ends.inference) if ends is not None else None
    if retires is None and skus and len(sku_ends) == len(skus):
        retires = max(sku_ends.values())
    status = _state(ends.deprecation_status) if ends is not None else None
    context = capabilities.get("maxContextToken", "")
    tuning = _texts(told.finetune_capabilities or {})
    if told.is_default_version is not None:
        capabilities["isDefaultVersion"] = str(told.is_default_version).lower()
    return OfferedModel(
        id=name,
        model=parse_model_name(name, version=version, vendor=told.format),
        created=system.created_at.timestamp() if system is not None and system.created_at is not None else None,
        owned_by=told.publisher,
        name=name,
        version=version,
        format=told.format,
        lifecycle=_state(told.lifecycle_status),
        retires=retires,
        retirement_is_planned=None if status is None else status == "Planned",
        fine_tuning_until=_day(ends.fine_tune) if ends is not None else None,
        fine_tuning_kinds=tuple(kind for kind, value in tuning.items() if value != "false"),
        context_tokens=int(context) if context.isdecimal() else None,
        capabilities=capabilities,
        skus=skus,
        sku_ends=sku_ends,
    )


def _joined(served: Sequence[OfferedModel], told: Sequence[OfferedModel]) -> Iterator[OfferedModel]:
    """One entry for each model of both lists; what the control plane says counts where both say something."""
    left, found = {id(other): other for other in told}, dict[str, OfferedModel]()
    for keys_of in (_spellings, _meanings):
        places: dict[object, list[OfferedModel]] = {}
        for other in left.values():
            for key in keys_of(other):
                places.setdefault(key, []).append(other)
        for one in served:
            near = [other for key in keys_of(one) for other in places.get(key, ())]
            same = {id(other): other for other in near if id(other) in left}
            # Of several packages of one model it cannot be told which is meant.
            if one.id not in found and len(same) == 1:
                found[one.id] = left.pop(*same)
    for one in served:
        said = {name: value for name, value in vars(found.get(one.id, one)).items() if value not in (None, (), {})}
        own = {
            "id": one.id,
            "created": one.created,
            "capabilities": {**one.capabilities, **said.get("capabilities", {})},
        }
        yield replace(one, **said | own)
    yield from left.values()


def _spellings(model: OfferedModel) -> tuple[str]:
    # The data plane writes the version behind the name, also where it counts packages, as in gpt-oss-20b-11.
    return ((f"{model.name}-{model.version}" if model.name and not model.model.is_tuned else model.id).lower(),)


def _meanings(model: OfferedModel) -> tuple[ModelName, str]:
    return model.model, model.id


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    """Values as texts; yes and no in small letters, as the control plane spells most."""
    found = {}
    for name, value in given.items():
        text = str(value)
        if isinstance(value, str | int | float) and len(text) <= LONGEST_TEXT:
            found[str(name)] = text.lower() if text in ("True", "False") else text
    return found


def _state(value: Any) -> str | None:
    """A state as the service spells it, also where the client knows it as a member of an enumeration."""
    return None if value is None else str(getattr(value, "value", value))


def _day(value: Any) -> date | None:
    """A day of Unix seconds, or of a date with or without a time; `None` where it is neither."""
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC).date()
        return date.fromisoformat(str(value)[:10])
    except (ValueError, OverflowError, OSError):
        return None
