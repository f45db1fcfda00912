"""Proposes prompts with other few-shot examples: more, fewer, another draw, one with rows that were answered wrong.

What is proposed is a `prompt.examples` block of count and seed, so that a fit on the training table, wherever that is
done, shows the examples that were measured. They are drawn from all training rows; a row that is itself an example is
asked without it (`PromptAdapter.request`), so no row is scored on an answer it was shown.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar

from luthier.improving.instructions import shown_text
from luthier.improving.records import MeasuredPrompt, PromptSearch, Proposal
from luthier.improving.telling_rows import wrong_positions
from luthier.providers.tokens import text_units
from luthier.tasks.spellings import same_text
from luthier.techniques import Prompt
from luthier.techniques.prompt.adapter import adapter_for
from luthier.techniques.prompt.few_shot import draw_examples, example_pool

__all__ = ["ExampleChoices"]

MOST_SHOWN = 40
"""Examples; each is paid for with every row."""

MOST_CHARACTERS = 20_000
"""Of all examples together, about 5,000 tokens."""

ONE_OF_EACH = 32
"""Up to this many labels the first count tried is one example of each."""

LONG_TEXT = 1000
"""Characters of a middling text from which on only the shorter half of the texts is shown."""

DRAWS, DRAWN_ROWS = 200, 2_000_000
"""Draws among which the one with the most wrong rows is looked for; fewer where the table is long."""

WORTH_SAYING = 20
"""Tokens a row by which two prompts differ; draws of equally many examples differ by fewer."""

LEAST_WRONG = 1 / 3
"""Share of the examples that have to be wrong rows for a draw to be proposed as one of them."""


class ExampleChoices:
    """Changes the examples of the best prompt so far: their number first, then the draw; asks no writer."""

    name: ClassVar[str] = "examples"
    needs_writer: ClassVar[bool] = False

    def propose(self, search: PromptSearch, count: int) -> Sequence[Proposal]:
        """At most `count` prompts that show other examples than those measured."""
        best = search.measured[0]
        if best.spec.prompt.examples.select == "searched":
            search.note(f"{best.spec.name} searches for examples itself (select: searched), so no others are proposed.")
            return []
        choices = _Choices(search, best)
        known = {choices.shown(one.spec) for one in search.measured}
        found: list[Proposal] = []
        for proposal in choices.ideas():
            if len(found) == count:
                break
            shown = choices.shown(proposal.spec)
            if shown not in known:
                known.add(shown)
                found.append(proposal)
        return found


@dataclass(frozen=True)
class _Choices:
    """The examples that a prompt could show."""

    search: PromptSearch
    best: MeasuredPrompt

    def ideas(self) -> Iterator[Proposal]:
        """Prompts in the order they are worth trying; endless only as far as there are different draws."""
        spec, present = self.best.spec, self.best.spec.prompt.examples
        counts = [count for count in self._counts() if 0 < count <= self._most]
        usual = present.most or (counts[0] if counts else 0)
        if usual > len(self._pool):
            usual = 0
        nearest = present.select == "nearest"
        draws = self._draws(usual if present.select != "nearest" else 0)
        if counts:
            yield self._with(counts[0], present.seed)
        if not nearest:
            yield from self._with_wrong_rows(usual)
        yield from islice(draws, 1)
        for count in counts[1:]:
            yield self._with(count, present.seed)
        if present.most and not nearest:
            yield Proposal(
                spec.with_settings({"prompt.examples": 0}), spec.name, f"no examples in place of {present.most}"
            )
        yield from draws

    def shown(self, spec: Prompt) -> tuple[object, ...]:
        """What tells two prompts apart: their words and the rows they show."""
        examples = spec.prompt.examples
        drawn = examples.select in ("balanced", "random")
        return (same_text(shown_text(spec)), self._positions(spec) if drawn else repr(examples))

    def _counts(self) -> list[int]:
        present = self.best.spec.prompt.examples.most
        if present:
            return [2 * present, present // 2]
        labels = len(self.search.start.task.labels)
        first = 4 if not labels else labels if labels <= ONE_OF_EACH else ONE_OF_EACH // 2
        return [first, 2 * first, max(1, first // 2)]

    def _draws(self, count: int) -> Iterator[Proposal]:
        """The same number drawn with other seeds."""
        own = self._seed
        for seed in range(own + 1, own + 1 + DRAWS) if count else ():
            yield self._with(count, seed, f"{count} examples drawn anew (seed {seed})")

    def _with_wrong_rows(self, count: int) -> Iterator[Proposal]:
        """The draw that shows the most rows the best prompt answered wrong, if they are many."""
        spec, rows = self._like(count, None), self.search.train
        wrong = {same_text(self.search.rows.texts[place]) for place in wrong_positions(self.best, self.search.rows)}
        hard = {place for place in self._pool if same_text(rows.texts[place]) in wrong}
        if not count or len(hard) < count * LEAST_WRONG:
            return
        seeds = range(self._seed + 1, self._seed + 1 + max(20, min(DRAWS, DRAWN_ROWS // len(self._pool))))
        held = {seed: len(hard.intersection(draw_examples(spec, rows, self._pool, count, seed))) for seed in seeds}
        seed = max(seeds, key=lambda one: (held[one], -one))
        if held[seed] >= count * LEAST_WRONG:
            yield self._with(count, seed, f"{count} examples, {held[seed]} of them rows answered wrong (seed {seed})")

    def _with(self, count: int, seed: int | None, how: str = "") -> Proposal:
        spec, before = self._like(count, seed), self.best.spec.prompt.examples.most
        named = how or f"{count} examples in place of {before or 'none'}"
        more = self._tokens(spec) - self._tokens(self.best.spec)
        if abs(more) >= WORTH_SAYING:
            named += f": about {abs(more):,} tokens a row {'more' if more > 0 else 'fewer'}"
        return Proposal(spec, self.best.spec.name, named)

    def _like(self, count: int, seed: int | None) -> Prompt:
        settings: dict[str, Any] = {"prompt.examples.count": count}
        if seed is not None:
            settings["prompt.examples.seed"] = seed
        if self._shorter is not None:
            settings["prompt.examples.max_characters"] = self._shorter
        return self.best.spec.with_settings(settings)

    @property
    def _seed(self) -> int:
        return self.best.spec.examples_seed

    @cached_property
    def _lengths(self) -> list[int]:
        texts = self.search.train.texts
        return [len(str(texts[place])) for place in self._pool_of(self.best.spec)] or [0]

    @cached_property
    def _shorter(self) -> int | None:
        """The longest text to show where texts are long and the prompt sets no limit itself."""
        examples = self.best.spec.prompt.examples
        middle = int(statistics.median(self._lengths))
        return -(-middle // 100) * 100 if examples.max_characters is None and middle > LONG_TEXT else None

    @cached_property
    def _pool(self) -> list[int]:
        return self._pool_of(self._like(1, None))

    @cached_property
    def _most(self) -> int:
        """The most examples to show: of a small table a quarter, and of long texts few."""
        texts = self.search.train.texts
        length = statistics.median([len(str(texts[place])) for place in self._pool] or [1])
        return min(MOST_SHOWN, len(self._pool) // 4, int(MOST_CHARACTERS // max(length, 1)))

    def _positions(self, spec: Prompt) -> tuple[int, ...]:
        examples, pool = spec.prompt.examples, self._pool_of(spec)
        if not 0 < examples.most <= len(pool):
            return ()
        return tuple(draw_examples(spec, self.search.train, pool, examples.most, spec.examples_seed))

    def _pool_of(self, spec: Prompt) -> list[int]:
        limit = spec.prompt.examples.max_characters
        if limit not in self._pools:
            self._pools[limit] = example_pool(spec, self.search.train)
        return self._pools[limit]

    @cached_property
    def _pools(self) -> dict[int | None, list[int]]:
        """Rows that may be shown, by the most characters of a text: going through a long table takes a while."""
        return {}

    def _tokens(self, spec: Prompt) -> int:
        """About the tokens of the examples; those of nearest ones differ from row to row, and are taken as middling."""
        adapter = adapter_for(spec, {"examples": spec.kept(self.search.train, self._positions(spec))})
        return round(sum(text_units(one.user) + text_units(one.answer) for one in adapter.examples) / 4)
