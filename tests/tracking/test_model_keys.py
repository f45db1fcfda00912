"""The tag that says which model a run, a logged model or a version answers with, under whatever name."""

from __future__ import annotations

import pytest

from luthier.endpoints import Endpoint, azure, openai
from luthier.spec import Spec
from luthier.tasks.task import Task
from luthier.techniques import Baseline, FineTune, Prompt
from luthier.techniques.finetune import Tuned
from luthier.tracking.runs import TAGS, spec_tags

STARS = Task("stars", type="rating", labels=[1, 2, 3])
AZURE = "https://r.openai.azure.com"
BASE = "gpt-4.1-mini-2025-04-14"


def tuned(endpoint: Endpoint, model: str, base: str = BASE, step: int | None = None) -> Spec:
    result = Tuned(model=model, job="ftjob-1", base_model=base, checkpoint_step=step)
    return FineTune(STARS, "{{ text }}", answer="score", endpoint=endpoint).with_tuned(result)


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        (Prompt(STARS, "{{ text }}", endpoint=openai(BASE)), "openai/gpt-4.1-mini@2025-04-14"),
        (Prompt(STARS, "{{ text }}", endpoint=azure("gpt-35-turbo", AZURE)), "openai/gpt-3.5-turbo"),
        (Prompt(STARS, "{{ text }}", endpoint=azure("prod", AZURE)), None),
        (Baseline(STARS), None),
        (tuned(openai(BASE), f"ft:{BASE}:o:s:abc:ckpt-step-9", step=9), "openai/gpt-4.1-mini@2025-04-14#abc:9"),
        (tuned(azure("prod", AZURE), f"{BASE}.ft-0a1b-stars"), "openai/gpt-4.1-mini@2025-04-14#0a1b"),
        (tuned(azure("prod", AZURE), "ftchkpt-0a1b"), "openai/gpt-4.1-mini@2025-04-14#0a1b"),
        (
            tuned(Endpoint(provider="together", model="b"), "me/stars", "Qwen/Qwen2.5-7B-Instruct", 9),
            "alibaba/qwen2.5-7b-instruct#ftjob-1:9",
        ),
    ],
)
def test_a_recipe_is_tagged_with_the_key_of_the_model_that_answers(spec: Spec, key: str | None) -> None:
    assert spec_tags(spec).get(TAGS["model_key"]) == key
