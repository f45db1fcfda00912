from __future__ import annotations

import pytest

from luthier.tasks.thoughts import spoken

CLOSED = [
    "<think>3</think>4",
    "<THINK>3</THINK>\n\n4",
    "<thinking>3</thinking>4",
    "<thought>3</thought>4",
    "<reasoning>3</reasoning>4",
    '<reasoning effort="low">3</reasoning>4',
    "<reflection>3</reflection>4",
    "<scratchpad>3</scratchpad>4",
    "<inner_monologue>3</inner_monologue>4",
    "<chain_of_thought>3</chain_of_thought>4",
    "[THINK]3[/THINK]4",
    "[think]3[/think]4",
    "\u25c1think\u25b73\u25c1/think\u25b74",
    "<seed:think>3</seed:think>4",
    "<|begin_of_thought|>3<|end_of_thought|><|begin_of_solution|>4<|end_of_solution|>",
    "<|START_THINKING|>3<|END_THINKING|><|START_RESPONSE|>4<|END_RESPONSE|>",
    "<\uff5cbegin\u2581of\u2581thinking\uff5c>3<\uff5cend\u2581of\u2581thinking\uff5c>4",
    "<|channel|>analysis<|message|>3<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>",
    "<|channel>thought\n3<channel|>4",
    "<unused94>thought\n3<unused95>4",
    "analysisWe have a 3 here.assistantfinal4",
    '<details type="reasoning" done="true">3</details>4',
    "3, I think</think>4",
    "3 or 2[/THINK]4",
    "<think>3? <think> No.</think>4",
    "<think>3</think>2? no</think>4",
    "4 <think>it was not a 3</think>",
    "<think/>4",
    "<longcat_think>3</longcat_think>4",
    "<antThinking>3</antThinking>4",
    "<planning>3</planning>4",
    "<|thought|>3<|endofthought|>4",
    "\u3010思考\u30113\u3010/思考\u30114",
    "&lt;think&gt;3&lt;/think&gt;4",
    "```thinking\n3\n```\n4",
    "analysis3assistantfinal4",
    "assistantfinal4",
    "<details><summary>Thoughts</summary>3</details>4",
]


@pytest.mark.parametrize("said", CLOSED)
def test_a_closed_thought_is_skipped(said: str) -> None:
    assert spoken(said) == "4"


@pytest.mark.parametrize(
    "said",
    [
        "<think>4",
        "<thinking>is it 4?",
        "[THINK]The writer gives 4",
        "\u25c1think\u25b74",
        "<seed:think>4",
        "<|begin_of_thought|>4",
        "<|START_THINKING|>4",
        "<|channel|>analysis<|message|>4<|end|>",
        "<|channel|>analysis<|message|>4",
        "analysisThe writer gives 4",
        "<think>3</think><think>4",
        "<scratchpad>4",
        "<think>4</think>",
    ],
)
def test_a_thought_that_is_all_there_is_leaves_nothing(said: str) -> None:
    assert spoken(said) == ""


@pytest.mark.parametrize("said", ["I think 4 <3", "a [reason] 4]", "<b>4</b>", "4 > 3 < 5", "[1] 4", "analysis: 4"])
def test_ordinary_words_and_brackets_are_no_thoughts(said: str) -> None:
    assert "4" in spoken(said)
