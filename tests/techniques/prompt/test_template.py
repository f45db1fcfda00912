from __future__ import annotations

import datetime

import pytest

from luthier.techniques.prompt.template import Template, UnrenderedRow, compiled
from tests.work import peak_bytes


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
    with pytest.raises(ValueError, match=r"line 1.*include"):
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
    loops = "{% for a in range(n) %}{% for b in range(n) %}{{ text }}{% endfor %}{% endfor %}"
    with pytest.raises(UnrenderedRow, match="500,000 steps"):
        fill(loops, text="a" * 10_000, n=99_999)


DOUBLING = "{% set ns = namespace(s='ab') %}{% for i in range(90) %}{% set ns.s = BOTH %}{% endfor %}"
MANY = "{% set big = 'a b ' * 400000 %}{% for i in range(99999) %}BODY{% endfor %}"

BOMBS = {
    "nested empty loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "loops without turns": "{% for a in range(9999) %}{% for b in range(9999) if 0 %}{% endfor %}{% endfor %}",
    "a loop around much text": "{% set x %}{% for a in range(99999) %}" + "y" * 99_999 + "{% endfor %}{% endset %}",
    "a doubling text by ~": DOUBLING.replace("BOTH", "ns.s ~ ns.s"),
    "a doubling text by +": DOUBLING.replace("BOTH", "ns.s + ns.s"),
    "a doubling text by join": DOUBLING.replace("BOTH", "[ns.s, ns.s] | join"),
    "a doubling text by a method": DOUBLING.replace("BOTH", "''.join([ns.s, ns.s])"),
    "a doubling text by %": DOUBLING.replace("BOTH", "'%s%s' % (ns.s, ns.s)"),
    "a doubling text by format": DOUBLING.replace("BOTH", "'{0}{0}'.format(ns.s)"),
    "a doubling text by replace": DOUBLING.replace("BOTH", "ns.s | replace('a', 'aa')"),
    "a doubling list": DOUBLING.replace("'ab'", "[1]").replace("BOTH", "ns.s + ns.s"),
    "lists that hold each other": DOUBLING.replace("'ab'", "[1]").replace("BOTH", "[ns.s, ns.s]") + "{{ ns.s }}",
    "tuples that are looked up": DOUBLING.replace("'ab'", "(1,)").replace("BOTH", "(ns.s, ns.s)") + "{{ {ns.s: 1} }}",
    "width by center": "{{ 'a' | center(999999999) }}",
    "width by a mapped filter": "{{ ['a'] | map('center', 999999999) | list }}",
    "width by a method": "{{ 'a'.ljust(999999999) }}",
    "width by %": "{{ '%999999999d' % 1 }}",
    "width by a filter": "{{ '%999999999d' | format(1) }}",
    "width by format": "{{ '{:>999999999}'.format('a') }}",
    "precision": "{{ '%.999999999f' % 1.5 }}",
    "rounding": "{{ 1.5 | round(999999999, 'ceil') }}",
    "indent": "{{ ('\n' * 99999) | indent(99999, true, true) }}",
    "indented JSON": "{{ range(99999) | list | tojson(indent=9999) }}",
    "batches filled up": "{{ [1] | batch(999999999, 0) | list }}",
    "slices": "{{ [1] | slice(999999999) | list }}",
    "wordwrap": "{{ ('a ' * 900000) | wordwrap(1) }}",
    "wordwrap with long breaks": "{{ ('a ' * 9999) | wordwrap(1, wrapstring='x' * 99999) }}",
    "replacing by something long": "{{ ('a' * 99999) | replace('a', 'x' * 99999) }}",
    "joining by something long": "{{ range(99999) | join('x' * 99999) }}",
    "one text many times over": "{{ ['x' * 99999] * 9999 }}",
    "one attribute many times over": "{{ ([{'a': 'x' * 99999}] * 9999) | map(attribute='a') | join }}",
    "slices of a long text": MANY.replace("BODY", "{% set x = big[1:] %}"),
    "comparisons of long texts": MANY.replace("BODY", "{% if 'z' in big %}{% endif %}"),
    "tests of long texts": MANY.replace("BODY", "{% if 'z' is in big %}{% endif %}"),
    "filters of a long text": MANY.replace("BODY", "{% set x = big | upper %}"),
    "macros that call each other": "{% macro f(n) %}{{ n and f(n - 1) ~ f(n - 1) }}{% endmacro %}{{ f(60) }}",
    "a sum of lists": "{{ (range(99999) | batch(1) | list) | sum(start=[]) }}",
}


