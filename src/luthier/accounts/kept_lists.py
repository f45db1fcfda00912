"""What accounts offered when they were last asked: a file each, so that it is known offline.

The files are `LUTHIER_HOME/catalogue/PLACE.json`. They hold what the account was told it may use, where, and when that
was, and neither a key nor the name of its variable.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from luthier.accounts.azure_control_plane import ControlPlane
from luthier.accounts.offered import offered_models
from luthier.accounts.records import OfferedModel
from luthier.errors import DataError
from luthier.home import luthier_home
from luthier.model_names import parse_model_name
from luthier.outputs import write_file
from luthier.providers.endpoint import Endpoint

__all__ = ["KeptList", "kept_lists", "refresh"]

SCHEMA = 1
LONGEST_PLACE = 80
REFRESH = "luthier catalogue list --refresh"

DATES = frozenset(("retires", "fine_tuning_until"))
TUPLES = frozenset(("fine_tuning_kinds", "skus"))


@dataclass(frozen=True)
class KeptList:
    """The models that an account was offered when it was asked.

    Attributes:
        provider: as in `endpoint:` of a spec.
        address: of the service; `local` for the embedded server.
        seen: Unix time at which the account was asked.
        models: what it was offered.
        missing: why a part of them is not there; empty where nothing is missing.
        file: where the list is kept.
    """

    provider: str
    address: str
    seen: float
    models: tuple[OfferedModel, ...]
    missing: str
    file: Path

    @property
    def day(self) -> date:
        """The day of `seen`, in UTC."""
        return datetime.fromtimestamp(self.seen, UTC).date()


def refresh(
    endpoint: Endpoint,
    *,
    credential: Any = None,
    plane: ControlPlane | None = None,
    clock: Callable[[], float] = time.time,
) -> KeptList:
    """Asks an account for its models and keeps the list; one that was kept before is replaced.

    A list of which a part could not be read is kept where there is no whole one.

    Args:
        endpoint: whom to ask; its model is not used.
        credential: of azure-identity; `DefaultAzureCredential` when absent.
        plane: the account's control plane at Azure; made from the endpoint when absent.
        clock: Unix time.

    Raises:
        UserError: the account cannot be asked, or not for all and a whole list is kept already.
    """
    found = offered_models(endpoint, credential=credential, plane=plane)
    file = _file_of(endpoint)
    if found.failure is not None and (not found.items or _is_whole(file)):
        raise found.failure
    kept = KeptList(endpoint.provider, endpoint.address, clock(), found.items, str(found.failure or ""), file)
    document = {"schema": SCHEMA, **{name: getattr(kept, name) for name in ("provider", "address", "seen", "missing")}}
    document["models"] = [_packed(model) for model in kept.models]
    file.parent.mkdir(mode=0o700, exist_ok=True)
    write_file(file, json.dumps(document, indent=1, ensure_ascii=False))
    return kept


def kept_lists() -> list[KeptList]:
    """Every list that is kept, by provider and address.

    Raises:
        DataError: a file is damaged, or of a later version; the message has the cure.
    """
    files = sorted((luthier_home() / "catalogue").glob("*.json"))
    return sorted(map(_read, files), key=lambda kept: (kept.provider, kept.address))


def _file_of(endpoint: Endpoint) -> Path:
    """One per account: two keys at one address may be offered different models."""
    where = endpoint.resource.model_dump_json() if endpoint.resource is not None else ""
    account = hashlib.sha256(f"{endpoint.address}\n{endpoint.key_variable}\n{where}".encode()).hexdigest()[:8]
    place = re.sub(r"[^a-z0-9.]+", "-", endpoint.address.split("://")[-1])[:LONGEST_PLACE].strip("-.")
    return luthier_home() / "catalogue" / f"{place}-{account}.json"


def _is_whole(file: Path) -> bool:
    try:
        return not _read(file).missing
    except DataError:
        return False


def _read(file: Path) -> KeptList:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        schema = document["schema"]
        if schema == SCHEMA:
            provider, address, missing = (str(document[name]) for name in ("provider", "address", "missing"))
            models = tuple(_unpacked(model) for model in document["models"])
            return KeptList(provider, address, float(document["seen"]), models, missing, file)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}. Delete it and type: {REFRESH}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{file}, a list that an account gave, is damaged. Delete it and type: {REFRESH}") from error
    raise DataError(f"{file} has schema {schema!r}; this Luthier reads {SCHEMA}. Delete it and type: {REFRESH}")


def _packed(model: OfferedModel) -> dict[str, Any]:
    """The fields that say something. What the name means is read again, as later versions may know more names."""
    values = {name: value for name, value in vars(model).items() if name != "model" and value not in (None, (), {})}
    values |= {name: values[name].isoformat() for name in DATES & set(values)}
    if model.sku_ends:
        values["sku_ends"] = {sku: day.isoformat() for sku, day in model.sku_ends.items()}
    return values


def _unpacked(given: Mapping[str, Any]) -> OfferedModel:
    # A later version may add fields.
    values = {one.name: given[one.name] for one in fields(OfferedModel) if one.name in given}
    values |= {name: date.fromisoformat(values[name]) for name in DATES & set(values)}
    values |= {name: tuple(values[name]) for name in TUPLES & set(values)}
    if "sku_ends" in values:
        values["sku_ends"] = {sku: date.fromisoformat(day) for sku, day in values["sku_ends"].items()}
    name = values.get("name") or values["id"]
    model = parse_model_name(name, version=values.get("version"), vendor=values.get("format"))
    return OfferedModel(**values | {"model": model})
