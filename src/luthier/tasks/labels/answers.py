"""Reads the label a model named out of what it wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from luthier.tasks.json_objects import MOST_READ, NoObject, alternatives, is_whole, values_under
from luthier.tasks.labels.negation import is_denied
from luthier.tasks.quoting import short
from luthier.tasks.thoughts import spoken
from luthier.tasks.types import AnswerRead

__all__ = ["JSON_KEY", "LabelReader"]

JSON_KEY = "label"
"""The key under which method `json` asks for the answer."""

EDGE = " \t\r\n\"'`*_~#.,:;!?()[]{}<>|=…“”‘’„«»"
"""What may stand around an answer without being part of it."""

MOST_EDGE = 8

MOST_BEFORE_NUMBER = 20
"""Characters before a number that are searched for what makes it a bound."""

MOST_MENTIONS = 500
"""Labels in an answer that are weighed, likewise the last ones."""

NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Letters of scripts that write no spaces between words, or hang particles on them: Thai, Kana, Han, Hangul."""

LETTER = rf"[^\W{UNSPACED}]"
NUMBER_IN_TEXT = re.compile(
    rf"(?<!{LETTER})(?<![.第])(?:(?<![)\]])[+-])?\d+(?:,\d{{3}})*(?:\.\d+)?(?=[分星颗顆点點점つ级級。，、]|\W|$)(?!\.\d)"
)
STARS = (
    r"(?:[-\s]?(?:stars?|points?|sterne?n?|punkten?|[eé]toiles?|estrellas?|puntos|stelle|punti|estrelas|(?:[★⭐]\ufe0f?)+"
    r"|[分星点點점]))?"
)
SCALE = re.compile(
    rf"{STARS}\s*\(?\s*(?:[/／]|(?:out\s+)?of|von|sur|de|su|van(?:\s+de)?|a[vf]|из|z)\s*"
    r"(?:(?:an?|the)\s+)?(?:(?:possible|maximum|max|total)\s+(?:of\s+)?)?(\d+(?:\.0+)?)(?![\w.]*\d)",
    re.I,
)
"""What follows a number that is one of so many: 4/5, 4 stars out of 5, 4 (out of 5), 4 von 5."""

SCALE_NAMED = re.compile(
    r"(?:(?:on|in|using|with)\s+)?(?:an?|the|our|your)?\s*(?:"
    r"scale\s*(?:\(|of|from|between)?\s*(\d+)\s*(?:to|and|through|[-–—])\s*(\d+)\)?"
    r"|(\d+)\s*(?:to|[-–—])\s*(\d+)[-\s]?(?:star|point)?[-\s]?scale"
    r"|\(\s*(\d+)\s*(?:to|[-–—])\s*(\d+)(?:\s+(?:stars?|scale|points?))?\s*\)"
    r"|()(\d+)[-\s](?:star|point)[-\s]scale"
    r"|满分(?:为|是)?\s*()(\d+)\s*分?"
    r"|()(\d+)\s*(?:[点點分]\s*[満满滿][点點分]|段階(?:評価)?|점\s*만점|[点點分](?=\s*中)|점(?=\s*중)|分制)\s*[中で에의]?)",
    re.I,
)
"""A scale that is named beside the number: on a scale from 1 to 5, a 5-star scale, (1-5)."""

BOUND_BEFORE = re.compile(
    r"(?:\bat\s+(?:least|most)|\b(?:more|less|fewer|greater|higher|lower|better|worse)\s+than|\b(?:over|under|above|below)"
    r"|\bup\s+to|\bmindestens|\bhöchstens|\b(?:mehr|weniger)\s+als|\bau\s+moins|\b(?:plus|moins)\s+de"
    r"|\bal\s+menos|\b(?:m[aá]s|menos)\s+de|至少|最多|超过|低于|高于)\s*(?:an?\s+)?$",
    re.I,
)
BOUND_AFTER = re.compile(
    r"[-\s]?(?:stars?|points?)?\s*(?:\+(?!\d)|½|%|\b1/2\b|-?ish\b|or\s+(?:more|less|fewer|higher|lower|above|below|better|worse)\b"
    r"|and\s+(?:above|below|up|a\s+half)\b|oder\s+(?:mehr|weniger)\b|ou\s+(?:plus|moins)\b|o\s+m[aá]s\b|以上|以下|半)",
    re.I,
)
"""What makes a number a bound, a share or a half, and so no label: at least 4, 4 or more, 4%, 4½."""

