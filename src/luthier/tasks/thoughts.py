"""Takes a model's thoughts, and the special tokens of its chat template, out of what it wrote."""

from __future__ import annotations

import re

__all__ = ["MOST_ANSWERED", "spoken"]

MOST_ANSWERED = 1_000_000
"""Characters of an answer, thoughts included, that are read: a model that never stops must not stall the reader."""

WORD = r"""(?:(?:ant)?thinking|thinks?|thoughts?|reasoning|reason|reflect(?:ions?)?|scratch(?:[-_ ]?pad)?|analysis
    |monologue|rationale|deliberation|planning|internal|inner|cot|思考(?:过程|過程)?|推理(?:过程|過程)?|思维链
    |chain[-_ ]of[-_ ]thoughts?|reasoning[-_ ]content|(?:inner|internal)[-_ ]?(?:thoughts?|monologue)
    |(?:thought|thinking|reasoning)[-_ ]process)"""
SEPARATOR = r"[-_ \u2581]?"

# <think>, <seed:think>, [THINK], ◁think▷, <|begin_of_thought|>, <|START_THINKING|>, <details type="reasoning">; with a
# slash, or with end or stop, it closes.
MARK = re.compile(
    rf"""(?:<|\[|\u25c1|\uff1c|\u3008|\u3010)\s?[|\uff5c]?\s?
    (?P<slash>/?)\s?
    (?:(?!begin|start|end|stop)[\w.-]{{1,20}}[:_-])?
    (?:(?P<begin>begin|start)|(?P<end>end|stop))?(?(begin){SEPARATOR}(?:of{SEPARATOR})?)(?(end){SEPARATOR}(?:of{SEPARATOR})?)
    (?P<word>{WORD})
    (?:{SEPARATOR}(?:(?:begin|start)|(?P<ended>end|stop)))?
    (?:\s[^<>\[\]\n]{{0,100}})?
    \s?/?\s?[|\uff5c]?\s?(?:>|\]|\u25b7|\uff1e|\u3009|\u3011)
    |<details\s[^<>]{{0,80}}type=.?reasoning[^<>]{{0,80}}>
    |<details>\s*<summary>[^<>]{{0,40}}(?:thought|think|reason) | (?P<details></details>)
    |<unused94>(?:thought)? | (?P<unused><unused95>)
    |<\|channel>(?:thought)? | (?P<channel><channel\|>)""",
    re.I | re.X,
)
CLOSERS = ("slash", "end", "ended", "details", "unused", "channel")

HARMONY = re.compile(r"<\|channel\|>\s*(\w*)[^<]{0,60}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>")
HARMONY_LEAKED = re.compile(r"\s*(?:analysis|commentary)(?=[\"'A-Z\u201c])")
HARMONY_FINAL = "assistantfinal"
FENCED = re.compile(r"```\s*(?:thinking|think|thoughts?|reasoning)\b(?:.*?```|.*)", re.I | re.S)
BRACKETS = re.compile(r"[<\[\u25c1\uff1c\u3008\u3010]|&lt;")

SPECIAL = (
    r"(?:<\|?/?(?:s|bos|eos|pad|end_of_turn|start_of_turn|end_of_utterance|endofturn|turn)\|?>|\[/?(?:EOS|BOS|INST)\]"
    r"|<[|\uff5c][\w\u2581 .-]{1,40}[|\uff5c]>|<[|]?(?:turn[|]|[|]turn)>)"
)
LEADING = re.compile(rf"(?:\s*{SPECIAL}(?:\s*(?:assistant|model|user|final)\b:?)?)+", re.I)
TRAILING = re.compile(SPECIAL, re.I)


def spoken(text: str) -> str:
    """The answer without the thoughts before, after or between its parts, and without special tokens.

    A thought that is not closed goes to the end; one that is closed but was not opened, as where the template
    opens it, began with the text. What follows the token that ends a turn is not part of the answer.

    Examples:
        >>> spoken("<think>5? No.</think> 4"), spoken("so it is 4 ...</think>5"), spoken("<think>hm, 3")
        ('4', '5', '')
        >>> spoken("[THINK]2?[/THINK]3</s>"), spoken("<|channel|>analysis<|message|>2<|end|>")
        ('3', '')
    """
    text = FENCED.sub(" ", text) if "```" in text else text
    if HARMONY_FINAL in text and text.lstrip().startswith(("analysis", "commentary", HARMONY_FINAL)):
        # Servers that drop special tokens leave the names of the channels behind: analysis...assistantfinal4.
        text = text.rpartition(HARMONY_FINAL)[2]
    elif HARMONY_LEAKED.match(text):
        text = ""
    if BRACKETS.search(text) is not None:
        escaped = "&lt;" in text and MARK.search(text) is None
        text = text.replace("&lt;", "<").replace("&gt;", ">") if escaped else text
        text = _without_special_tokens(_without_thoughts(_final_channel(text)))
    return text.strip()


def _final_channel(text: str) -> str:
    channels = list(HARMONY.finditer(text)) if "<|channel|>" in text else []
    if not channels:
        return "" if "<|channel|>" in text else text
    last = channels[-1]
    return text[last.end() :] if last.group(1).lower() == "final" else ""


def _without_thoughts(text: str) -> str:
    kept: list[str] = []
    begin, thinking = 0, False
    for mark in MARK.finditer(text):
        if mark.group().endswith("/>") and not mark.group("slash"):
            kept.append(text[begin : mark.start()] if not thinking else "")
            begin = mark.end()
            continue
        if mark.group().startswith("[") and not mark.group("word").lower().startswith("th") and "[/" not in text:
            continue  # a word in brackets, such as [reason], that nothing closes
        if any(mark.group(name) for name in CLOSERS):
            if not thinking and mark.group("details"):
                continue
            if not thinking:
                kept.clear()
            begin, thinking = mark.end(), False
        elif not thinking:
            kept.append(text[begin : mark.start()])
            thinking = True
    if not thinking:
        kept.append(text[begin:])
    return " ".join(part.strip() for part in kept)


def _without_special_tokens(text: str) -> str:
    lead = LEADING.match(text)
    text = text[lead.end() :] if lead else text
    end = TRAILING.search(text)
    return text[: end.start()] if end else text
