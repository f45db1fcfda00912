"""What a technique relies on when it reads label probabilities from the deterministic backend."""

from __future__ import annotations

import math

import openai

EXAMPLES = (
    "Review: it broke\nRating: terrible\n\nReview: it works\nRating: okay\n\n"
    "Review: lovely\nRating: great value\n\nReview: superb\nRating: great\n\n"
)
LABELS = ["terrible", "okay", "great", "great value"]


def next_tokens(client: openai.OpenAI, prompt: str, model: str = "stars") -> dict[str, float]:
    answer = client.completions.create(model=model, prompt=prompt, temperature=0, max_tokens=1, logprobs=20)
    logprobs = answer.choices[0].logprobs
    if logprobs is None or not logprobs.top_logprobs:
        return {}
    return logprobs.top_logprobs[0]


def pieces(client: openai.OpenAI, text: str) -> list[str]:
    root = str(client.base_url).removesuffix("/v1/")
    answer = client.post(root + "/tokenize", body={"model": "stars", "prompt": text}, cast_to=dict[str, object])
    listed = answer["token_strs"]
    assert isinstance(listed, list)
    return listed


def walk(client: openai.OpenAI, prompt: str, label: str) -> float:
    total = 0.0
    for piece in pieces(client, " " + label):
        total += next_tokens(client, prompt)[piece]
        prompt += piece
    return total


def test_a_label_of_several_tokens_can_be_walked(client: openai.OpenAI) -> None:
    prompt = f"{EXAMPLES}Review: awful, a waste of money\nRating:"
    first = next_tokens(client, prompt)
    rest = next_tokens(client, prompt + " terrib")
    assert max(first, key=lambda token: first[token]) == " terrib"
    assert rest["le"] > math.log(0.9)


def test_the_walked_probabilities_of_all_labels_are_nearly_everything(client: openai.OpenAI) -> None:
    prompt = f"{EXAMPLES}Review: a camera\nRating:"
    # `great` begins `great value`: walking it gives the two together.
    walked = {label: math.exp(walk(client, prompt, label)) for label in LABELS}
    assert walked["great value"] < walked["great"]
    assert 0.7 < walked["terrible"] + walked["okay"] + walked["great"] <= 1


def test_a_word_begun_in_its_middle_is_continued(client: openai.OpenAI) -> None:
    rest = next_tokens(client, f"{EXAMPLES}Review: a camera\nRating: ter")
    assert max(rest, key=lambda token: rest[token]) == "rib"


def test_a_prompt_that_ends_with_a_space_goes_on_without_one(client: openai.OpenAI) -> None:
    found = next_tokens(client, f"{EXAMPLES}Review: superb, love it\nRating: ")
    assert max(found, key=lambda token: found[token]) == "great"


def test_kind_words_get_more_stars_than_harsh_ones(client: openai.OpenAI) -> None:
    def expected(text: str) -> float:
        found = next_tokens(client, f"Review: dull\nStars: 2\n\nReview: {text}\nStars:")
        weights = {star: math.exp(found.get(f" {star}", -20)) for star in range(1, 6)}
        return sum(star * weight for star, weight in weights.items()) / sum(weights.values())

    harsh, plain, kind = expected("terrible, it broke"), expected("it is a camera"), expected("I love it, great")
    assert harsh < plain < kind


def test_different_texts_get_different_probabilities(client: openai.OpenAI) -> None:
    found = {next_tokens(client, f"Review: the camera number {i}\nStars:").get(" 3", 0.0) for i in range(20)}
    assert len(found) > 15


def test_listed_labels_are_what_it_answers(client: openai.OpenAI) -> None:
    for i in range(10):
        answer = client.chat.completions.create(
            model="stars",
            messages=[
                {"role": "system", "content": "Answer with one of: billing, technical, sales. Nothing else."},
                {"role": "user", "content": f"Ticket {i}: where do I find it?"},
            ],
            temperature=0,
            max_tokens=8,
        )
        assert answer.choices[0].message.content in {"billing", "technical", "sales"}


def test_letters_that_code_labels_follow_what_they_stand_for(client: openai.OpenAI) -> None:
    question = "A) excellent\nB) terrible\n\nReview: awful, it broke\nAnswer with the letter:"
    answer = client.chat.completions.create(
        model="stars", messages=[{"role": "user", "content": question}], temperature=0, max_tokens=2
    )
    assert answer.choices[0].message.content == "B"


def test_another_salt_is_another_model(client: openai.OpenAI) -> None:
    prompt = "Review: a camera\nStars:"
    assert next_tokens(client, prompt) != next_tokens(client, prompt, "other-weights")
