"""A trial as a notebook shows it: a form where ipywidgets is installed, else how to call it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from luthier.errors import MissingPart
from luthier.experiments.try_session import TrySession

if TYPE_CHECKING:
    from luthier.experiments.try_widget import TryForm

__all__ = ["TryOut"]


class TryOut(TrySession):
    """A spec that is tried on single rows, asked of one model or several, and edited; `try_out` makes one.

    Shown in a notebook it is a form where ipywidgets is installed. Nothing is sent before a price was shown.

    Examples:
        >>> import luthier as lt
        >>> mood = lt.Task("mood", labels=["good", "bad"])
        >>> tried = lt.try_out(lt.Prompt(mood, "Mood of: {{ text }}", endpoint=lt.openai("gpt-4.1-mini")))
        >>> tried.plan("Lovely soup").calls.high
        1
        >>> tried.edit(template="Is this good or bad? {{ text }}")
        >>> print(tried.diff)
        template:
        - Mood of: {{ text }}
        + Is this good or bad? {{ text }}
    """

    def form(self) -> TryForm:
        """The trial as a form of a notebook, with a button that shows the price before it sends anything.

        Raises:
            MissingPart: ipywidgets is not installed.
        """
        if find_spec("ipywidgets") is None:
            raise MissingPart("a form needs ipywidgets: pip install 'luthier[notebook]'. `.ask(...)` works without.")
        from luthier.experiments.try_widget import TryForm

        return TryForm(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        shown: dict[str, Any] = {"text/plain": str(self), "text/html": self._repr_html_()}
        if find_spec("ipywidgets") is None:
            return shown
        return {**self.form().box._repr_mimebundle_(), **shown}
