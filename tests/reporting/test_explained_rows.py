"""Explained rows on a page: the right passage in the right colour, and nothing but text."""

from __future__ import annotations

import re

from luthier.evaluation.explanations import Explanation
from luthier.reporting.explained_rows import explanation_examples
from luthier.reporting.html import fragment
from luthier.reporting.markdown import page_markdown
from luthier.reporting.table import Page, Section

SPANS = re.compile(r'<span title="([^"]*)" style="background: rgba\(([\d, ]+), ([\d.]+)\)">(.*?)</span>', re.DOTALL)
BLUE, ORANGE = "61, 133, 198", "230, 126, 34"


def drawn(*explanations: Explanation) -> str:
    return fragment(Section("Explained rows", explanation_examples(explanations)))


def test_passages_are_tinted_by_their_weight_for_the_prediction() -> None:
    weights = {"good": (0.4, -0.1, None), "bad": (-0.4, 0.1, None)}
    one = Explanation(7, "far miss", ("Fine soup. ", "Rude staff. ", "Ok."), weights, "good", "bad")
    page = drawn(one)
    assert SPANS.findall(page) == [
        ("+.400", BLUE, "0.60", "Fine soup. "),
        ("-.100", ORANGE, "0.15", "Rude staff. "),
        ("", ORANGE, "0.00", "Ok."),
    ]
    assert "row 7, far miss" in page
    markdown = page_markdown(Page("Card", "", (), (Section("Explained rows", explanation_examples([one])),)))
    assert "predicted **good**, is **bad**" in markdown
    assert "- \\+.400 Fine soup.\n- \\-.100 Rude staff.\n- Ok." in markdown
    assert "1 of 3 passages" in page


def test_a_hostile_text_is_shown_and_not_run() -> None:
    hostile = '</script><script>alert(1)</script>`${1}`"><img src=x onerror=alert(1)>'
    page = drawn(Explanation(1, hostile, (hostile,), {hostile: (1.0,)}, hostile, hostile))
    assert "<img" not in page and "<script" not in page
    assert page.count("&lt;img") == 4


def test_weights_without_probabilities_are_called_what_they_are() -> None:
    page = drawn(Explanation(1, "unsure", ("a ", "b"), {"x": (1.0, 0.0)}, "x", by_probability=False))
    assert "no probabilities" in page
    assert explanation_examples(()) == ()
