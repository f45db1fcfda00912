"""A stand-in for `vllm serve`: models, adapters that are loaded and unloaded while it runs, and one answer for all.

Refusals are those of vLLM 0.33.0: 400 for a name that is taken and for too large a rank, 404 for a folder without an
adapter, 404 where the variable is not set that allows it, 401 without the key.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--max-lora-rank", type=int, default=16)
    parser.add_argument("--max-loras", type=int, default=1)
    return parser.parse_args()


GIVEN = arguments()
LOADED: dict[str, str] = {}
LIMIT = "LoRA rank {} is greater than max_lora_rank {}."


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self.refused():
            base = {"id": GIVEN.model, "root": GIVEN.model, "parent": None}
            adapters = [{"id": name, "root": path, "parent": GIVEN.model} for name, path in LOADED.items()]
            self.say(200, {"object": "list", "data": [base, *adapters]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.refused():
            return
        if self.path == "/v1/chat/completions":
            self.answer(body)
        elif os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") != "1":
            self.say(404, {"detail": "Not Found"})
        elif self.path == "/v1/load_lora_adapter":
            self.load(body["lora_name"], body["lora_path"])
        elif LOADED.pop(body["lora_name"], None) is None:
            self.complain(404, f"The lora adapter '{body['lora_name']}' cannot be found.")
        else:
            self.say(200, f"Success: LoRA adapter '{body['lora_name']}' removed successfully.")

    def load(self, name: str, path: str) -> None:
        config = Path(path) / "adapter_config.json"
        if name in LOADED:
            self.complain(400, f"The lora adapter '{name}' has already been loaded.")
        elif not config.exists():
            self.complain(404, f"Loading lora {name} failed: No adapter found for {path}")
        elif (rank := json.loads(config.read_text())["r"]) > GIVEN.max_lora_rank:
            self.complain(400, LIMIT.format(rank, GIVEN.max_lora_rank))
        else:
            LOADED[name] = path
            self.say(200, f"Success: LoRA adapter '{name}' added successfully.")

    def answer(self, body: dict[str, Any]) -> None:
        if body["model"] not in (*LOADED, GIVEN.model):
            self.complain(404, f"The model `{body['model']}` does not exist.")
            return
        choice = {"index": 0, "message": {"role": "assistant", "content": "5"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        self.say(200, {"object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage})

    def refused(self) -> bool:
        key = os.environ.get("VLLM_API_KEY")
        if key and self.headers.get("Authorization") != f"Bearer {key}":
            self.say(401, {"error": "Unauthorized"})
            return True
        return False

    def complain(self, status: int, message: str) -> None:
        self.say(status, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}})

    def say(self, status: int, body: object) -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *said: Any) -> None:
        pass


if __name__ == "__main__":
    if fault := os.environ.get("STAND_IN_FAULT"):
        sys.exit(f"ValueError: {fault}")
    with ThreadingHTTPServer((GIVEN.host, GIVEN.port), Handler) as server:
        server.serve_forever()
