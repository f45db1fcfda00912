"""How one family is spelled in many ways: precision and serving are taken off, versions are written with a dot."""

from __future__ import annotations

import re
from re import Pattern

__all__ = ["FILE", "family_and_snapshot", "first_word", "packing", "without_packing"]

Substitution = tuple[Pattern[str], str]


def _table(*lines: tuple[str, str]) -> tuple[Substitution, ...]:
    return tuple((re.compile(pattern), by) for pattern, by in lines)


PACKING = re.compile(
    r"(?:[-._@](?:gguf|ggml|awq|gptq|exl[23]|mlx|onnx|hf|bnb|nf4|b?f(?:16|32)|fp(?:4|16|32)|fp8(?:[-_](?:fast|dynamic|block|tput))?"
    r"|int[48]|(?:nv|mx)fp[48]|w\d+a\d+|[2-8]-?bits?|(?:ud-)?i?q\d(?:_(?:[01]|k|nl|x*[sml]))*|unsloth|maas))+$"
)
"""What says in what precision or file format weights are."""

FILE = re.compile(r"(?:-\d{5}-of-\d{5})?\.(?:gguf|safetensors|bin)$")

SERVED = re.compile(r"(?<=-instruct)-(?:turbo|lite|reference)(?:-free)?$")
"""Together's words for the precision it serves Instruct models in. Elsewhere `turbo` and `lite` are other models."""

CLAUDE = _table(
    (r"^claude-v(\d)", r"claude-\1"),
    (r"^claude-(\d):(\d)$", r"claude-\1.\2"),
    (r"-v\d(?=-\d{8}$)", ""),
    (r"(?<=-)(\d)-(\d)(?=-|$)", r"\1.\2"),
    (r"^claude-([4-9](?:\.\d)?)-([a-z]+)(?=-|$)", r"claude-\2-\1"),
    (r"^(claude-[a-z]+-\d)\.0(?=-|$)", r"\1"),
)
LLAMA = _table(
    # Cerebras alone writes these, for the Instruct models; `Llama-3.1-8B` is Meta's base model.
    (r"^(llama3\.\d-\d+b)$", r"\1-instruct"),
    (r"^meta-llama-", "llama-"),
    (r"^llama-?v?(\d)", r"llama-\1"),
    (r"^llama-(\d)-(\d)(?=-)", r"llama-\1.\2"),
    # Groq's words for Instruct models.
    (r"^(llama-3\.\d-\d+b(?:-vision)?)-(?:versatile|instant|specdec|preview)$", r"\1-instruct"),
    (r"^llama-3-(8|70)b-(?:8192|chat)$", r"llama-3-\1b-instruct"),
    (r"^llama-2-70b-4096$", "llama-2-70b-chat"),
    # Of these no base model was published under the same name.
    (r"^llama-3\.3-70b$", "llama-3.3-70b-instruct"),
    (r"^llama-4-maverick(?:-17b)?(?:-instruct(?:-basic)?)?$", "llama-4-maverick-17b-128e-instruct"),
    (r"^llama-4-scout(?:-17b)?(?:-instruct(?:-basic)?)?$", "llama-4-scout-17b-16e-instruct"),
)
GPT = _table((r"^gpt-35-", "gpt-3.5-"))
QWEN = _table((r"^qwen-(\d(?:\.\d)?)(?=-)", r"qwen\1"))
DEEPSEEK = _table((r"^deepseek[-_](?:chat-)?v(?=\d)", "deepseek-v"), (r"^deepseek-v3-v1:0$", "deepseek-v3.1"))
DASHED = _table((r"^(grok|jamba)-(\d)-(\d)(?=-|$)", r"\1-\2.\3"), (r"^ai21-", ""))

SUBSTITUTIONS: dict[str, tuple[Substitution, ...]] = {
    "ai": DASHED,
    "claude": CLAUDE,
    "cohere": _table((r"^cohere-", "")),
    "deepseek": DEEPSEEK,
    "gemini": _table((r"^gemini-(flash|pro)-(\d\.\d)(?=-|$)", r"gemini-\2-\1")),
    "gemma": _table((r"^gemma-?(\d)", r"gemma-\1")),
    "gpt": GPT,
    "grok": DASHED,
    "jamba": DASHED,
    "llama": LLAMA,
    "meta": LLAMA,
    "nova": _table((r"-v1$", "")),
    "nvidia": _table((r"^nvidia-", "")),
    "phi": _table((r"^phi-?(\d)", r"phi-\1"), (r"^phi-4-14b$", "phi-4")),
    "qwen": QWEN,
}
"""By the first word of a name."""

