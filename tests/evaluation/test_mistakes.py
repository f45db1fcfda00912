from __future__ import annotations

from luthier.evaluation.mistakes import mistakes
from luthier.tasks.prediction import Prediction
from tests.evaluation.answering import STARS, lost, ok, sure, table


def test_mistakes_are_the_wrong_rows_farthest_first_then_surest_then_the_lost() -> None:
    rows = table(STARS, ["1", "1", "1", "1", "3", "2"])
    predictions = [
        *ok(1),
        sure(STARS, 3, 0.2, 0.2, 0.6, 0, 0),
        sure(STARS, 3, 0.1, 0, 0.9, 0, 0),
        sure(STARS, 5, 0, 0, 0, 0.5, 0.5),
        lost("refused"),
        Prediction(None, "empty"),
    ]
    found = mistakes(STARS, rows, predictions)
    assert [one.row for one in found] == [3, 2, 1, 4]
    assert [one.distance for one in found] == [4, 2, 2, 2]
    assert (found[0].text, found[0].truth, found[0].confidence) == ("text 3", "1", 0.5)
    assert found[-1].prediction.error == "it said something else"
    assert mistakes(STARS, rows, predictions, limit=2) == found[:2]
    assert mistakes(STARS, rows, [Prediction(None, "empty")] * 6) == []