LISTED = re.compile(
    r"[\s\"'”’`*]*(?:,|/|\||、|،)?\s*(?:or|nor|and|oder|noch|ou|ni|et|o|y|e|или|и|или|或|或者)?\s*(?:an?\s+|the\s+)?[\"'“‘`*]*",
    re.I,
)
"""What stands between labels of one list: a negation before the first denies them all."""

INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff\u202a-\u202e\u2066-\u2069]")
DASHES = re.compile("(?<=\\w)[\u2010-\u2013](?=\\w)")
"""Models set hyphens that do not break, and marks of the writing direction."""

RUNS = re.compile(r"\s{2,}|\d{40,}")
BLANK = "\0"
"""Stands for what has been read. Not a space: patterns that look for spaces take quadratic time over many of them."""

DRAWN_STARS = re.compile(r"[★⭐🌟]+☆*")
EMPHASIS = re.compile(r"(?<!\w)[*_`~]+|[*_`~]+(?!\w)")


class LabelReader:
    """Finds the label an answer stands for.

    An answer counts when, marks and case aside, it is a label or its word; else when exactly one label is named in it
    and not negated: "not 4 but 5" is 5. An answer that names two labels, or negates the one it names, is none.

    Examples:
        >>> stars = LabelReader({"1": "1", "2": "2", "3": "3", "4": "4", "5": "5"})
        >>> [stars.read(said).value for said in ("4", "**4.0**", "I'd say 4 out of 5 stars.")]
        ['4', '4', '4']
        >>> [stars.read(said).value for said in ("4.5", "45", "4 or 5", "8/10", "not 4", "at least 4")]
        [None, None, None, None, None, None]
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        """Reads these names; each maps to its label, and earlier names win over later ones."""
        self._names: dict[str, str] = {}
        folds: dict[str, set[str]] = {}
        for name, label in names.items():
            if self._names.setdefault(name, label) == label:
                folds.setdefault(_fold(name), set()).add(label)
        self._folded = {key: next(iter(labels)) for key, labels in folds.items() if len(labels) == 1}
        self._numbers: dict[float, str] = {}
        for name, label in self._names.items():
            if NUMBER.fullmatch(name):
                self._numbers.setdefault(float(name), label)
        letters = [name for name in self._names if len(name) == 1 and name.isascii() and name.isalpha()]
        phrases = [name for name in self._names if name not in letters and not NUMBER.fullmatch(name)]
        # Longest first, so that "not spam" is not read as "spam".
        phrases.sort(key=len, reverse=True)
        self._phrases = re.compile(_whole_tokens(phrases), re.I) if phrases else None
        # A letter within a sentence is an article or a name; one that ends it, is marked, or stands beside another by
        # "or", is an answer.
        ended = (
            r"(?=\s*(?:[).:,;?*\"\]}/]|$)|\s+(?:or|and|but|because|since|as)\b"
            r"|\s+(?:is|was|isn)\b[^.;]{0,40}\b(?:not|n.t|wrong))"
        )
        self._letters = re.compile(rf"(?<![\w'’])(?:{'|'.join(letters)}){ended}") if letters else None

    def exactly(self, text: str) -> str | None:
        """The label this text is, marks around it and case aside."""
        left = len(text) - len(text.lstrip(EDGE))
        right = len(text) - len(text.rstrip(EDGE))
        cuts = [(i, j) for i in range(min(left, MOST_EDGE) + 1) for j in range(min(right, MOST_EDGE) + 1)]
        # As few marks as possible are taken off: "C#." is C#, not C.
        for i, j in sorted(cuts, key=sum) if len(text) <= 200 else ():
            core = text[i : len(text) - j].strip()
            if i and text[i - 1] in ".," and core[:1].isdigit():
                continue
            label = self._names.get(core) or self._folded.get(_fold(core))
            if label is None and NUMBER.fullmatch(core):
                label = self._number(core)
            if label is not None:
                return label
        return None

    def read(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The label a free answer names.

        Args:
            text: what the model wrote.
            cut: whether it had more to say. A cut answer counts only if it is a label and nothing else.
        """
        said = visible(spoken(text))
        if not said:
            label = self.exactly(text)  # a label that looks like the mark of a thought
            why = "the model answered nothing" if not text.strip() else "the model only thought aloud"
            return AnswerRead(label, None if label else why)
        label = self.exactly(said)
        if label is None and cut:
            label = self._of_scale(said)
        if label is not None:
            return AnswerRead(label)
        if cut:
            return AnswerRead(None, f"the answer was cut before it named a label: {short(said)}")
        named, denied = self.named(said)
        if len(named) > 1:
            return AnswerRead(None, f"the answer names several labels ({', '.join(named)}): {short(said)}")
        if named:
            return AnswerRead(named[0])
        if denied:
            return AnswerRead(None, f"the answer denies a label or gives a bound instead of naming one: {short(said)}")
        return AnswerRead(None, f"the answer is none of the labels: {short(said)}")

    def named(self, said: str) -> tuple[list[str], bool]:
        """The labels an answer names and does not deny, in order, and whether it denies one."""
        return self._named(EMPHASIS.sub(" ", without_runs(visible(said)[-MOST_READ:])))

    def read_json(self, text: str, *, cut: bool = False) -> AnswerRead:
        """The label in an answer of method `json`; what stands outside its objects is not read.

        Args:
            text: what the model wrote.
            cut: whether it had more to say. A cut answer counts only if it ends with its object.
        """
        said = spoken(text)
        tail = said[-MOST_READ:]
        try:
            given = values_under(JSON_KEY, tail)
        except NoObject:
            return AnswerRead(None, f"the answer is not the JSON that was asked for: {short(said)}")
        plain = [one for value in given for one in alternatives(value) if isinstance(one, str | int | float)]
        if not plain:
            return AnswerRead(None, f"the JSON has no {JSON_KEY!r}: {short(said)}")
        if cut and not is_whole(tail):
            return AnswerRead(None, f"the answer was cut: {short(said)}")
        read = {str(value): self.read(str(value)).value for value in plain}
        labels = set(read.values())
        if None in labels:
            wrong = next(value for value, label in read.items() if label is None)
            return AnswerRead(None, f"{JSON_KEY!r} is none of the labels: {short(wrong)}")
        if len(labels) > 1:
            named = ", ".join(sorted(str(label) for label in labels))
            return AnswerRead(None, f"the JSON gives several labels ({named}): {short(said)}")
        return AnswerRead(labels.pop())

    def unfinished(self, text: str) -> bool:
        """Whether this cut answer could have become another label: `1` before `10`."""
        said = _fold(spoken(text))
        return any(name != said and name.startswith(said) for name in self._folded) and bool(said)

    def _number(self, digits: str) -> str | None:
        plain = digits.replace(",", "")
        if re.match(r"[+-]?0\d", plain):
            return None
        return self._numbers.get(float(plain))

    def _of_scale(self, said: str) -> str | None:
        """The label of an answer that is a number of so many, 4/5, which is whole even where it was cut."""
        number = NUMBER.match(said)
        scale = number and SCALE.fullmatch(said, number.end())
        if number is None or not scale or not self._numbers or float(scale.group(1)) != max(self._numbers):
            return None
        return self._number(number.group())

    def _named(self, text: str) -> tuple[list[str], bool]:
        """The labels a text names and does not deny, in order, and whether it denies one."""
        named: list[str] = []
        denied: list[str] = []
        first, end, carried = "", 0, False
        for begin, until, label, is_bound in sorted(self._mentions(text))[-MOST_MENTIONS:]:
            if not text[:begin].strip(EDGE) and not text[until:].lstrip().startswith("?"):
                first = label
            listed = carried and LISTED.fullmatch(text, end, begin) is not None
            carried = listed or is_denied(text, begin, until)
            end = until
            # An answer may begin with its label and then say what it is not; it does not take the label back.
            if (carried or is_bound) and not (label in named and label == first):
                denied.append(label)
            elif label not in named:
                named.append(label)
        return [label for label in named if label not in denied], bool(denied)

    def _mentions(self, text: str) -> Iterator[tuple[int, int, str, bool]]:
        rest = text
        if self._phrases is not None:
            for match in self._phrases.finditer(text):
                label = self._names.get(match.group()) or self._folded.get(_fold(match.group()))
                if label is not None:
                    yield *match.span(), label, False
            rest = self._phrases.sub(lambda match: BLANK * len(match.group()), text)
        if self._letters is not None:
            for match in self._letters.finditer(rest):
                yield *match.span(), self._names[match.group()], False
        if self._numbers:
            for label, (begin, end) in self._numbers_in(rest):
                before = rest[max(0, begin - MOST_BEFORE_NUMBER) : begin]
                is_bound = BOUND_BEFORE.search(before) is not None or BOUND_AFTER.match(rest, end) is not None
                yield begin, end, label, is_bound

    def _numbers_in(self, text: str) -> Iterator[tuple[str, tuple[int, int]]]:
        top = max(self._numbers)
        blanked: list[tuple[int, int]] = []
        for named in SCALE_NAMED.finditer(text):
            ends = [float(digits) for digits in named.groups() if digits]
            if ends[-1] != top:
                # 8 on a scale from 1 to 10 is not an 8 on ours.
                return
            blanked.append(named.span())
        for begin, end in blanked:
            text = text[:begin] + BLANK * (end - begin) + text[end:]
        after = 0
        for match in NUMBER_IN_TEXT.finditer(text):
            if match.start() < after:
                continue
            scale = SCALE.match(text, match.end())
            if scale is not None:
                after = scale.end()
                if float(scale.group(1)) != top:
                    # 8/10 is not an 8 on a scale of ten labels or of five.
                    continue
            digits = match.group()
            if digits[0] in "+-" and match.start() and text[match.start() - 1].isalnum():
                digits = digits[1:]
            label = self._number(digits)
            if label is not None:
                yield label, match.span()
        for drawn in DRAWN_STARS.finditer(text.replace("\ufe0f", "")):
            full = len(drawn.group().rstrip("☆"))
            if len(drawn.group()) == top or (full > 1 and full == len(drawn.group()) < top):
                label = self._number(str(full))
                if label is not None:
                    yield label, drawn.span()