OLLAMA_KIND = _table(
    (r"^(llama-2-\d+b)$", r"\1-chat"),
    (r"^(llama-3(?:\.\d)?-\d+b)$", r"\1-instruct"),
    (r"^(qwen2(?:\.5)?(?:-coder)?-[\d.]+b)$", r"\1-instruct"),
    (r"^(gemma-[23]n?-e?[\d.]+b)$", r"\1-it"),
    (r"^(deepseek-r1)-671b$", r"\1"),
    (r"^deepseek-r1-((?:1\.5|7|14|32)b)$", r"deepseek-r1-distill-qwen-\1"),
    (r"^deepseek-r1-70b$", "deepseek-r1-distill-llama-70b"),
    (r"-(?:text|base)$", ""),
)
"""Ollama's tag of a size alone is the model that follows instructions; `text` is the base model."""

WORD = re.compile(r"[a-z]+")
POINT = re.compile(r"(?<=\d)[p_](?=\d)")
FLOATING = re.compile(r"^(?!chatgpt-)(.*\d.*)-latest$")

DATE = re.compile(r"-(20\d\d)(-?)(0[1-9]|1[0-2])\2([0-3]\d)$")
SHORT_DATE = re.compile(r"-(2\d)(0[1-9]|1[0-2])([0-3]\d)$")
MONTH = re.compile(r"-(0[1-9]|1[0-2])-(20\d\d)$")
YEAR_MONTH = re.compile(r"-(20\d\d-(?:0[1-9]|1[0-2]))$")
FOUR_DIGITS = re.compile(r"-((?:0[1-9]|1[0-2])-?[0-3]\d(?:-preview)?|2[3-9](?:0[1-9]|1[0-2]))$")
"""MMDD, MM-DD or YYMM."""
NUMBERED = {
    "gemini": re.compile(r"-(00\d)$"),
    "mistral": re.compile(r"-(v0\.\d)$"),
    "mixtral": re.compile(r"-(v0\.\d)$"),
}


def without_packing(name: str) -> str:
    """A name in lower case without file format and precision.

    Examples:
        >>> without_packing("Qwen2.5-7B-Instruct-Q4_K_M"), without_packing("Llama-3.3-70B-Instruct-Turbo")
        ('qwen2.5-7b-instruct', 'llama-3.3-70b-instruct')
    """
    return SERVED.sub("", PACKING.sub("", name.lower()))


def packing(name: str) -> str:
    """What `without_packing` takes off a name.

    Examples:
        >>> packing("Qwen2.5-7B-Instruct-Q4_K_M"), packing("Llama-3.3-70B-Instruct")
        ('-q4_k_m', '')
    """
    return name.lower()[len(without_packing(name)) :]


def first_word(name: str) -> str:
    """The letters that a name begins with, which tell its family's rules."""
    found = WORD.match(name)
    return found[0] if found else ""


def family_and_snapshot(name: str, *, tagged: bool = False) -> tuple[str, str | None]:
    """A name without packing, in the one spelling of its family, apart from its snapshot.

    Args:
        name: in lower case.
        tagged: whether the size came as a tag, as Ollama writes it.

    Examples:
        >>> family_and_snapshot("llama-v3p3-70b-instruct"), family_and_snapshot("claude-3-5-sonnet-20241022")
        (('llama-3.3-70b-instruct', None), ('claude-3.5-sonnet', '2024-10-22'))
    """
    name = FLOATING.sub(r"\1", POINT.sub(".", name))
    for pattern, by in SUBSTITUTIONS.get(first_word(name), ()):
        name = pattern.sub(by, name)
    for pattern, by in OLLAMA_KIND if tagged else ():
        name = pattern.sub(by, name)
    return _split(name)


def _split(name: str) -> tuple[str, str | None]:
    if not name[-1:].isdigit() and not name.endswith("-preview"):
        return name, None
    if found := DATE.search(name):
        return name[: found.start()], f"{found[1]}-{found[3]}-{found[4]}"
    if found := MONTH.search(name):
        return name[: found.start()], f"{found[2]}-{found[1]}"
    if found := YEAR_MONTH.search(name):
        return name[: found.start()], found[1]
    if found := FOUR_DIGITS.search(name):
        return name[: found.start()], found[1]
    if found := SHORT_DATE.search(name):
        return name[: found.start()], f"20{found[1]}-{found[2]}-{found[3]}"
    numbered = NUMBERED.get(first_word(name))
    if numbered is not None and (found := numbered.search(name)):
        return name[: found.start()], found[1]
    return name, None
