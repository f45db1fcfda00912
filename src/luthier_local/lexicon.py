"""Words the deterministic backend knows: how good or bad each sounds, from -1 to 1."""

from __future__ import annotations

__all__ = ["ANSWERS", "BACKGROUND", "COMMON", "INTENSIFIERS", "NEGATIONS", "STOPWORDS", "VALENCE"]


def _words(line: str) -> list[str]:
    return line.split()


ANSWERS: dict[str, float | None] = {
    "terrible": -1.0, "awful": -0.9, "horrible": -0.95, "worst": -1.0, "bad": -0.6, "poor": -0.5,
    "disappointing": -0.5, "mediocre": -0.2, "average": 0.0, "okay": 0.0, "ok": 0.0, "neutral": 0.0,
    "mixed": 0.0, "fine": 0.15, "decent": 0.25, "good": 0.5, "nice": 0.5, "great": 1.0, "best": 1.0,
    "excellent": 1.0, "amazing": 0.95, "perfect": 1.0, "negative": -0.75, "positive": 0.75,
    "yes": 0.7, "no": -0.7, "true": 0.7, "false": -0.7, "pass": 0.6, "fail": -0.6, "high": 0.6,
    "medium": 0.0, "low": -0.6, "happy": 0.7, "sad": -0.7, "angry": -0.8, "one": -1.0, "two": -0.5,
    "three": 0.0, "four": 0.5, "five": 1.0, "Yes": 0.7, "No": -0.7, "True": 0.7, "False": -0.7,
    "Positive": 0.75, "Negative": -0.75, "Neutral": 0.0, "spam": None, "ham": None, "other": None,
    "unknown": None, "none": None,
}  # fmt: skip
"""Answers the backend may give unasked, with their place between bad and good."""

COMMON = frozenset(_words("terrible awful bad poor okay neutral average fine good great excellent negative positive"))
"""The most usual answers; the others are less likely unless the prompt offers them."""

# Numerals say nothing in a text: "one digit", "two weeks".
_NUMERALS = frozenset(_words("one two three four five"))
VALENCE: dict[str, float] = {
    word.lower(): value for word, value in ANSWERS.items() if value is not None and word not in _NUMERALS
}
VALENCE.update(dict.fromkeys(_words(
    "love loved loves lovely wonderful fantastic awesome superb outstanding delicious brilliant "
    "perfectly favorite favourite beautiful impressed impressive flawless incredible delightful "
    "exceptional gem stellar 😍 ❤ 🥰 🤩 💯"), 1.0))  # fmt: skip
VALENCE.update(dict.fromkeys(_words(
    "like liked likes enjoy enjoyed enjoyable friendly fresh tasty clean helpful quick fast fun "
    "pleasant pleased satisfied recommend recommended works worked easy useful sturdy reliable solid "
    "comfortable cheap affordable smooth worth glad cool sharp clear attentive cozy generous handy "
    "easier simple crisp durable powerful versatile convenient better well terrific gorgeous "
    "happy 👍 🙂 😀 😊 😋 🎉"), 0.6))  # fmt: skip
VALENCE.update(dict.fromkeys(_words(
    "slow dirty cold rude bland overpriced expensive broke broken problem problems issue issues "
    "disappointed disappointment lacking lacks weak noisy loud cheaply flimsy hard difficult wait "
    "waited waiting stale dry greasy salty unfortunately annoying confusing unhappy return returned "
    "wrong missing boring difficulty lack complaint complaints complain cannot flaw flaws "
    "defect poorly bug bugs crash crashes sadly trouble drawback drawbacks downside cheaper short "
    "stopped dead error freeze freezes skip skips limited unable however useless 👎 🙁 😕 😞"), -0.6))  # fmt: skip
VALENCE.update(dict.fromkeys(_words(
    "hate hated hates disgusting worse garbage junk trash waste wasted scam nasty inedible refund "
    "unacceptable ridiculous defective failed fails died crap sucks sucked ruined pathetic filthy "
    "never avoid 😡 🤮 🤬 😠"), -1.0))  # fmt: skip

NEGATIONS = frozenset(_words(
    "not no never nothing isn't wasn't aren't don't doesn't didn't can't couldn't won't wouldn't "
    "hardly without cannot"
))  # fmt: skip
INTENSIFIERS = frozenset(_words("very really so extremely absolutely totally incredibly too super"))

STOPWORDS = frozenset(_words(
    "a an and are as at be but by for from has have i if in into is it its of on or our out she he "
    "that the their them then there they this to was we were what when which who will with you your "
    "my me us am do did does had"
))  # fmt: skip

BACKGROUND = (
    "\n", " the", ".", ",", " a", " and", " I", " is", " it", " to", "\n\n", " of", " (", " in", "!",
    " that", " for", " this", " was", "-", " with", ":", '"', " but", " as",
)  # fmt: skip
"""Tokens that take a little probability everywhere, so that a top-20 is never empty."""
