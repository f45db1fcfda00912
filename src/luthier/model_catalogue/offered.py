"""What the user's accounts were offered when they were last asked, as facts of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from luthier.home import luthier_home
from luthier.model_catalogue.records import Fact
from luthier.model_catalogue.statements import Statement

if TYPE_CHECKING:
    from luthier.accounts import KeptList, OfferedModel

__all__ = ["kept_statements", "statements_of"]


def kept_statements() -> tuple[list[Statement], frozenset[str]]:
    """The facts of every list that `--refresh` has kept, and the providers of which a whole list is kept.

    Raises:
        DataError: a list is damaged; the message has the cure.
    """
    if not any((luthier_home() / "catalogue").glob("*.json")):
        # Reading them takes packages that the catalogue does without.
        return [], frozenset()
    from luthier.accounts import kept_lists

    kept = sorted(kept_lists(), key=lambda one: one.seen)
    # Two accounts may be offered different models, and what one is offered can be used.
    whole = {one.provider for one in kept} - {one.provider for one in kept if one.missing}
    return [statement for one in kept for statement in statements_of(one)], frozenset(whole)


def statements_of(kept: KeptList) -> Iterator[Statement]:
    """The facts that an account told of each model it is offered; its own fine-tunes are no base models.

    Of a model with several versions, as Azure has them, the facts are those of the newest.
    """
    source = "the embedded server, asked" if kept.provider == "local" else f"the account at {kept.address}"
    newest: dict[str, OfferedModel] = {}
    versions: dict[str, list[str]] = {}
    for model in sorted(kept.models, key=lambda one: one.version or ""):
        if not model.model.is_tuned:
            name = model.name or model.id
            newest[name] = model
            versions.setdefault(name, []).extend(filter(None, [model.version]))
    for name, model in newest.items():
        told = {"offered": True} | _facts(model)
        if len(versions[name]) > 1:
            told["note"] = f"versions: {', '.join(versions[name])}; these facts are of the last"
        facts = {fact: Fact(value, source, kept.day) for fact, value in told.items()}
        yield Statement(kept.provider, (name,), facts)


def _facts(model: OfferedModel) -> dict[str, Any]:
    known: dict[str, Any] = {
        "kind": next((kind for name, kind in KINDS.items() if model.capabilities.get(name) == "true"), None),
        "lifecycle": model.lifecycle,
        "retires": model.retires,
        "fine_tuning_until": model.fine_tuning_until,
        "context_tokens": model.context_tokens,
    }
    if model.can_be_tuned is not None:
        known["fine_tuning"] = model.fine_tuning_kinds
    for fact, capability in CAPABILITIES.items():
        said = model.capabilities.get(capability)
        known[fact] = said == "true" if said in ("true", "false") else None
    return {name: value for name, value in known.items() if value is not None}


KINDS = {"embeddings": "embedding", "chat_completion": "chat", "chatCompletion": "chat"}
CAPABILITIES = {"json_mode": "jsonObjectResponse"}
"""Names of OpenAI's and Azure's for what the catalogue has a fact of."""
