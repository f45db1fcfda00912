from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from luthier.responsible_ai.isolated.row_filters import mask_of

FRAME = pd.DataFrame({"words": [1, 5, 9], "region": ["north", "' or 1", "north"]})
TRUTH, PREDICTED = np.array(["a", "b", "b"], dtype=object), np.array(["a", "a", "b"], dtype=object)


def met(*filters: dict[str, Any]) -> list[bool]:
    categories = {"region": ["' or 1", "north"]}
    found: list[bool] = mask_of(filters, FRAME, TRUTH, PREDICTED, ["a", "b"], categories).tolist()
    return found


def test_every_filter_of_the_widget_is_applied() -> None:
    assert met() == [True] * 3
    assert met({"column": "words", "method": "greater", "arg": [5]}) == [False, False, True]
    assert met({"column": "words", "method": "in the range of", "arg": [1, 5]}) == [True, True, False]
    assert met({"column": "region", "method": "includes", "arg": [0]}) == [False, True, False]
    assert met({"column": "region", "method": "excludes", "arg": [0]}) == [True, False, True]
    assert met({"column": "True Y", "method": "includes", "arg": [1]}) == [False, True, True]
    assert met({"column": "Predicted Y", "method": "includes", "arg": [1]}) == [False, False, True]
    assert met({"column": "Classification outcome", "method": "includes", "arg": [1]}) == [False, True, False]
    assert met({"column": "Index", "method": "less", "arg": [1]}) == [True, False, False]


def test_filters_are_joined() -> None:
    low, high = ({"column": "words", "method": "equal", "arg": [number]} for number in (1, 9))
    assert met({"compositeFilters": [low, high], "operation": "or"}) == [True, False, True]
    assert met({"compositeFilters": [low, high], "operation": "and"}) == [False] * 3
    assert met(low, high) == [False] * 3


def test_what_is_no_column_and_no_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="gone"):
        met({"column": "gone", "method": "greater", "arg": [1]})
    with pytest.raises(ValueError, match="about"):
        met({"column": "words", "method": "about", "arg": [1]})
