"""YAML from users and other people, read within bounds: whatever it holds, the worst outcome is a YAML error."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from luthier.errors import SpecError, UserError
from luthier.truncation import truncated

__all__ = ["MOST_CHARACTERS", "MOST_DEPTH", "MOST_NODES", "described", "parse_yaml", "path_of", "read_yaml"]

MOST_CHARACTERS = 1_000_000
MOST_DEPTH = 100
MOST_NODES = 50_000
"""Values in a document; an alias counts each time it is used."""

LONGEST_NUMBER = 1_000
"""Characters."""

NUMBERS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))


def parse_yaml(text: str) -> Any:
    """Reads a YAML document.

    Raises:
        yaml.YAMLError: it is not YAML, holds an impossible number or date, or exceeds the bounds above.

    Examples:
        >>> parse_yaml("labels: [1, 2]")
        {'labels': [1, 2]}
    """
    import yaml

    if len(text) > MOST_CHARACTERS:
        raise yaml.YAMLError(f"it has {len(text):,} characters; {MOST_CHARACTERS:,} are allowed")
    loader = _bounded_loader()(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_beyond(root)
        return loader.construct_document(root)
    except RecursionError:
        raise yaml.YAMLError(f"its values are nested too deeply; {MOST_DEPTH} levels are allowed") from None
    except yaml.scanner.ScannerError as error:
        place = error.problem_mark
        if "'\\t'" in (error.problem or "") and place is not None:
            raise yaml.YAMLError(
                f"line {place.line + 1} has a tab at column {place.column + 1}; YAML is indented with spaces"
            ) from None
        raise
    except (ValueError, OverflowError) as error:
        # 2026-13-01, a number of 5,000 digits: looks like a date or a number and is not.
        raise yaml.YAMLError(f"{error}; write it in quotes if it is a text") from error
    finally:
        loader.dispose()


def read_yaml(file: Path, what: str, cure: str) -> Any:
    """The document in a YAML file of the user's.

    Args:
        file: its path.
        what: what it describes, such as `task`.
        cure: a sentence on how to get one where there is none.

    Raises:
        SpecError: the file is not there, or is no YAML.
    """
    import yaml

    if not file.is_file():
        raise SpecError(f"no {what} file {file}. {cure}")
    try:
        return parse_yaml(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{file} is not valid YAML: {error}") from error


def path_of(given: Any, what: str, wrong: type[UserError]) -> Path:
    """Converts an argument to a path.

    Args:
        given: a string or a path.
        what: what the path is of, as in `a table`.
        wrong: class of the error to raise.

    Raises:
        UserError: it is neither.
    """
    if isinstance(given, str | os.PathLike):
        return Path(given)
    raise wrong(f"the path of {what} is {described(given)}; give a string or a Path, as in 'folder/name'.")


def described(given: Any) -> str:
    """A wrong argument for a message: its value, shortened, and its type.

    Examples:
        >>> described(5), described(None)
        ('5 (int)', 'None')
    """
    if given is None:
        return "None"
    said = repr(given) if isinstance(given, str | int | float | bool) else "a value"
    return f"{truncated(said, 40)} ({type(given).__name__})"


@cache
def _bounded_loader() -> Any:
    import yaml

    class Bounded(yaml.SafeLoader):
        """Counts values while it reads: a value takes far more memory than its characters."""

        composed = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.composed += 1
            if self.composed > MOST_NODES:
                raise yaml.YAMLError(f"it holds more than {MOST_NODES:,} values")
            return super().compose_node(parent, index)

    return Bounded


def _refuse_beyond(root: Any) -> None:
    """Refuses a tree of nodes that is too deep or, with its aliases expanded, too large."""
    import yaml

    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: Any, depth: int) -> int:
        if id(node) in open_nodes:
            raise yaml.YAMLError("an alias (*name) stands inside the value it names")
        if depth > MOST_DEPTH:
            raise yaml.YAMLError(f"its values are nested too deeply; {MOST_DEPTH} levels are allowed")
        if node.tag in NUMBERS and len(node.value) > LONGEST_NUMBER:
            # 1:1:1:..., a number to the base of 60, takes minutes.
            raise yaml.YAMLError(
                f"it holds a number of {len(node.value):,} characters; write it in quotes if it is a text"
            )
        if id(node) not in sizes:
            open_nodes.add(id(node))
            inner = [] if isinstance(node, yaml.ScalarNode) else node.value
            pairs = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
            sizes[id(node)] = 1 + sum(size(part, depth + 1) for part in pairs)
            open_nodes.remove(id(node))
        if sizes[id(node)] > MOST_NODES:
            raise yaml.YAMLError(f"it holds more than {MOST_NODES:,} values, its aliases (*name) written out")
        return sizes[id(node)]

    size(root, 0)
