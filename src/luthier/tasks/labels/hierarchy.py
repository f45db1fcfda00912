"""Labels whose names are paths, such as billing/refund: how answers name them, and metrics that know near misses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from luthier.tasks.labels.answers import LabelReader
from luthier.tasks.prediction import Prediction
from luthier.tasks.thoughts import spoken
from luthier.tasks.types import AnswerRead, Floats, Measure

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["HIERARCHY_METRICS", "LabelPaths", "PathReader", "hierarchy_metrics"]

HIERARCHY_METRICS: dict[str, Measure] = {
    "hierarchical_f1": Measure(
        "hierarchical F1",
        "higher",
        "share",
        "F1 over the levels of the labels: an answer that shares the first levels with the truth is partly right.",
    ),
    "first_level_accuracy": Measure(
        "first level", "higher", "share", "Share of rows whose label is right in its first level.", is_share=True
    ),
}
"""Metrics beside those of the whole label."""

MARKS = r">|→|»|::|\\|/|\|"
"""What models write between the levels of a label, whatever the task does."""


class LabelPaths:
    """The labels of a task as paths.

    Args:
        labels: the task's.
        separator: between the levels of a name.

    Raises:
        ValueError: no label has levels, or a level has no name.

    Examples:
        >>> paths = LabelPaths(["billing/refund", "billing/invoice", "login"], "/")
        >>> paths.levels("billing/refund"), paths.leaves
        (('billing', 'billing/refund'), {'refund': 'billing/refund', 'invoice': 'billing/invoice'})
    """

    def __init__(self, labels: Sequence[str], separator: str) -> None:
        self.labels, self.separator = tuple(labels), separator
        self._paths = {label: tuple(part.strip() for part in label.split(separator)) for label in labels}
        if all(len(path) == 1 for path in self._paths.values()):
            raise ValueError(
                f"hierarchy is {separator!r}, and no label has it, such as {labels[0]!r}; leave hierarchy out, or give "
                "what separates the levels"
            )
        hollow = [label for label, path in self._paths.items() if not all(path)]
        if hollow:
            raise ValueError(f"label {hollow[0]!r} has a level without a name (hierarchy: {separator!r})")

    def levels(self, label: str) -> tuple[str, ...]:
        """The label and all above it, from the first level down."""
        path = self._paths[label]
        return tuple(self.separator.join(path[: depth + 1]) for depth in range(len(path)))

    @cached_property
    def leaves(self) -> dict[str, str]:
        """Last levels that only one label has, and that are no label themselves, to that label."""
        times = Counter(path[-1].casefold() for path in self._paths.values())
        whole = {label.casefold() for label in self.labels}
        return {
            path[-1]: label
            for label, path in self._paths.items()
            if len(path) > 1 and times[path[-1].casefold()] == 1 and path[-1].casefold() not in whole
        }

    def sums(self, truths: Sequence[Any], predictions: Sequence[Prediction]) -> dict[str, Floats]:
        """What is summed over the rows; one without a label has as many levels as the truth, all wrong."""
        import numpy as np

        place = {label: at for at, label in enumerate(self.labels)}
        true = np.array([place[truth] for truth in truths], dtype=np.intp)
        said = [place.get(p.value) if p.state == "ok" else None for p in predictions]
        given = np.array([at is not None for at in said], dtype=bool)
        answered = np.where(given, np.array([at or 0 for at in said], dtype=np.intp), true)
        depth, shared = self._depths, self._shared
        common = shared[true, answered] * given
        return {
            "true_levels": depth[true],
            "answered_levels": depth[answered],
            "shared_levels": common,
            "first_level": (common > 0).astype(float),
        }

    @cached_property
    def _depths(self) -> Floats:
        import numpy as np

        return np.array([len(self._paths[label]) for label in self.labels], dtype=float)

    @cached_property
    def _shared(self) -> npt.NDArray[np.float64]:
        """How many levels two labels share, shape (labels, labels)."""
        import numpy as np

        names = {name: at for at, name in enumerate({n: None for label in self.labels for n in self.levels(label)})}
        cells = np.zeros((len(self.labels), len(names)))
        for at, label in enumerate(self.labels):
            cells[at, [names[name] for name in self.levels(label)]] = 1.0
        found: npt.NDArray[np.float64] = cells @ cells.T
        return found


def hierarchy_metrics(sums: Mapping[str, Floats]) -> dict[str, Floats]:
    """The metrics from sums over rows; arrays of shape (samples,) in and out.

    Source: Kiritchenko, Matwin, Nock and Famili 2006, Learning and Evaluation in the Presence of Class Hierarchies:
    precision and recall over the labels with all above them, summed over the rows.
    """
    return {
        "hierarchical_f1": 2 * sums["shared_levels"] / (sums["true_levels"] + sums["answered_levels"]),
        "first_level_accuracy": sums["first_level"] / sums["rows"],
    }


class PathReader(LabelReader):
    """Reads labels that are paths: with other marks between the levels, or the last level alone where it is enough.

    Examples:
        >>> names = ["billing/refund", "billing/invoice", "login/password"]
        >>> reader = PathReader({name: name for name in names}, LabelPaths(names, "/"))
        >>> [reader.read(said).value for said in ("Billing > Refund", "refund", "login / refund", "billing")]
        ['billing/refund', 'billing/refund', None, None]
    """

    def __init__(self, names: Mapping[str, str], paths: LabelPaths) -> None:
        """Reads these names; each maps to its label."""
        self._separator = paths.separator.strip()
        self._marks = re.compile(rf"(?<=\w)\s*(?:{MARKS}|{re.escape(self._separator)})\s*(?=\w)")
        self._stray = re.compile(rf"\w{re.escape(self._separator)}\w")
        whole = {self._joined(name): label for name, label in names.items()}
        super().__init__({**names, **{name: label for name, label in whole.items() if name not in names}})
        taken = {name.casefold() for name in (*names, *whole)}
        leaves = {leaf: label for leaf, label in paths.leaves.items() if leaf.casefold() not in taken}
        self._with_leaves = LabelReader({**self._names, **leaves})
        longest = sorted(whole, key=len, reverse=True)
        self._whole = re.compile("|".join(map(re.escape, longest)), re.I)

    def read(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The label a free answer names."""
        joined = self._joined(spoken(text)) or text  # thoughts end with a mark too
        # What is left of a path that is no label says where a last level belongs, and it is not there.
        if self._stray.search(self._whole.sub(" ", joined)):
            return super().read(joined, cut=cut)
        return self._with_leaves.read(joined, cut=cut)

    def _joined(self, text: str) -> str:
        return self._marks.sub(lambda _: self._separator, text)
