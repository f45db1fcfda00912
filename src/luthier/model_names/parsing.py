"""The model that a name of a service stands for."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from luthier.model_names.families import FILE, family_and_snapshot, first_word, packing, without_packing
from luthier.model_names.model_name import ModelName
from luthier.model_names.vendors import FAMILY_VENDORS, PASSED_ON, known_vendor

__all__ = ["parse_model_name", "parse_tuned_name", "served_as"]

OPENAI_TUNED = re.compile(r"ft:(?P<base>[^:]+):[^:]*:[^:]*:(?P<job>[^:]+)(?::ckpt-step-(?P<step>\d+))?")
OLD_TUNED = re.compile(r"(?P<base>ada|babbage|curie|davinci):ft-(?P<job>.+)")
AZURE_TUNED = re.compile(
    r"(?P<base>.+)\.(?:ft|ftchkpt)-(?P<job>[0-9a-f]+)(?:-[^:]*)?(?::ckpt-step-(?P<step>\d+))?", re.IGNORECASE
)
AZURE_CHECKPOINT = re.compile(r"ftchkpt-(?P<job>[0-9a-f]+)", re.IGNORECASE)

ADDRESS = re.compile(
    r"^(?:https?://)?(?:hf\.co|huggingface\.co)/|^registry\.ollama\.ai/library/|^@(?:cf|hf)/|^~(?!/)|^arn:[^/]+/|^projects/[^/]+/locations/[^/]+/publishers/|^publishers/",
    re.IGNORECASE,
)
AZURE_REGISTRY = re.compile(r"^azureml://registries/azure[^/]*/models/([^/]+)(?:/versions/\d{1,2})?$")
"""Microsoft's registries; those of others may hold anything under these names."""

ACCOUNT = re.compile(r"accounts/([^/]+)/[a-zA-Z]+/(.+)")
FOLDER = re.compile(r"(?:/|\.{1,2}/|~/|[a-zA-Z]:/)")
"""How a path of files begins."""

BEDROCK = re.compile(
    r"(?:(?:global|regional|us|us-gov|eu|apac|jp|au|ca)\.)?"
    r"(ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshotai|moonshot|nvidia|openai|qwen|writer|zai)"
    r"\.([a-z].*)"
)
BEDROCK_DATED = re.compile(r"(-\d{8})-v\d+(?::\d+)?$")
BEDROCK_FIRST = re.compile(r"(?:-v1|-1)?:0$")
BEDROCK_NOUGHT = re.compile(r"-v0:(\d)$")

DATABRICKS = re.compile(r"(?<!-0)-(\d)-(\d)(?=-|$)")

SERVED_WORDS = """
    batch beta cheapest default exacto fastest flex floor free latest nitro preferred
    cerebras featherless-ai fireworks-ai groq hyperbolic nebius novita nscale sambanova together
"""
SERVED_TAGS = frozenset(SERVED_WORDS.split())
"""What behind a colon or an `@` says how or where a model is served."""

SIZE_TAG = re.compile(r"e?[\d.]+(?:x[\d.]+)?[bmt](?:-.+)?|v\d[\d.]*")
SIZE_ALONE = re.compile(r"e?[\d.]+b|[\d.]+b-(?:text|base)")

REVISION = re.compile(r"\d{1,2}")
"""A version of Azure that counts packages of one model, and tells nothing of the model."""


def parse_model_name(name: str, *, version: str | None = None, vendor: str | None = None) -> ModelName:
    """The model that a name of a service stands for. Nothing is guessed: an unknown name is a family of its own.

    Args:
        name: as a service spells it, in whatever case; a deployment's name only where it is that of its model.
        version: what Azure calls the model's version, such as `2025-04-14`; `1` says nothing.
        vendor: who made it, where the service tells, such as Azure's model format; used where the name does not tell,
            as Azure's format of gpt-oss is `Microsoft`.

    Examples:
        >>> parse_model_name("ft:gpt-4o-mini-2024-07-18:org:stars:abc:ckpt-step-9").key
        'openai/gpt-4o-mini@2024-07-18#abc:9'
        >>> parse_model_name("gpt-4.1-mini-2025-04-14.ft-0123abcd-stars").key
        'openai/gpt-4.1-mini@2025-04-14#0123abcd'
        >>> parse_model_name("gpt-35-turbo", version="0125") == parse_model_name("gpt-3.5-turbo-0125")
        True
        >>> parse_model_name("accounts/fireworks/models/llama-v3p3-70b-instruct").key
        'meta/llama-3.3-70b-instruct'
    """
    return _parsed(name.strip(), (version or "").strip().lower(), vendor)


def parse_tuned_name(name: str, *, base: str, job: str, checkpoint: int | None = None) -> ModelName:
    """The result of a job, by its name as far as that tells, and by what is known of the job.

    Args:
        name: of the tuned model, as the service spells it.
        base: what was trained.
        job: the service's id of the job; used where the name has no id of its own.
        checkpoint: training step; used likewise.

    Examples:
        >>> parse_tuned_name("ftchkpt-0a1b", base="gpt-4.1-mini-2025-04-14", job="ftjob-1").key
        'openai/gpt-4.1-mini@2025-04-14#0a1b'
        >>> parse_tuned_name("me/Qwen2.5-7B-stars-1f2e", base="Qwen/Qwen2.5-7B-Instruct", job="ft-1f2e").key
        'alibaba/qwen2.5-7b-instruct#ft-1f2e'
    """
    model = parse_model_name(name)
    if not model.is_tuned:
        return replace(parse_model_name(base).base, job=job, checkpoint=checkpoint)
    if AZURE_CHECKPOINT.fullmatch(model.family):
        return replace(parse_model_name(base).base, job=model.job)
    return model


