from __future__ import annotations

import pytest

from luthier.tasks.labels.answers import LabelReader

READER = LabelReader({"negative": "negative", "neutral": "neutral", "positive": "positive"})

DENIED = [
    "This is not at all positive",
    "far from positive",
    "anything but positive",
    "hardly positive",
    "isn't positive",
    "isn’t really what I'd call positive",
    "never positive",
    "by no means positive",
    "neither good nor positive",
    "not happy or positive",
    "Das ist nicht positive",
    "kein positive Text",
    "keineswegs positive",
    "Ce n'est pas positive",
    "Ce n'est pas du tout positive",
    "no es positive",
    "no es nada positive",
    "non è positive",
    "não é positive",
    "это не positive",
    "это совсем не positive",
    "不是 positive",
    "不 positive",
    "positive ではない",
    "positive ではありません",
    "positive じゃない",
    "positive 하지 않다",
    "positive değil",
    "positive नहीं",
    "het is niet positive",
    "inte positive",
    "ikke positive",
    "nie jest positive",
    "it is not, by any stretch, positive",
    "positive it is not",
    "positive? No",
    "Is it positive? no",
    "positive: false",
    "positive is wrong",
    "positive is not the right label",
    "positive isn't right",
    "positiv positive ist das nicht",
    "I don't think that this is positive",
    "I am not sure if it is positive",
    "cannot be called positive",
    "can't call this positive",
    "nothing about it is positive",
    "nowhere near positive",
    "the opposite of positive",
    "unlikely to be positive",
    "less than positive",
    "without being positive",
    "doesn't sound positive",
    "dont think positive",
    "ليس positive",
    "לא positive",
    "không positive",
    "tidak positive",
    "δεν είναι positive",
    "nu este positive",
    "nem positive",
    "není positive",
    "ei ole positive",
    "It would be wrong to call this positive",
    "false to say positive",
    "not exactly positive",
    "not very positive",
    "**not** positive",
    '"not positive"',
    "aint positive",
    "Nope, positive it isn't",
    "nothing like positive",
    "short of positive",
    "I doubt it is positive",
    "I fail to see how it is positive",
    "too harsh to be positive",
    "somewhat less positive",
    "wenig positive",
    "en absoluto positive",
    "aucunement positive",
    "guère positive",
    "вряд ли positive",
    "not negative, positive",
    "I can't tell if it is negative, or positive",
    "It isn't neutral, negative, or positive",
    "positive? Well, it is not positive",
]

AFFIRMED = [
    "positive",
    "No complaints at all. positive",
    "positive, no complaints",
    "positive. Not a single complaint",
    "nothing but positive",
    "without a doubt positive",
    "no doubt positive",
    "not only good but positive",
    "It does not complain, so it is positive",
    "I see no problem and it is positive",
    "Not bad: positive",
    "The answer is positive.",
    "Sentiment: positive (not sarcastic)",
    "The customer did not like it which is positive",
    "couldn't be more positive",
    "never been so positive",
    "positive - not sarcastic",
    "Keine Beschwerden, also positive",
    "Ich habe nichts auszusetzen; positive",
    "positive. It is not sarcastic",
    '"positive"',
    "The review is positive because it does not complain",
    "positive with no complaints",
    "Even though it's not perfect, it's positive",
    "sans aucun doute positive",
    "positive sentiment",
    "The text has not changed but positive",
    "Nicht nur gut, sondern positive",
    "Noch positive",
    "point positive",
    "positive as it is not rude",
    "Label: positive",
    "not negative but positive",
    "positive, not negative",
    "positive (certainly not negative)",
    "definitely positive, not neutral or negative",
    "negative? no, positive",
    "The sentiment isn't negative. It is positive.",
    "neither negative nor neutral but positive",
    "no negative words, so positive",
    "Das ist nicht negative, sondern positive",
    "no es negative sino positive",
    "ce n'est pas negative mais positive",
    "не negative, а positive",
    "I would not hesitate to call this positive",
    "can't be anything but positive",
    "positive without hesitation",
    "no other label than positive fits",
    "un peu positive",
    "非常positive",
    "間違いなくpositive",
    "positive. It is not positive about the price",
    "not good → positive",
]


@pytest.mark.parametrize("said", DENIED)
def test_a_denied_label_is_no_label(said: str) -> None:
    found = READER.read(said)
    assert found.value is None
    assert "denies" in str(found.why)


@pytest.mark.parametrize("said", AFFIRMED)
def test_a_negation_of_something_else_denies_no_label(said: str) -> None:
    assert READER.read(said).value == "positive"


def test_a_label_may_hold_a_negation_itself() -> None:
    mails = LabelReader({"spam": "spam", "not spam": "ham"})
    assert mails.read("I would say it is not spam.").value == "ham"
    assert mails.read("This is not really spam").value is None
    answers = LabelReader({"yes": "yes", "no": "no", "not applicable": "n/a"})
    assert answers.read("The answer is no.").value == "no"
    assert answers.read("That is not applicable here").value == "n/a"
