"""Uses both limits of a service, on requests and on tokens, that change halfway.

    python benchmarks/rate_limit.py [--seconds 240] [--cases told-keeps untold-keeps ...]

The upstream runs in a process of its own. An account has two buckets that refill continuously: of requests (a burst of
one second) and of tokens (a burst of four). A request is charged when it is admitted: a token for four characters of
the prompt, and its `max_tokens`. Halfway the scarce limit becomes the other one: first requests leave less room (600 a
minute), then tokens do. In a case that is `told` every reply has `x-ratelimit-*` headers; `untold`, a 429 says which of
the two ran out, and nothing else. In a case that `refunds`, unused tokens are given back with the answer; one that
`keeps` does not. In a case of `two`, two processes use one account. All cases run at the same time, each on an account
of its own. The engine is told nothing beforehand.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter

from upstream import serve_application

CASES = ("told-keeps", "told-refunds", "untold-keeps", "untold-refunds", "told-keeps-two", "untold-keeps-two")
LATENCY_SECONDS = 0.3
REQUESTS_A_SECOND = (10.0, 20.0)
TOKENS_A_SECOND = (5000.0, 1500.0)
MAX_TOKENS = 40


class Allowance:
    """What an account allows of requests or tokens."""

    def __init__(self, rates: tuple[float, float], burst_seconds: float) -> None:
        self.rates, self.burst_seconds = rates, burst_seconds
        self.rate = rates[0]
        self.level = self.rate * burst_seconds
        self.at = time.monotonic()
        self.given = self.allowed = 0.0

    @property
    def burst(self) -> float:
        return self.rate * self.burst_seconds

    def refill(self, now: float) -> None:
        self.allowed += (now - self.at) * self.rate
        self.level = min(self.burst, self.level + (now - self.at) * self.rate)
        self.at = now

    def take(self, amount: float) -> None:
        self.given += amount
        self.level = min(self.burst, self.level - amount)


class Account:
    def __init__(self, case: str, half_seconds: float) -> None:
        self.told, self.refunds = case.startswith("told"), "refunds" in case
        self.began = time.monotonic()
        self.half_seconds = half_seconds
        self.requests = Allowance(REQUESTS_A_SECOND, 1.0)
        self.tokens = Allowance(TOKENS_A_SECOND, 4.0)
        self.statuses: Counter[int] = Counter()
        self.by_client: Counter[str] = Counter()
        self.halves: list[list[tuple[float, float]]] = []

    def refill(self) -> None:
        now = time.monotonic()
        if not self.halves and now >= self.began + self.half_seconds:
            self.close_half()
            for allowance in (self.requests, self.tokens):
                allowance.rate = allowance.rates[1]
                allowance.level = min(allowance.level, allowance.burst)
        for allowance in (self.requests, self.tokens):
            allowance.refill(now)

    def close_half(self) -> None:
        self.halves.append([(each.given, each.allowed) for each in (self.requests, self.tokens)])
        for each in (self.requests, self.tokens):
            each.given = each.allowed = 0.0

    def admit(self, charge: float) -> tuple[int, dict[str, str], str]:
        self.refill()
        scarce, wait = "", 0.0
        for what, allowance, amount in (("requests", self.requests, 1.0), ("tokens", self.tokens, charge)):
            if allowance.level < amount:
                scarce, wait = what, max(wait, (amount - allowance.level) / allowance.rate)
        if not scarce:
            self.requests.take(1)
            self.tokens.take(charge)
        headers = {"retry-after-ms": str(math.ceil(1000 * wait))} if scarce else {}
        for what, allowance in (("requests", self.requests), ("tokens", self.tokens)):
            if self.told:
                headers[f"x-ratelimit-limit-{what}"] = f"{60 * allowance.rate:.0f}"
                headers[f"x-ratelimit-remaining-{what}"] = f"{max(0, math.floor(allowance.level))}"
                full_in = (allowance.burst - allowance.level) / allowance.rate
                headers[f"x-ratelimit-reset-{what}"] = f"{full_in:.3f}s"
        return (429 if scarce else 200), headers, scarce


def serve(half_seconds: float) -> None:
    from aiohttp import web

    accounts: dict[str, Account] = {}
    chance = random.Random(7)

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        case = request.match_info["case"]
        account = accounts.setdefault(case, Account(case, half_seconds))
        prompt = sum(len(message["content"]) for message in body["messages"]) / 4
        status, headers, scarce = account.admit(prompt + body["max_tokens"])
        account.statuses[status] += 1
        if status == 429:
            # As OpenAI words it; its `type` names what ran out.
            said = {
                "message": f"Rate limit reached on {scarce} per min.",
                "type": scarce,
                "code": "rate_limit_exceeded",
            }
            return web.json_response({"error": said}, status=429, headers=headers)
        account.by_client[request.match_info["client"]] += 1
        await asyncio.sleep(LATENCY_SECONDS)
        used = chance.randrange(1, body["max_tokens"])
        if account.refunds:
            account.tokens.take(used - body["max_tokens"])
        message = {"role": "assistant", "content": "4", "refusal": None}
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {
                "prompt_tokens": int(prompt),
                "completion_tokens": used,
                "total_tokens": int(prompt) + used,
            },
        }
        return web.json_response(answer, headers=headers)

    async def told(request: web.Request) -> web.Response:
        for account in accounts.values():
            account.refill()
            account.close_half()
        return web.json_response(
            {
                case: {"halves": account.halves, "statuses": account.statuses, "clients": account.by_client}
                for case, account in accounts.items()
            }
        )

    application = web.Application()
    application.router.add_post("/{case}/{client}/v1/chat/completions", chat)
    application.router.add_get("/told", told)
    serve_application(application)


def ask(url: str, seconds: float) -> None:
    from luthier.endpoints import Engine, Journal, Request, compatible

    chance = random.Random(url)
    engine = Engine(Journal.in_memory())
    requests = [
        Request(
            "chat",
            {
                "messages": [{"role": "user", "content": f"{row} {'x' * int(240 * math.exp(chance.gauss(0, 0.5)))}"}],
                "max_tokens": MAX_TOKENS,
            },
        )
        for row in range(int(seconds * max(REQUESTS_A_SECOND)))
    ]
    endpoint = compatible("m", url)
    threading.Timer(seconds, engine.stop).start()
    try:
        engine.run(requests, endpoint)
    finally:
        for moment in engine.report.history.get(endpoint.label, []):
            rate = "" if moment.requests_per_minute is None else f", {moment.requests_per_minute:.0f} requests a minute"
            print(f"{moment.seconds:8.2f} s  {moment.window} in flight{rate}: {moment.what}")
        engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--history", action="store_true", help="print what each limiter did")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.seconds / 2)
        return
    if given.client:
        ask(given.client, given.seconds)
        return
    me = [sys.executable, __file__, "--seconds", str(given.seconds)]
    upstream = subprocess.Popen([*me, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert upstream.stdout is not None
        address = f"http://127.0.0.1:{int(upstream.stdout.readline())}"
        clients = [(case, client) for case in given.cases for client in ("ab" if case.endswith("two") else "a")]
        running = {
            (case, client): subprocess.Popen(
                [*me, "--client", f"{address}/{case}/{client}/v1"], stdout=subprocess.PIPE, text=True
            )
            for case, client in clients
        }
        said = {which: process.communicate()[0] for which, process in running.items()}
        with urllib.request.urlopen(f"{address}/told") as reply:
            told = json.load(reply)
    finally:
        upstream.terminate()
        upstream.wait()
    print(
        f"{given.seconds:g} s; {REQUESTS_A_SECOND[0]:g}, then {REQUESTS_A_SECOND[1]:g} requests a second; "
        f"{TOKENS_A_SECOND[0]:g}, then {TOKENS_A_SECOND[1]:g} tokens a second; the scarcer one counts"
    )
    print(f"{'case':18}{'first half':>12}{'second half':>13}{'answered 429':>14}  answers of each process")
    for case in given.cases:
        # Of the limit that leaves less room.
        shares = [max(part / allowed for part, allowed in half) for half in told[case]["halves"]]
        accepted, refused = (told[case]["statuses"].get(status, 0) for status in ("200", "429"))
        each = " ".join(str(count) for _, count in sorted(told[case]["clients"].items()))
        pushed = f"{100 * refused / (accepted + refused):.2f}%"
        print(f"{case:18}{shares[0]:>12.3f}{shares[1]:>13.3f}{pushed:>14}  {each}")
    if given.history:
        for (case, client), text in said.items():
            print(f"\n{case} {client}\n{text}", end="")


if __name__ == "__main__":
    main()
