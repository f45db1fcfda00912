"""Words that negate, and whether a sentence denies the label it names, in the languages models answer in most."""

from __future__ import annotations

import re

__all__ = ["is_denied", "negations"]

NEAR = 120
"""Characters before and after a label that are looked at."""

MOST_BETWEEN = 6
"""Words that may stand between a negation and the label it denies."""

NEGATIONS = r"""
    not|no|never|none|neither|nor|nothing|nobody|nowhere\s+near|cannot|hardly|scarcely|barely|rarely|seldom|without|
    unlikely|lacks?|lacking|isnt|arent|wasnt|werent|doesnt|dont|didnt|wont|wouldnt|cant|couldnt|shouldnt|aint|
    far\s+from|anything\s+but|rather\s+than|instead\s+of|other\s+than|opposed\s+to|opposite\s+of|by\s+no\s+means|
    rules?\s+out|ruled\s+out|fail(?:s|ed)?\s+to|doubt(?:s|ful)?|too\s+\w+\s+to\s+be|(?:less|lower)\s+than|short\s+of|
    (?:wrong|false|incorrect|inaccurate|mistake)\s+to|
    alles\s+andere\s+als|weit\s+entfernt|tout\s+sauf|loin|todo\s+menos|lejos|tutt['’]altro\s+che|lontano|tudo\s+menos|longe|allesbehalve|далеко|
    nicht|kein(?:e[nmrs]?)?|nie|niemals|weder|keineswegs|keinesfalls|ohne|kaum|(?<!ein\s)wenig|
    ne|pas|jamais|aucune?|aucunement|sans|nullement|ni|guère|(?<!un\s)peu|à\s+peine|
    nunca|jam[aá]s|tampoco|ning[uú]na?|sin|nada|en\s+absoluto|apenas|(?<!un\s)poco|
    non|mai|n[eé]|neanche|nemmeno|nessuna?|senza|niente|affatto|per\s+nulla|
    n[aã]o|nem|sem|nenhuma?|de\s+forma\s+alguma|(?<!um\s)pouco|
    niet|geen|nooit|zonder|allerminst|nauwelijks|inte|ej|icke|aldrig|ingen|inget|ikke|aldri|ei|ikinä|eiv[aä]t|
    niema|nigdy|nijak|není|nejde|nikdy|brak|bez|nu|nici|nem|nincs|soha|
    değil|asla|hiç|tidak|bukan|không|chẳng|
    не|нет|ни|никогда|никак|вовсе|без|отнюдь|вряд\s+ли|едва\s+ли|нельзя|ні|немає|ніколи|няма|није|
    δεν|δε|μη|μην|όχι|ποτέ|χωρίς|
    ليس|ليست|لا|غير|لم|لن|بدون|לא|אינו|אינה|אין|नहीं|नही
"""
WITHOUT_SPACES = (
    r"不(?![仅僅但只错錯])|[没沒](?![错錯])|非(?!常)|[無无](?![疑論论])|未(?![来來])|缺乏|[难難]以|很[难難]"
    r"|ない|なく|ません|아니|않|안\s|못|ไม่|มิใช่"
)
LESS = re.compile(r"(?<!no\s)\b(?:less|(?<!at\s)least|insufficiently)[\s\"'“‘*_`]*$", re.I)
"""What denies a label that follows at once, but not what comes later."""

NEGATION = re.compile(rf"(?<![\w'’-])(?:{NEGATIONS})(?![\w-])|n['’]t(?!\w)|{WITHOUT_SPACES}", re.I | re.X)

NEGATING_WORDS = frozenset(word for word in re.split(r"[|\s]+", NEGATIONS) if re.fullmatch(r"[^\\()\[\]?]+", word))
"""Those of the above that are one word with one spelling."""

WORDS = re.compile(r"[^\s!-/:-@\[-`{-~“”‘«»…।]+")
NEGATING_SIGNS = re.compile(WITHOUT_SPACES)

BREAK = re.compile(
    r"""[.;:!?。！？；：\n()\[\]"“”„«»|=]|(?<!\w)[-–—]{1,3}(?!\w)|[→⇒]|\s[–—]\s|[,،、，](?!\s*(?:by|in|at|under)\s+(?:any|no|all)\b)
    |(?<!\w)(?:(?<!anything\s)but|however|so|therefore|thus|hence|because|since|yet|though|although|while|still|which|indicat(?:es|ing)|
    mak(?:es|ing)|suggest(?:s|ing)|impl(?:ies|ying)|show(?:s|ing)|express(?:es|ing)|(?<!no\s)means|meaning|
    and(?=\s+(?:it|is|the|this|that|i|so|overall|was|has|sounds?|seems?|reads?|very|clearly|gives?|gave|rate[sd]?|would)\b)|
    sondern|aber|daher|also|weil|und(?=\s+(?:ist|es|das|die|der|so)\b)|mais|donc|car|et(?=\s+(?:est|c|le|la)\b)|
    sino|pero|porque|mas|porém|ma|bensì|perché|quindi|maar|dus|men|но|а|поэтому|потому)(?!\w)|而是|但是|所以|因此|而且|ので|から|ため""",
    re.I | re.X,
)
"""Where the reach of a negation ends."""

ASIDE = re.compile(r"(\bnot|n['’]t), [^,]{1,40}, ", re.I)
"""It is not, by any stretch, positive."""

