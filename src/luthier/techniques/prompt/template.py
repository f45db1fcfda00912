"""Templates that write a row into a prompt: sandboxed, strict about undefined names, compiled once."""

from __future__ import annotations

import functools
import json
import keyword
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from luthier.providers.redaction import sendable
from luthier.techniques.prompt.allowance import WorkExceeded, allowance, bounded_environment, instrument

__all__ = ["GLOBALS", "OFFERED", "Template", "UnrenderedRow", "cell_expression", "compiled", "plain_cell"]

OFFERED = ("labels", "words", "descriptions", "row")
"""Names a template may use beside the columns; a column of such a name is written `row["labels"]`."""

GLOBALS = ("range", "dict", "namespace")

NO_DESCRIPTIONS: Mapping[str, str] = MappingProxyType({})

RESERVED = {*OFFERED, *GLOBALS, *keyword.kwlist, "self", "loop", "caller", "varargs", "kwargs", "true", "false", "none"}
"""Names that stand for something else in a template."""


def cell_expression(column: str) -> str:
    """A column's cell in an expression of a template: its name where that is free, else `row["NAME"]`.

    Examples:
        >>> cell_expression("text"), cell_expression("full text"), cell_expression("labels")
        ('text', 'row["full text"]', 'row["labels"]')
    """
    is_free = column.isidentifier() and column not in RESERVED
    return column if is_free else f"row[{json.dumps(column, ensure_ascii=False)}]"


class UnrenderedRow(Exception):
    """A template failed on a row; the message is the error of that row."""


class Template:
    """A compiled template.

    Examples:
        >>> template = compiled("{{ title | upper }}: {{ row['full text'] }} ({{ labels | join('/') }})")
        >>> template.columns
        ('full text', 'title')
        >>> template.fill({"title": "dull", "full text": "{{ never run }}"}, ["1", "2"], ["1", "2"])
        'DULL: {{ never run }} (1/2)'
    """

    def __init__(self, source: str) -> None:
        from jinja2 import TemplateSyntaxError, meta

        environment = bounded_environment(GLOBALS)
        try:
            tree = environment.parse(source)
            _refuse_names_and_files(tree)
            by_row = _columns_of_row(tree)
            undeclared = meta.find_undeclared_variables(tree)
            self.truncations = _truncations(tree)
            """Lengths of `truncate` filters, in characters."""
            instrument(tree)
            self._compiled = environment.from_string(tree)
            # Copied for every row: a plain dict takes a fifth of the time that jinja's chain of them does.
            self._compiled.globals = dict(self._compiled.globals)
        except TemplateSyntaxError as error:
            raise ValueError(f"line {error.lineno}: {error.message}") from error
        except (RecursionError, MemoryError, SyntaxError) as error:
            # Python's errors on deeply nested code; Jinja's own syntax errors are of another class.
            raise ValueError("its blocks, brackets or operators are nested too deeply; write it flatter") from error
        self._plain_names = tuple(sorted(undeclared - set(OFFERED) - set(GLOBALS)))
        self.columns = tuple(sorted({*self._plain_names, *by_row}))
        self._refuse_endless_work()

    def fill(
        self,
        inputs: Mapping[str, Any],
        labels: Sequence[str],
        words: Sequence[str],
        descriptions: Mapping[str, str] = NO_DESCRIPTIONS,
    ) -> str:
        """The text for a row; a missing cell is written as nothing.

        Args:
            inputs: the row.
            labels: the task's.
            words: what each is answered with.
            descriptions: what labels mean, for those that are described.

        Raises:
            UnrenderedRow: the template cannot be filled with this row.
        """
        row = {name: plain_cell(inputs.get(name)) for name in self.columns}
        names: dict[str, Any] = {name: row[name] for name in self._plain_names}
        names |= {"labels": tuple(labels), "words": tuple(words), "descriptions": dict(descriptions)}
        try:
            with allowance():
                text = self._compiled.render({**names, "row": row})
            return sendable(text)
        except WorkExceeded as error:
            raise UnrenderedRow(f"the template is too much work for this row: {error}") from error
        except Exception as error:
            # An error in one row must not stop the others.
            raise UnrenderedRow(f"the template fails on this row: {type(error).__name__}: {error}") from error

    def _refuse_endless_work(self) -> None:
        """Refuses a template that is too much work even without a row."""
        try:
            self.fill({}, (), ())
        except UnrenderedRow as error:
            if isinstance(error.__cause__, WorkExceeded):
                raise ValueError(f"it is too much work for any row: {error.__cause__}") from error


@functools.lru_cache(maxsize=512)
def compiled(source: str) -> Template:
    """The compiled template, from a cache.

    Raises:
        ValueError: the source is not a template; the message has the line.
    """
    return Template(source)


def plain_cell(value: Any) -> str | int | float | bool:
    """A cell as templates see it: a missing one is empty, anything but a text or a number becomes its text.

    So a row with a date reads the same from a table, from JSON and from stored examples.

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


def _refuse_names_and_files(tree: Any) -> None:
    """Refuses `self`, which is the template's own name, and other templates."""
    from jinja2 import nodes

    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Name)):
        if not isinstance(node, nodes.Name):
            raise ValueError(f"line {node.lineno}: a template cannot load another ({type(node).__name__.lower()})")
        if node.name == "self":
            raise ValueError(
                f"""line {node.lineno}: "self" is the template's own name; write row["self"] for the column self"""
            )


def _truncations(tree: Any) -> tuple[int, ...]:
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
