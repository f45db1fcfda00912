"""Where a prompt's instructions stand, as plain text that can be rewritten, and the prompt with others in their place.

Rewritten instructions are data: what they say never becomes code of a template. Whatever of the template depends on the
row is a mark to the writer, as in `[[text]]`, and is put back as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from luthier.errors import SpecError
from luthier.providers.redaction import sendable
from luthier.techniques import Prompt
from luthier.techniques.prompt.allowance import bounded_environment
from luthier.techniques.prompt.template import GLOBALS, UnrenderedRow, compiled

__all__ = ["Instructions", "NoPrompt", "as_template", "instructions_of", "plain_text", "shown_text"]

FEW_WORDS = 8
"""A template with fewer words beside the row, as in `Stars for: {{ text }}`, names the row and instructs nothing."""

SHORT_LINE = 40
"""Characters of a last line such as `Answer:`, which belongs to the row above it."""

OPENERS = ("if", "for", "macro", "call", "filter", "with", "block", "autoescape", "set")
DEFINERS = ("set", "macro")
"""Blocks that write nothing and that later ones need."""

BEGINS_CODE = re.compile(r"\{(?=[{%#])|\{\Z")
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
MARK = re.compile(r"\[\[[^\[\]\n]{1,200}\]\]")


@dataclass(frozen=True)
class NoPrompt:
    """Why something that was written became no prompt."""

    why: str


@dataclass(frozen=True)
class Instructions:
    """The instructions of a prompt.

    Attributes:
        spec: the prompt.
        place: the setting they stand in; a prompt without any gets them as its system turn.
        text: what they say, with a mark for each part that depends on the row; empty where there are none.
        around: what follows them in their place and stays, with marks: the row's own text in a text to complete.
        marks: the source of the template that each mark stands for, in order.
    """

    spec: Prompt
    place: Literal["system", "template"]
    text: str
    around: str
    marks: dict[str, str]

    @property
    def kept(self) -> tuple[str, ...]:
        """The marks that new instructions have to hold, each once."""
        return tuple(mark for mark in self.marks if mark in self.text)

    @property
    def whole(self) -> dict[str, str]:
        """Both turns with marks, by their place, with `...` where the instructions stand."""
        other = "template" if self.place == "system" else "system"
        source = getattr(self.spec.prompt, other)
        shown: dict[str, str] = {self.place: "..." + (f"\n{self.around}" if self.around else "")}
        if source is not None:
            shown[other] = _marked(self.spec, source)[0]
        return {place: shown[place] for place in ("system", "template") if place in shown}

    def replaced(self, written: str) -> Prompt | NoPrompt:
        """The prompt with these instructions in their place; all else of it is as it was.

        Args:
            written: plain text with the marks that are kept. Without any of them the row follows the instructions as it
                stands now.
        """
        text = plain_text(written)
        if not text:
            return NoPrompt("it is empty")
        found = [mark for mark in MARK.findall(text) if mark in self.marks]
        if not found and self.kept:
            text = f"{text}\n\n{self._row()}"
        elif sorted(found) != sorted(self.kept):
            wrong = sorted({*found} ^ {*self.kept}) or [mark for mark in found if found.count(mark) > 1]
            return NoPrompt(f"it does not have the part {wrong[0]} of the prompt exactly once")
        elif found != list(self.kept):
            return NoPrompt(f"it has the parts {', '.join(found)} in another order")
        if self.around:
            text = f"{text}\n\n{self.around.lstrip()}"
        source = "".join(self.marks.get(part, as_template(part)) for part in _parts(text, self.marks))
        try:
            made = self.spec.with_settings({f"prompt.{self.place}": source})
        except SpecError as error:
            return NoPrompt(f"it makes no prompt: {error}")
        if made.columns != self.spec.columns:
            return NoPrompt(f"it reads the columns {', '.join(made.columns)}")
        return made

    def _row(self) -> str:
        """The lines with marks, and a short line that begins the answer."""
        lines = self.text.splitlines()
        marked = [number for number, line in enumerate(lines) if any(mark in line for mark in self.marks)]
        rest = "\n".join(lines[marked[-1] + 1 :]).rstrip()
        row = "\n".join(lines[marked[0] : marked[-1] + 1])
        return row + ("\n" + rest if len(rest.strip()) <= SHORT_LINE else "")


def instructions_of(spec: Prompt) -> Instructions:
    """Finds the instructions: of system turn and template the one that says more."""
    template, marks = _marked(spec, spec.prompt.template)
    system, system_marks = ("", {}) if spec.prompt.system is None else _marked(spec, spec.prompt.system)
    said, said_above = _words(template), _words(system)
    begin = template.rfind("\n", 0, min((template.find(mark) for mark in marks), default=0)) + 1
    # A text to complete has to end as it does, or the model continues something else.
    head, around = (template, "") if spec.style == "chat" else (template[:begin].rstrip(), template[begin:])
    if said >= FEW_WORDS and said > said_above and head:
        return Instructions(spec, "template", head, around, marks)
    return Instructions(spec, "system", system, "", system_marks)


def shown_text(spec: Prompt) -> str:
    """Both turns of a prompt as text, with a mark for each part that depends on the row."""
    sources = (spec.prompt.system, spec.prompt.template)
    return "\n\n".join(_marked(spec, source)[0] for source in sources if source is not None)


def plain_text(written: str) -> str:
    r"""A text that can be sent and kept in a file: one kind of line breaks, no control characters, no edges.

    Examples:
        >>> plain_text(" One.\r\n\tTwo.\x00 ")
        'One.\n\tTwo.'
    """
    lines = CONTROLS.sub("", sendable(written).replace("\r\n", "\n").replace("\r", "\n"))
    return "\n".join(line.rstrip() for line in lines.strip().split("\n"))


def as_template(text: str) -> str:
    """Source of a template that writes exactly this text.

    Examples:
        >>> as_template("Stars from 1 to 5, as in {stars: 3}.")
        'Stars from 1 to 5, as in {stars: 3}.'
        >>> compiled(as_template("{{ 7 * 7 }} {% for %} {# no #} {")).fill({}, (), ())
        '{{ 7 * 7 }} {% for %} {# no #} {'
    """
    return BEGINS_CODE.sub('{{ "{" }}', text)


def _marked(spec: Prompt, source: str) -> tuple[str, dict[str, str]]:
    """A template as text with marks, and what each mark stands for."""
    whole = _written(spec, source)
    if whole is not None:
        return whole, {}
    pieces = list(_pieces(source))
    if any(tag in DEFINERS for _, tag, _ in pieces):
        pieces = [(True, "", source)]
    literal = "".join(text for is_code, _, text in pieces if not is_code)
    shown, marks = "", dict[str, str]()
    for is_code, _, text in pieces:
        written = _written(spec, text) if is_code else text
        if written is None:
            named = ", ".join(compiled(text).columns) or "part"
            taken = [f"[[{named}]]", *(f"[[{named} {number}]]" for number in range(2, len(pieces) + 2))]
            written = next(mark for mark in taken if mark not in marks and mark not in literal)
            marks[written] = text
        shown += written
    return shown, marks


def _written(spec: Prompt, source: str) -> str | None:
    """What a template writes whatever the row; `None` where it depends on the row."""
    template = compiled(source)
    if template.columns:
        return None
    try:
        kind = spec.task.kind
        return template.fill({}, kind.parts, spec.words or kind.parts, kind.descriptions)
    except UnrenderedRow:
        return None


def _pieces(source: str) -> Iterator[tuple[bool, str, str]]:
    """A template's texts and whole blocks of code: whether it is code, the name of its first tag, its source."""
    tokens = list(bounded_environment(GLOBALS).lex(source))
    code, depth, first = "", 0, ""
    for place, (_, kind, value) in enumerate(tokens):
        if kind in ("variable_begin", "block_begin"):
            tag = _tag(tokens[place + 1 :]) if kind == "block_begin" else ("", False)
            if not code:
                first, value = tag[0], value.rstrip("-+")
            if tag[0] in OPENERS and not (tag[0] == "set" and tag[1]):
                depth += 1
            elif tag[0].startswith("end"):
                depth -= 1
            code += value
        elif kind in ("variable_end", "block_end"):
            code += value
            if depth == 0:
                # White space that a dash took away is gone from the text beside it.
                yield True, first, re.sub(r"[-+]?([}%]\})\s*\Z", r"\1", code)
                code = ""
        elif code:
            code += value
        elif kind == "data":
            yield False, "", value


def _tag(tokens: list[tuple[int, str, str]]) -> tuple[str, bool]:
    """The name of a tag, and whether it assigns."""
    end = next(place for place, (_, kind, _) in enumerate(tokens) if kind == "block_end")
    names = [value for _, kind, value in tokens[:end] if kind == "name"]
    return names[0], any(kind == "operator" and value == "=" for _, kind, value in tokens[:end])


def _parts(text: str, marks: dict[str, str]) -> list[str]:
    if not marks:
        return [text]
    return re.split("(" + "|".join(re.escape(mark) for mark in sorted(marks, key=len, reverse=True)) + ")", text)


def _words(text: str) -> int:
    return len(re.findall(r"\w+", MARK.sub(" ", text)))
