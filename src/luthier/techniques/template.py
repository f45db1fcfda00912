"""Templates: how a row is written into a prompt. Sandboxed, strict, compiled once."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luthier.endpoints.redaction import sendable

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["OFFERED", "Template", "UnrenderedRow", "compiled", "plain_cell"]

OFFERED = ("labels", "words", "row")
"""Names a template may use beside the columns; a column of the same name is `row["labels"]`."""

GLOBALS = ("range", "dict", "namespace")

LONGEST_TEXT = 20_000_000
"""Characters a template may write for one row; far more than any model reads."""

MOST_BITS = 4096
"""Bits of the largest number a template may compute."""


class UnrenderedRow(Exception):
    """A template failed on one row; the message is that row's error."""


class Template:
    """One template, ready to be filled.

    Examples:
        >>> template = compiled("{{ title | upper }}: {{ row['full text'] }} ({{ labels | join('/') }})")
        >>> template.columns
        ('full text', 'title')
        >>> template.fill({"title": "dull", "full text": "{{ never run }}"}, ["1", "2"], ["1", "2"])
        'DULL: {{ never run }} (1/2)'
    """

    def __init__(self, source: str) -> None:
        from jinja2 import TemplateSyntaxError, meta

        environment = _environment()
        try:
            tree = environment.parse(source)
            self._refuse_other_files(tree)
            _refuse_self(tree)
            by_row = _columns_of_row(tree)
            self._compiled = environment.from_string(source)
        except TemplateSyntaxError as error:
            raise ValueError(f"line {error.lineno}: {error.message}") from error
        undeclared = meta.find_undeclared_variables(tree)
        self._plain_names = tuple(sorted(undeclared - set(OFFERED) - set(GLOBALS)))
        self.columns = tuple(sorted({*self._plain_names, *by_row}))
        self.cuts = _cuts(tree)
        """Lengths after which texts are cut (`truncate`), in characters."""

    def fill(self, inputs: Mapping[str, Any], labels: Sequence[str], words: Sequence[str]) -> str:
        """The text for one row; a missing cell is written as nothing.

        Raises:
            UnrenderedRow: the template cannot be filled with this row.
        """
        row = {name: plain_cell(inputs.get(name)) for name in self.columns}
        names = {name: row[name] for name in self._plain_names}
        try:
            pieces = self._compiled.generate({**names, "row": row, "labels": tuple(labels), "words": tuple(words)})
            return sendable(_joined(pieces))
        except UnrenderedRow:
            raise
        except Exception as error:
            # Whatever a template does with one row must not stop the others.
            raise UnrenderedRow(f"the template fails on this row: {type(error).__name__}: {error}") from error

    @staticmethod
    def _refuse_other_files(tree: Any) -> None:
        from jinja2 import nodes

        for kind in (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends):
            for node in tree.find_all(kind):
                raise ValueError(f"line {node.lineno}: a template cannot load another ({kind.__name__.lower()})")


@functools.lru_cache(maxsize=512)
def compiled(source: str) -> Template:
    """The template of this source.

    Raises:
        ValueError: the source is no template; the message has the line.
    """
    return Template(source)


def plain_cell(value: Any) -> str | int | float | bool:
    """A cell as templates see it: missing is empty, anything but text and numbers is its text.

    Dates and the like become text so that a row reads the same from a table, from JSON and from
    the stored examples.

    Examples:
        >>> plain_cell(None), plain_cell(float("nan")), plain_cell(4), plain_cell(["a"])
        ('', '', 4, "['a']")
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if type(value) in (str, int, float, bool):
        plain: str | int | float | bool = value
        return plain
    return str(value)


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        """Computes no text and no number so large that computing it would stall the other rows."""

        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if _is_too_large(operator, left, right):
                raise OverflowError(f"the result of {operator} is too large")
            return super().call_binop(context, operator, left, right)

    environment = Bounded(undefined=StrictUndefined, autoescape=False)
    environment.globals = {name: environment.globals[name] for name in GLOBALS}
    # The same row must always give the same prompt.
    del environment.filters["random"]
    return environment


def _joined(pieces: Iterable[str]) -> str:
    kept: list[str] = []
    room = LONGEST_TEXT
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            raise UnrenderedRow(f"the text for this row is longer than {LONGEST_TEXT // 1_000_000} million characters")
        kept.append(piece)
    return "".join(kept)


def _is_too_large(operator: str, left: Any, right: Any) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        return bits > MOST_BITS
    for repeated, times in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(repeated, str | bytes | list | tuple):
            return len(repeated) * times > LONGEST_TEXT
    return False


def _refuse_self(tree: Any) -> None:
    from jinja2 import nodes

    for node in tree.find_all(nodes.Name):
        if node.name == "self":
            raise ValueError(
                f"""line {node.lineno}: "self" is the template's own name; write row["self"] for the column self"""
            )


def _cuts(tree: Any) -> tuple[int, ...]:
    from jinja2 import nodes

    found = set()
    for node in tree.find_all(nodes.Filter):
        if node.name == "truncate":
            # 255 is what jinja's filter takes where it is given no length.
            length = node.args[0] if node.args else next((k.value for k in node.kwargs if k.key == "length"), None)
            found.add(255 if length is None else getattr(length, "value", None))
    return tuple(sorted(length for length in found if isinstance(length, int)))


def _columns_of_row(tree: Any) -> set[str]:
    from jinja2 import nodes

    named: set[str] = set()
    used = [node for node in tree.find_all(nodes.Name) if node.name == "row" and node.ctx == "load"]
    for node in tree.find_all(nodes.Getitem):
        if node.node in used and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            named.add(node.arg.value)
            used = [name for name in used if name is not node.node]
    if used:
        raise ValueError(f"""line {used[0].lineno}: write row["column name"], with the name in quotes""")
    return named