AFFIRMED = re.compile(
    r"""\b(?:no|without|beyond|not\s+in)\s+(?:any\s+|an?\s+)?(?:doubt|question|reservations?)\b(?:\s+(?:that|about\s+it))?
    |\bnot\s+(?:only|just|merely|simply)\b|\bnothing\s+(?:but|if\s+not|short\s+of|other\s+than)\b|\bnone\s+other\s+than\b
    |\b(?:can(?:\s?not|['’]t)|could(?:\s+not|n['’]t))\s+(?:be|get|have\s+been)\s+(?:any\s+)?more\b|\bnever\s+(?:been\s+)?(?:so|more)\b
    |\bno\s+(?:less|other(?:\s+\w+)?)\s+than\b|(?:\bnot|\bnever|n['’]t)\s+hesitate\s+to\b|\b(?:no|without(?:\s+an?y?)?)\s+(?:\w+['’]s\s+)?hesitation\b
    |\b(?:can(?:\s?not|['’]t)|could(?:\s+not|n['’]t))\s+(?:go\s+wrong\s+with|wait)\b
    |(?:\b(?:can)?not|\bnever|\bhardly|n['’]t)\s+(?:\w+\s+){0,3}?anything\s+(?:but|other\s+than)\b
    |\bnicht\s+z[oö]gern|\bohne\s+zu\s+z[oö]gern\b
    |\bsans\s+h[eé]sit\w+|\bsin\s+dudar(?:lo)?\b|\bsenza\s+esita\w+|\bsem\s+hesita\w+
    |毫[无無]疑[问問]|間違いなく|疑いなく|文句なく|問題なく|申し分なく|의심의\s*여지\s*없이|틀림없이|\bnicht\s+nur\b|\bpas\s+seulement\b|\bno\s+s[oó]lo\b|\bnon\s+solo\b|\bsans\s+(?:aucun\s+)?doute\b
    |\bsin\s+duda\b|\bsenza\s+dubbio\b|\bsem\s+d[uú]vida\b|\bohne\s+zweifel\b|\bне\s+только\b|\bбез\s+сомнения\b""",
    re.I | re.X,
)
"""Phrases that hold a negation and deny nothing."""

NOT_AFTER = (
    r"(?:not|never|hardly|wrong|incorrect|inaccurate|false|ruled\s+out|nicht|keine?|falsch|pas|faux|non|n[aã]o|niet|inte"
    r"|ikke|не)"
)
AFTER = re.compile(
    rf"""[\s"'”’»*_`)]{{0,3}}(?:
      \s*(?:(?:as\s+)?(?:an?\s+|the\s+)?(?:label|sentiment|review|rating|score|class|category|answer|stars?|one)\s+)?
      (?:(?:it|this|that|he|she|they)\s+)?
      (?:(?:is|was|are|were|does|do|did|would|could|should|has|have)n(?:['’]t|ot)(?!\w)
        |(?:is|was|are|were|does|do|did|would|could|should|seems?|must|ist|w[aä]re|est|es|è|é|são|er|är)\b\s*(?:\w+\s+){{0,3}}?{NOT_AFTER}\b
        |(?:can\s?not|can['’]t|won['’]t)\b)
      |\s*\?\s*(?:no|not|nope|never|hardly|nein|nicht|non|não|нет|nie)\b
      |\s*[=:]\s*(?:false|no|falsch|faux|non|нет|0(?:\.0+)?\s*%?)(?![\w.])
      |\s*(?:değil|नहीं|नही|nicht\b|pas\b)
      |[^\s。、,.!！?？]{{0,6}}(?:ではな|でな|じゃな|くな|ない|ません|아니|아닙|아닌|않|지\s?못)
      |\s*(?:이|가|은|는|하지|적이지)\s*(?:아니|아닙|아닌|않)
    )""",
    re.I | re.X,
)


def negations(text: str) -> int:
    """How many words negate something: a count for statistics over many texts, 30 times as quick as `is_denied`.

    Examples:
        >>> negations("It didn't work, and nobody cared. No, never again!"), negations("不好吃")
        (4, 1)
    """
    lowered = text.replace("’", "'").lower()
    found = lowered.count("n't") + sum(map(NEGATING_WORDS.__contains__, WORDS.findall(lowered)))
    return found if text.isascii() else found + len(NEGATING_SIGNS.findall(text))


def is_denied(text: str, begin: int, end: int) -> bool:
    """Whether the label at these places is negated: "not at all good", "far from good", "gut ist das nicht".

    Examples:
        >>> [is_denied(said, said.index("good"), said.index("good") + 4) for said in (
        ...     "This is not at all good", "No complaints, good", "good? No", "nothing but good")]
        [True, False, True, False]
    """
    before = AFFIRMED.sub(" ", ASIDE.sub(r"\1 ", text[max(0, begin - NEAR) : begin]))
    clause = before[max((mark.end() for mark in BREAK.finditer(before)), default=0) :]
    if LESS.search(clause) is not None:
        return True
    negation = max((mark.end() for mark in NEGATION.finditer(clause)), default=None)
    if negation is not None and len(clause[negation:].split()) <= MOST_BETWEEN:
        return True
    return AFTER.match(text, end, min(len(text), end + NEAR)) is not None
