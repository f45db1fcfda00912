"""Replies that services are known to give, each told by what it means for the person who asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.providers.transport import Reply
from luthier.replies.failures import judge

LINES = Path(__file__).with_name("known_replies.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    "known", list(map(json.loads, LINES)), ids=lambda known: f"{known['service']}-{known['cause']}"
)
def test_a_known_reply_is_told_by_what_is_wrong(known: dict[str, Any]) -> None:
    reply = Reply(known["status"], {}, json.dumps(known["body"]).encode(), 0.1)
    verdict = judge(reply, operation=known["operation"])
    assert (verdict.kind, verdict.cause or verdict.suspected) == (known["kind"], known["cause"])
