"""Templates of MLflow's models and prompts, rewritten for a spec: what was literal stays literal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Literal

from luthier.errors import ModelError
from luthier.techniques.prompt.template import GLOBALS, cell_expression

__all__ = ["Syntax", "rewritten", "syntax_of_prompt", "variables_of"]

Syntax = Literal["format", "braces", "jinja"]
"""How a template names its variables: `{name}` of `str.format`, `{{ name }}` and nothing else, or Jinja."""

VARIABLE = re.compile(r"\{\{\s*([a-zA-Z_][a-zA-Z0-9_]*(?:\.[a-zA-Z_][a-zA-Z0-9_]*)*)\s*\}\}")
"""What MLflow's prompt registry replaces."""


def syntax_of_prompt(texts: Sequence[str]) -> Syntax:
    """How MLflow fills the texts of a registered prompt: by Jinja where one of them has a `{% ... %}`."""
    return "jinja" if any("{%" in text and "%}" in text for text in texts) else "braces"


def variables_of(text: str, syntax: Syntax) -> set[str]:
    """The variables that a template names.

    Raises:
        ModelError: it is not a template of this syntax, or has a placeholder that no spec has.

    Examples:
        >>> sorted(variables_of('As JSON {{"stars": 1}}: {title} {text}', "format"))
        ['text', 'title']
    """
    if syntax == "jinja":
        return _jinja_variables(text)
    return {name for _, name in _pieces(text, syntax) if name is not None}


def rewritten(text: str, syntax: Syntax, columns: Mapping[str, str]) -> str:
    """The template of a spec that writes the same text.

    Args:
        text: the template; it may come from anywhere.
        syntax: how it names variables.
        columns: the column that each variable stands for.

    Raises:
        ModelError: it is not a template of this syntax, or has a placeholder that no spec has.

    Examples:
        >>> rewritten('As JSON {{"stars": 1}}: {review}', "format", {"review": "text"})
        'As JSON {"stars": 1}: {{ text }}'
        >>> rewritten("{{% set a = 1 %}} {review}", "format", {"review": "full text"})
        '{{ "{" }}% set a = 1 %} {{ row["full text"] }}'
    """
    if syntax == "jinja":
        renamed = {name: column for name, column in columns.items() if cell_expression(column) != name}
        used = _jinja_variables(text)
        sets = [
            f"{{% set {name} = {cell_expression(column)} %}}"
            for name, column in sorted(renamed.items())
            if name in used
        ]
        return "".join(sets) + text
    parts = []
    for literal, name in _pieces(text, syntax):
        parts.append(_literal(literal, before_tag=name is not None))
        if name is not None:
            parts.append(f"{{{{ {cell_expression(columns[name])} }}}}")
    written = "".join(parts)
    # Jinja leaves the last line break of a template out.
    return written[:-1] + '{{ "\\n" }}' if written.endswith("\n") else written


def _literal(text: str, *, before_tag: bool) -> str:
    """A text that Jinja writes as it is."""
    opening = r"\{(?=[{%#]|$)" if before_tag else r"\{(?=[{%#])"
    # `$` also stands before a last line break; \Z does not.
    opening = opening.replace("$", r"\Z")
    return re.sub(opening, '{{ "{" }}', text).replace("\r", '{{ "\\r" }}')


def _pieces(text: str, syntax: Syntax) -> list[tuple[str, str | None]]:
    """Literal texts, each with the variable after it."""
    if syntax == "braces":
        parts = VARIABLE.split(text)
        return [*zip(parts[::2], [*parts[1::2], None], strict=True)]
    try:
        fields = list(Formatter().parse(text))
    except ValueError as error:
        raise ModelError(f"its text {text!r:.80} is not a template of str.format: {error}.") from error
    for _, name, how, conversion in fields:
        if name is not None and (how or conversion not in (None, "s") or not _is_name(name)):
            whole = name + (f"!{conversion}" if conversion else "") + (f":{how}" if how else "")
            raise ModelError(
                f"its text has the placeholder {{{whole}}}. A spec writes columns as they are, named by a placeholder "
                "such as {text}; log the model again with plain placeholders, or write the spec by hand. Braces that "
                "are no placeholder are doubled."
            )
    pieces: list[tuple[str, str | None]] = []
    before = ""
    for literal, name, _, _ in fields:
        # A doubled brace ends a piece without a field; only with what follows is it seen whether Jinja would read it.
        before += literal
        if name is not None:
            pieces.append((before, name))
            before = ""
    return [*pieces, (before, None)]


def _is_name(name: str) -> bool:
    # MLflow reads dots and brackets as part of a name, which str.format then cannot fill.
    return bool(name) and not name.isdigit() and not set(name) & set(".[]{}")


def _jinja_variables(text: str) -> set[str]:
    from jinja2 import Environment, TemplateSyntaxError, meta

    try:
        # Parsed only: nothing of it is run.
        names = meta.find_undeclared_variables(Environment(autoescape=True).parse(text))
    except TemplateSyntaxError as error:
        raise ModelError(f"its text is not a Jinja template: line {error.lineno}: {error.message}.") from error
    except (RecursionError, MemoryError) as error:
        raise ModelError("its text is a Jinja template that is nested too deeply to be read.") from error
    return {name for name in names if name not in GLOBALS}
