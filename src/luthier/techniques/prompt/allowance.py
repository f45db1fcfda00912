"""A limit on the work of a template per row: loops, filters, calls and texts are counted in steps.

Steps are counted, not timed, so that the same row always gives the same prompt or the same error.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["MOST_STEPS", "WorkExceeded", "allowance", "bounded_environment", "instrument"]

MOST_STEPS = 500_000
"""Steps for one row: less than a second of work. A loop iteration, a filter, an element of a list and 40 characters of
a text are one step each, a call is ten."""

CHARACTERS_PER_STEP = 40
MOST_BITS = 4096
"""Bits of the largest integer a template may compute."""

ELEMENT = CHARACTERS_PER_STEP
"""Characters that an element of a list counts for, in addition to its own."""

CALL = 10 * CHARACTERS_PER_STEP
"""Characters that a call counts for: calls of macros are the slowest operation."""

SLOW = 20
"""Factor for characters in filters that are written in Python."""

SLOW_FILTERS = frozenset({"groupby", "sort", "striptags", "title", "tojson", "unique", "wordcount", "wordwrap"})

NO_FILTERS = ("pprint", "random", "urlize", "xmlattr")
"""Filters of Jinja that are not offered: three write HTML or debugging output, one is random."""

METHODS = frozenset(
    re.findall(
        r"\w+",
        "capitalize casefold center count endswith find format format_map get index isalnum isalpha isascii isdecimal "
        "isdigit islower isnumeric isspace istitle isupper items join keys ljust lower lstrip partition removeprefix "
        "removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase "
        "title upper values zfill",
    )
)
"""Methods of texts, lists and mappings that a template may call."""

# Names that no template can write.
CHARGE, WEIGH = "charge steps", "weigh a value"

_left: ContextVar[list[int]] = ContextVar("steps left")


class WorkExceeded(Exception):
    """A template used up its steps for a row."""


@contextmanager
def allowance() -> Iterator[None]:
    """What is rendered inside has the full number of steps."""
    token = _left.set([MOST_STEPS])
    try:
        yield
    finally:
        _left.reset(token)


def charge(characters: int) -> None:
    """Counts one step, and one more per 40 characters.

    Raises:
        WorkExceeded: no step is left.
    """
    left = _left.get()
    left[0] -= 1 + characters // CHARACTERS_PER_STEP
    if left[0] < 0:
        raise WorkExceeded(f"it takes more than {MOST_STEPS:,} steps (loops, filters and pieces of text)")


def weigh(*values: Any) -> int:
    """Characters of values when written out, at any depth; an object that occurs twice counts twice."""
    total = 0
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        total += ELEMENT
        if isinstance(value, str | bytes):
            total += len(value)
        elif isinstance(value, range):
            total += ELEMENT * len(value)
        elif isinstance(value, Mapping | list | tuple | set | frozenset | KeysView | ValuesView | ItemsView):
            # Checked before they are listed: lists that contain each other unfold exponentially.
            total += ELEMENT * len(value)
            _refuse_beyond(total)
            waiting += value.items() if isinstance(value, Mapping) else value
        _refuse_beyond(total)
    return total


def _refuse_beyond(characters: int) -> None:
    if characters > MOST_STEPS * CHARACTERS_PER_STEP:
        charge(characters)


def instrument(tree: Any) -> None:
    """Makes a parsed template count loop iterations, macro calls, and joined, compared and sliced values.

    Raises:
        ValueError: it has a recursive loop, whose iterations cannot be counted.
    """
    from jinja2 import nodes

    def weighed(node: Any) -> Any:
        return nodes.Filter(node, WEIGH, [], [], None, None, lineno=node.lineno)

    def charged(node: Any, characters: int, line: int) -> Any:
        return nodes.Filter(node, CHARGE, [nodes.Const(characters)], [], None, None, lineno=line)

    for node in list(tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock))):
        if isinstance(node, nodes.For) and node.recursive:
            raise ValueError(f"line {node.lineno}: a loop cannot be recursive; write one loop inside the other")
        written = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        turn = charged(nodes.Const(True), written, node.lineno)
        node.body.insert(0, nodes.ExprStmt(turn, lineno=node.lineno))
        if isinstance(node, nodes.For) and node.test is not None:
            # An iteration that the test leaves out counts too.
            node.test = nodes.And(charged(nodes.Const(True), 0, node.lineno), node.test, lineno=node.lineno)
    for node in list(tree.find_all(nodes.Concat)):
        node.nodes = [weighed(part) for part in node.nodes]
    for node in list(tree.find_all(nodes.Compare)):
        node.expr = weighed(node.expr)
        for operand in node.ops:
            operand.expr = weighed(operand.expr)
    for node in list(tree.find_all(nodes.Pair)):
        node.key = weighed(node.key)
    for node in list(tree.find_all(nodes.Getitem)):
        if isinstance(node.arg, nodes.Slice):
            node.node = weighed(node.node)


@functools.cache
def bounded_environment(names: tuple[str, ...]) -> ImmutableSandboxedEnvironment:
    """A sandbox that counts filters, tests, calls and operators; `names` are the globals it offers."""
    from jinja2 import StrictUndefined, pass_context
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"+", "*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            charge(_operator_growth(operator, left, right))
            return super().call_binop(context, operator, left, right)

        def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
            # The sandbox wraps str.format.
            method = getattr(__obj, "__wrapped__", __obj)
            owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
            characters = weigh(*args, *kwargs.values())
            if isinstance(owner, str | bytes | list | tuple | dict | int | float):
                if name not in METHODS:
                    raise SecurityError(f"{type(owner).__name__}.{name} is not offered to templates")
                characters += weigh(owner) + _growth(name, (owner, *args), kwargs)
            charge(characters + CALL)
            return _counted(super().call(__context, __obj, *args, **kwargs))

        def getitem(self, obj: Any, argument: Any) -> Any:
            charge(weigh(argument))
            return super().getitem(obj, argument)

    @pass_context
    def written(_: Any, value: Any) -> Any:
        charge(weigh(value))
        return value

    # Not optimized: filters of constants would run uncounted, in the compiler.
    environment = Bounded(undefined=StrictUndefined, autoescape=False, optimized=False, finalize=written)
    environment.globals = {name: environment.globals[name] for name in names}
    for name in NO_FILTERS:
        del environment.filters[name]
    environment.filters = {name: _bounded(name, filter_) for name, filter_ in environment.filters.items()}
    environment.tests = {
        name: _bounded(name, cast(Callable[..., Any], test)) for name, test in environment.tests.items()
    }
    environment.filters[CHARGE] = _charging
    environment.filters[WEIGH] = _weighing
    return environment


def _charging(value: Any, characters: int) -> Any:
    charge(characters)
    return value


def _weighing(value: Any) -> Any:
    charge(weigh(value))
    return value


def _bounded(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        skipped = 1 if hasattr(original, "jinja_pass_arg") else 0
        own = list(args[skipped:])
        if name in ("join", "sum") and own and isinstance(own[0], Iterator):
            own[0] = list(own[0])
        characters = weigh(*own, *kwargs.values())
        charge(characters * (SLOW if name in SLOW_FILTERS else 1) + _growth(name, own, kwargs))
        return _counted(original(*args[:skipped], *own, **kwargs))

    return bounded


def _counted(result: Any) -> Any:
    """The result of a filter or call; a text is charged now, the items of an iterator when they are taken."""
    if isinstance(result, str):
        charge(len(result))
    elif isinstance(result, Iterator):
        return _charged_items(result)
    return result


def _charged_items(items: Iterator[Any]) -> Iterator[Any]:
    for item in items:
        charge(weigh(item))
        yield item


def _growth(name: str, own: Sequence[Any], given: Mapping[str, Any]) -> int:
    """An upper bound on the characters that a filter or method adds to what it is given."""
    if not own:
        return 0
    value, rest = own[0], [*own[1:], *given.values()]
    numbers = sum(abs(number) for number in rest if isinstance(number, int))
    texts = [str(text) for text in rest if isinstance(text, str)]
    if name in ("batch", "center", "ljust", "rjust", "round", "slice", "truncate", "zfill"):
        return ELEMENT * numbers
    if name == "indent":
        return (str(value).count("\n") + 1) * (numbers + sum(map(len, texts)) + 4)
    if name == "tojson":
        return weigh(value) * numbers
    if name in ("replace", "wordwrap"):
        times = str(value).count(texts[0]) if name == "replace" and texts else weigh(value)
        return numbers + times * sum(map(len, texts[1:] if name == "replace" else texts))
    if name == "join":
        items, separator = (rest[0], value) if isinstance(value, str) and rest and not texts else (value, texts)
        return len(items) * weigh(separator) if hasattr(items, "__len__") else 0
    if name == "sum" and rest and hasattr(value, "__len__"):
        return len(value) * weigh(value)
    if name in ("format", "format_map"):
        return _written_by(str(value), rest)
    return 0


def _operator_growth(operator: str, left: Any, right: Any) -> int:
    if operator == "%":
        return _written_by(left, right) if isinstance(left, str) else 0
    if operator == "+":
        return sum(len(side) * (1 if isinstance(side, str) else ELEMENT) for side in (left, right) if _is_run(side))
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        if bits > MOST_BITS:
            raise OverflowError(f"the result of {operator} is too large")
        return 0
    for repeated, times in ((left, right), (right, left)):
        if isinstance(times, int) and _is_run(repeated):
            characters = len(repeated) * max(times, 0) * (1 if isinstance(repeated, str | bytes) else ELEMENT)
            if characters > MOST_STEPS * CHARACTERS_PER_STEP:
                raise OverflowError(f"the result of {operator} is too large")
            return characters
    return 0


def _is_run(value: Any) -> bool:
    return isinstance(value, str | bytes | list | tuple)


def _written_by(pattern: str, values: Any) -> int:
    """An upper bound on the characters that `%` or `format` writes: every field at its width, with all values."""
    if re.search(r"%[^a-zA-Z%]*\*|\{[^{}]*\{", pattern):
        raise ValueError("a format whose width is computed is not offered to templates; write the width as a number")
    widths = [int(width[:9]) for width in re.findall(r"\d+", pattern)]
    fields = pattern.count("%") + pattern.count("{")
    return len(pattern) + sum(widths) + fields * weigh(values)