def _fold(text: str) -> str:
    """Case and the marks between words do not tell labels apart: very_good, Very-good, very good."""
    return re.sub(r"(?<=\w)[-_\s]+(?=\w)", " ", visible(text).strip().casefold())


def visible(text: str) -> str:
    return text if text.isascii() else DASHES.sub("-", INVISIBLE.sub("", text))


def without_runs(text: str) -> str:
    """Blanks and digits that a model repeats without end say nothing, and searching them takes quadratic time."""
    return RUNS.sub(lambda run: ("\n" if "\n" in run[0] else " ") if run[0].isspace() else "#", text)


def _whole_tokens(names: Sequence[str]) -> str:
    """A pattern of any of these names where it stands alone; of names that begin alike an earlier one wins.

    What must not stand around them is written once: compiling it takes milliseconds, and a task may have 200 labels.
    """
    runs = groupby(names, key=_bounds)
    return "|".join(f"{before}(?:{'|'.join(map(_spelled, run))}){after}" for (before, after), run in runs)


def _bounds(name: str) -> tuple[str, str]:
    """What must not stand before and after a name."""
    if re.fullmatch(f"[{UNSPACED}]+", name):
        # Stands within words of its script; a single character is part of too many.
        return ("", "") if len(name) > 1 else (r"(?<!\w)", r"(?!\w)")
    return rf"(?<!{LETTER})(?<!{LETTER}-)", rf"(?!{LETTER})(?!-{LETTER})"


def _spelled(name: str) -> str:
    parts = re.split(r"(?<=\w)[-_\s]+(?=\w)", visible(name))
    return r"[-_\s]+".join(map(re.escape, parts))
