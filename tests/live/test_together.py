"""What Together answers where it costs nothing: limits, an upload, a price, lists. Type: scripts/test -m live"""

from __future__ import annotations

import os

import pytest

from luthier.endpoints import Endpoint
from luthier.errors import EndpointError
from luthier.tuning.tuners.together import TogetherTuner
from luthier.tuning.tuners.tuner import Submission

pytestmark = pytest.mark.live

BASE = "meta-llama/Meta-Llama-3.1-8B-Instruct-Reference"
LINES = b'{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "5"}]}\n' * 10


@pytest.fixture
def tuner() -> TogetherTuner:
    if not os.environ.get("TOGETHER_API_KEY"):
        pytest.skip("set TOGETHER_API_KEY")
    return TogetherTuner(Endpoint(provider="together", model=BASE))


def test_the_limits_of_a_model_are_named_and_an_unknown_model_is_not_offered(tuner: TogetherTuner) -> None:
    tuner.admit(BASE)
    bounds = {one.name: (one.low, one.high) for one in tuner.hyperparameters(BASE)}
    assert all(
        high is not None for name, (_, high) in bounds.items() if name in ("epochs", "learning_rate", "lora_rank")
    )
    with pytest.raises(EndpointError, match="does not fine-tune"):
        tuner.admit("nobody/has-this")


def test_a_file_is_uploaded_once_and_its_job_is_priced(tuner: TogetherTuner) -> None:
    file = tuner.upload("luthier-live.jsonl", LINES)
    assert tuner.upload("luthier-live.jsonl", LINES) == file
    wanted = Submission(BASE, file, None, {"epochs": 2, "lora_rank": 8}, 7, None, "0123456789abcdef-1")
    usd = tuner.quote(wanted)
    assert usd is not None
    assert usd > 0


def test_jobs_and_endpoints_are_listed(tuner: TogetherTuner) -> None:
    assert isinstance(tuner.listed(), list)
    assert not tuner.is_deployed("luthier-made-by-nobody")