@pytest.mark.slow
@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS.keys())
def test_a_template_that_is_too_much_work_for_any_row_is_refused_in_bounded_memory(source: str) -> None:
    def refused() -> None:
        with pytest.raises(ValueError, match="it is too much work for any row"):
            Template(source)

    # Without bounds each of them runs for hours or fills the memory.
    assert peak_bytes(refused) < 300e6


@pytest.mark.parametrize(
    "source",
    ["{{ '%*d' % (999999999, 1) }}", "{{ '{:{w}}'.format(1, w=999999999) }}", "{{ '%*d' | format(99999, 1) }}"],
)
def test_a_width_that_is_computed_is_not_offered(source: str) -> None:
    with pytest.raises(UnrenderedRow, match="write the width as a number"):
        fill(source)


@pytest.mark.parametrize(
    "source", ["{{ (1).to_bytes(999999999) }}", "{{ 'a'.expandtabs(99) }}", "{{ 'a'.translate({}) }}"]
)
def test_only_methods_that_prompts_need_are_offered(source: str) -> None:
    with pytest.raises(UnrenderedRow, match="is not offered to templates"):
        fill(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{{ " + "[" * 20_000 + "]" * 20_000 + " }}",
        "{{ " + "+".join(["1"] * 9000) + " }}",
        "{{ 1" + " | abs" * 3000 + " }}",
        "{% if text %}" * 300 + "{% endif %}" * 300,
        "{{ " + "not " * 9000 + "1 }}",
    ],
)
def test_a_template_nested_too_deeply_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        Template(source)


def test_a_recursive_loop_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1: a loop cannot be recursive"):
        compiled("{% for x in labels recursive %}{{ loop(labels) }}{% endfor %}")


LEGITIMATE = {
    "{% for x in labels %}{{ loop.index }}/{{ loop.length }}{{ '' if loop.last else ', ' }}{% endfor %}": "1/2, 2/2",
    "{% for x in words if x != 'bad' %}{{ x | title }}{% else %}none{% endfor %}": "Good",
    "{{ text | trim | truncate(8) }}": "aaaa...",
    "{{ text.split()[:2] | join('-') }}": "aaaa-bbbb",
    "{{ '%.2f' | format(price) }} {{ '{:>6}'.format(price) }} {{ '%s!' % price }}": "1.50    1.5 1.5!",
    "{{ labels ~ '' }}{{ (labels | list)[-1] }}": "('1', '2')2",
    "{% macro say(x) %}<{{ x }}>{% endmacro %}{{ say(text[:4]) }}": "<aaaa>",
    "{% set ns = namespace(n=0) %}{% for x in labels %}{% set ns.n = ns.n + x | int %}{% endfor %}{{ ns.n }}": "3",
    "{{ {'a': labels} | tojson }}": '{"a": ["1", "2"]}',
    "{{ text | default('none', true) | upper | wordwrap(9) }}": "AAAA BBBB\nCCCC",
    "{{ labels | map('int') | sum }} {{ labels | select('eq', '2') | list }}": "3 ['2']",
    "{% if 'bbbb' in text and text is string %}yes{% endif %}": "yes",
    "{% for a, b in zipped.items() %}{% endfor %}{% filter upper %}x{% endfilter %}": "X",
}


@pytest.mark.parametrize(("source", "written"), LEGITIMATE.items())
def test_what_prompts_use_is_offered(source: str, written: str) -> None:
    source = source.replace("zipped", "{'a': 1}")
    assert fill(source, text=" aaaa bbbb cccc " if "trim" in source else "aaaa bbbb cccc", price=1.5) == written


def test_a_long_text_is_rendered_whole() -> None:
    text = "word " * 400_000
    shown = "{% for i in range(20) %}{{ i }}{% endfor %}"
    assert len(fill(shown + "{{ text | trim }}", text=text)) == 30 + len(text) - 1


def test_small_sums_are_computed() -> None:
    assert fill("{{ '-' * 3 }}{{ n * 2 }}{{ 2 ** 10 }}{{ 2.5 * n }}", n=4) == "---8102410.0"


@pytest.mark.parametrize(
    ("source", "truncations"),
    [
        ("{{ text }}", ()),
        ("{{ text | truncate(400) }}", (400,)),
        ("{{ text | truncate }}", (255,)),
        ("{{ text | trim | truncate(length=90, killwords=True) }} {{ title | truncate(40) }}", (40, 90)),
        ("{{ text | truncate(limit) }}", ()),
    ],
)
def test_a_template_knows_where_it_cuts_texts(source: str, truncations: tuple[int, ...]) -> None:
    assert compiled(source).truncations == truncations