def served_as(name: str) -> str:
    """What a name says of precision and serving, which its key leaves out; equal where prices may be compared.

    Examples:
        >>> served_as("meta-llama/Llama-3.3-70B-Instruct-Turbo"), served_as("qwen/qwq-32b:free"), served_as("o4-mini")
        ('-turbo', ':free', '')
    """
    stem, colon, tag = name.lower().rpartition(":")
    if not (colon and stem and tag in SERVED_TAGS):
        stem, tag = name, ""
    return packing(FILE.sub("", stem.lower()).replace(":", "-")) + (f":{tag}" if tag else "")


@lru_cache(maxsize=8192)
def _parsed(name: str, version: str, vendor: str | None) -> ModelName:
    if "ft" in name.lower():
        tuned = OPENAI_TUNED.fullmatch(name) or OLD_TUNED.fullmatch(name) or AZURE_TUNED.fullmatch(name)
        if tuned is not None:
            step = tuned.groupdict().get("step")
            job = tuned["job"].lower() if tuned.re is AZURE_TUNED else tuned["job"]
            return replace(_base(tuned["base"], vendor), job=job, checkpoint=int(step) if step else None)
        if checkpoint := AZURE_CHECKPOINT.fullmatch(name):
            # Of which base model is not in the name, so that no other name has this family.
            return ModelName(None, name.lower(), job=checkpoint["job"].lower())
    found = _base(name, vendor)
    if not version or found.snapshot or REVISION.fullmatch(version):
        return found
    joined = _base(f"{name}-{version}", vendor)
    if joined.snapshot or version[0].isalpha():
        # Azure's version of GPT-4 may be `turbo-2024-04-09`.
        return joined
    return replace(found, snapshot=version)


def _base(name: str, vendor: str | None) -> ModelName:
    """The model of a name that is no fine-tune's."""
    given = None if vendor is None else known_vendor(vendor) or vendor.strip().lower()
    path = ADDRESS.sub("", AZURE_REGISTRY.sub(r"\1", name))
    if account := ACCOUNT.fullmatch(path):
        if account[1] != "fireworks":
            return ModelName(f"accounts/{account[1]}".lower(), account[2].lower().replace("/", ":"))
        path = f"fireworks/{account[2]}"
    is_file = FOLDER.match(path.replace("\\", "/")) is not None or path.lower().endswith(".gguf")
    if is_file:
        path = path.replace("\\", "/")
    place, _, last = path.rstrip("/").rpartition("/")
    if not last:
        return ModelName(given, name.lower() or "unknown")
    owner, family, snapshot = _read(last)
    if is_file:
        # Any two folders may hold a `model.gguf`.
        return ModelName(owner or given or place or None, family, snapshot)
    if place:
        owner = _owner(place.lower(), owner)
    return ModelName(owner or given, family, snapshot)


def _owner(place: str, of_family: str | None) -> str:
    """Who made a model, by the folders of its path and by the family's name."""
    folders = place.removesuffix("/models").split("/")
    known = known_vendor(folders[-1])
    passed_on = folders[-1] in PASSED_ON
    if passed_on and of_family is not None:
        return of_family
    if known is not None:
        return known
    return "/".join(folders)


def _read(last: str) -> tuple[str | None, str, str | None]:
    """Vendor, family and snapshot of the last part of a path."""
    name, owner, tagged = FILE.sub("", last.lower()), None, False
    if bedrock := BEDROCK.fullmatch(name):
        owner, name = bedrock.groups()
        owner = known_vendor(owner) or owner
        name = _from_bedrock(owner, name)
    name, at, after = name.partition("@")
    if at:
        name = name if after in SERVED_TAGS else f"{name}-{after}"
    stem, colon, tag = name.rpartition(":")
    if colon and stem:
        if tag in SERVED_TAGS or not without_packing(f"-{tag}"):
            name = stem
        elif SIZE_TAG.fullmatch(tag):
            name = f"{stem}-{tag}"
            tagged = SIZE_ALONE.fullmatch(without_packing(tag)) is not None
    if name.startswith("databricks-"):
        inner = name.removeprefix("databricks-")
        if first_word(inner) in FAMILY_VENDORS or inner.startswith("meta-"):
            name = DATABRICKS.sub(r"-\1.\2", inner)
    family, snapshot = family_and_snapshot(without_packing(name) or last.lower(), tagged=tagged)
    if owner is None and (rule := FAMILY_VENDORS.get(first_word(family))) is not None and rule[1].match(family):
        owner = rule[0]
    return owner, family, snapshot


def _from_bedrock(owner: str, name: str) -> str:
    """A name of Bedrock without the version of its interface."""
    if (owner, name) == ("deepseek", "v3-v1:0"):
        return "deepseek-v3.1"
    name = BEDROCK_DATED.sub(r"\1", name)
    name = BEDROCK_NOUGHT.sub(r"-v0.\1", name)
    name = BEDROCK_FIRST.sub("", name)
    if owner == "meta":
        name = name.removesuffix("-v1")
    return name if owner != "deepseek" or name.startswith("deepseek") else f"deepseek-{name}"
