from __future__ import annotations

import datetime

import pytest

from luthier.techniques.template import UnrenderedRow, compiled


def fill(source: str, **row: object) -> str:
    return compiled(source).fill(row, ["1", "2"], ["bad", "good"])


def test_columns_are_the_names_a_template_reads() -> None:
    assert compiled("{{ title }}{% if text %}{{ text }}{% endif %}{{ labels }}{{ words }}").columns == ("text", "title")


def test_columns_with_spaces_are_read_by_row() -> None:
    assert fill('{{ row["full text"] }}', **{"full text": "fine"}) == "fine"


def test_row_wants_a_name_in_quotes() -> None:
    with pytest.raises(ValueError, match=r'line 2: write row\["column name"\]'):
        compiled("a\n{{ row.title }}")


def test_names_a_template_sets_itself_are_no_columns() -> None:
    assert compiled("{% set a = 1 %}{% for b in range(3) %}{{ a }}{{ b }}{% endfor %}{{ text }}").columns == ("text",)


@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% raise %}", "{{ labels }}", "{# gone #}"])
def test_a_row_is_data_never_code(text: str) -> None:
    assert fill("Text: {{ text }}", text=text) == f"Text: {text}"


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_cell_is_written_as_nothing(missing: object) -> None:
    assert fill("[{{ text }}]", text=missing) == "[]"


def test_an_absent_cell_is_written_as_nothing() -> None:
    assert fill("[{{ text }}]") == "[]"


def test_numbers_stay_numbers() -> None:
    assert fill("{{ price * 2 }}", price=1.5) == "3.0"


def test_dates_arrive_as_text() -> None:
    assert fill("{{ day }}", day=datetime.date(2026, 11, 2)) == "2026-11-02"


def test_labels_and_words_are_offered() -> None:
    assert fill("{{ labels | join }} {{ words | join }} {{ text }}", text="") == "12 badgood "


def test_a_syntax_error_has_its_line() -> None:
    with pytest.raises(ValueError, match=r"line 2: unexpected '}'"):
        compiled("Text:\n{{ text }")


def test_an_unknown_filter_has_its_line() -> None:
    with pytest.raises(ValueError, match=r"line 1: No filter named 'shout'"):
        compiled("{{ text | shout }}")


def test_a_template_cannot_load_another() -> None:
    with pytest.raises(ValueError, match=r"line 1: a template cannot load another \(include\)"):
        compiled("{% include 'x' %}")


def test_a_template_cannot_draw_at_random() -> None:
    with pytest.raises(ValueError, match="No filter named 'random'"):
        compiled("{{ labels | random }}")


@pytest.mark.parametrize("source", ["{{ text.__class__.__mro__ }}", "{{ ().__class__.__subclasses__() }}{{ text }}"])
def test_the_sandbox_holds(source: str) -> None:
    with pytest.raises(UnrenderedRow):
        fill(source, text="x")


def test_a_failing_row_says_why() -> None:
    with pytest.raises(UnrenderedRow, match="the template fails on this row: TypeError"):
        fill("{{ price + 1 }}", price="cheap")


def test_half_a_surrogate_pair_can_be_sent() -> None:
    assert fill("{{ text }}", text="a\ud83d") == "a?"


def test_one_line_break_at_the_end_is_dropped() -> None:
    assert fill("{{ text }}\n", text="a") == "a"


@pytest.mark.parametrize("source", ["{{ self }}", "{{ self.body() }} {{ text }}", "{% set self = 1 %}"])
def test_self_is_the_template_s_own_name(source: str) -> None:
    with pytest.raises(ValueError, match=r"""line 1: "self" is the template's own name; write row\["self"\]"""):
        compiled(source)


def test_a_column_named_self_is_read_by_row() -> None:
    assert fill('{{ row["self"] }}', self="mine") == "mine"


@pytest.mark.parametrize(
    "source",
    [
        "{{ text * 100000000 }}",
        "{{ 100000000 * text }}",
        "{{ 'a' * 100000000 }}",
        "{{ [1] * 100000000 }}",
        "{{ 9 ** 999999999 }}",
        "{{ (9 ** 999) * (9 ** 999) }}",
    ],
)
def test_what_is_too_large_is_never_computed(source: str) -> None:
    with pytest.raises(UnrenderedRow, match="too large"):
        fill(source, text="aaaa")


def test_a_text_that_grows_without_end_is_cut_off() -> None:
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{{ text }}{% endfor %}{% endfor %}"
    with pytest.raises(UnrenderedRow, match="longer than 20 million characters"):
        fill(loops, text="a" * 10_000)


def test_small_sums_are_computed() -> None:
    assert fill("{{ '-' * 3 }}{{ n * 2 }}{{ 2 ** 10 }}{{ 2.5 * n }}", n=4) == "---8102410.0"


@pytest.mark.parametrize(
    ("source", "cuts"),
    [
        ("{{ text }}", ()),
        ("{{ text | truncate(400) }}", (400,)),
        ("{{ text | truncate }}", (255,)),
        ("{{ text | trim | truncate(length=90, killwords=True) }} {{ title | truncate(40) }}", (40, 90)),
        ("{{ text | truncate(limit) }}", ()),
    ],
)
def test_a_template_knows_where_it_cuts_texts(source: str, cuts: tuple[int, ...]) -> None:
    assert compiled(source).cuts == cuts
