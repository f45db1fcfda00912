"""Why a service stopped writing: the values of `finish_reason`, in four kinds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

__all__ = ["Finish", "finish_of"]

Finish: TypeAlias = Literal["whole", "cut", "refused", "broken"]
"""The model ended its answer; the answer was cut; the service withheld it; the service broke off, which may pass."""

WHOLE = {
    *("stop", "stopped", "eos", "eos_token", "eos_token_id", "eot", "eod", "end", "ended", "end_id", "end_of_text"),
    *("end_of_sequence", "end_of_turn", "endoftext", "end_turn", "turn_end", "stop_sequence", "stop_sequences"),
    *("stop_word", "stop_words", "stop_str", "stop_string", "stop_token", "stop_token_id", "stop_tokens"),
    *("stop_criteria", "stop_criteria_met", "stopped_word", "stopped_eos", "done", "complete", "completed"),
    *("completion", "finish", "finished", "normal", "success", "ok", "natural", "matched_stop"),
    *("null", "none", "tool", "tools", "tool_call", "tool_calls", "tool_use"),
    *("function", "function_call", "function_calls"),
}
CUT = {
    *("length", "length_limit", "max_length", "max_tokens", "max_token", "max_new_tokens", "max_output_tokens"),
    *("max_completion_tokens", "max_tokens_reached", "model_length", "model_context_window_exceeded"),
    *("context_length", "context_length_exceeded", "context_window_exceeded", "max_context_length", "limit"),
    *("stopped_limit", "token_limit", "token_limit_reached", "error_limit", "truncated", "incomplete", "too_long"),
}
BROKEN = {"error", "failed", "network_error", "abort", "aborted", "cancelled", "canceled", "timeout", "server_error"}
"""Said beneath "stop", these are meant; other unknown words there are names of an ordinary end."""

WITHHELD = re.compile(
    r"content|filter|safety|sensitive|refus|moderat|toxic|guardrail|prohibit|block|recitation|spii|polic|violat|censor"
    r"|^language$|^risk|harm"
)
REFUSING_CODES = {403, 451, "403", "451", "content_filter", "content_policy_violation", "moderation"}


def finish_of(choice: Mapping[str, Any]) -> tuple[Finish, str]:
    """The kind of a choice's end, and what the service said of it in words.

    A word that is not known is no answer: services have more ways to fail than to succeed.

    Examples:
        >>> [finish_of({"finish_reason": said})[0] for said in ("STOP", "max_tokens", "SAFETY", "network_error", None)]
        ['whole', 'cut', 'refused', 'broken', 'whole']
    """
    given = choice.get("finish_reason", choice.get("finishReason"))
    native = choice.get("native_finish_reason")
    given = native if given is None else given
    said = _said(given)
    kind = _kind(said)
    if kind == "whole" and native is not None and _is_meant(hidden := _kind(_said(native)), native):
        # A gateway that translates what it does not know into "stop" still passes on the word itself.
        kind, said = hidden, _said(native)
    words = f"finish_reason {said!r}"
    error = choice.get("error")
    if error:
        told = error.get("message") if isinstance(error, Mapping) else error
        words = f"{words}: {told}" if said else f"error: {told}"
        refused = isinstance(error, Mapping) and error.get("code") in REFUSING_CODES
        kind = "refused" if refused or kind == "refused" else "broken"
    return kind, words


def _is_meant(kind: Finish, native: Any) -> bool:
    return kind in ("cut", "refused") or (kind == "broken" and _word(_said(native)) in BROKEN)


def _said(given: Any) -> str:
    if isinstance(given, Mapping):
        # SGLang's own shape: {"type": "stop", "matched": 2}.
        given = given.get("type")
    return given if isinstance(given, str) else ""


def _word(said: str) -> str:
    word = re.sub(r"[\s-]+", "_", said.strip().casefold())
    return word.rpartition(".")[2].removeprefix("finish_reason_").removeprefix("finishreason_")


def _kind(said: str) -> Finish:
    word = _word(said)
    if not word or word in WHOLE:
        return "whole"
    if word in CUT:
        return "cut"
    return "refused" if WITHHELD.search(word) else "broken"
