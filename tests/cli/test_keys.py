"""`luthier keys`: what is printed where, and what a person's mistakes say."""

from __future__ import annotations

import json

from luthier.serving.keys import KeyFile
from tests.cli.conftest import Run


def test_a_key_is_printed_once_and_alone_on_standard_output(run: Run) -> None:
    ended = run("keys", "add", "keys", "app")
    assert ended.code == 0
    key = ended.out.removesuffix("\n")
    assert KeyFile("keys").label_of(key) == "app"
    assert key not in ended.err
    assert "luthier serve MODEL_URI --keys keys" in ended.err


def test_keys_are_listed_without_their_hashes(run: Run) -> None:
    run("keys", "add", "keys", "app")
    run("keys", "add", "keys", "nightly")
    listed = run("keys", "list", "keys").out
    assert [line.split()[1] for line in listed.splitlines()] == ["app", "nightly"]
    assert KeyFile("keys").lines()[0].digest.hex() not in listed
    document = json.loads(run("keys", "list", "keys", "--json").out)
    assert [set(one) for one in document] == [{"label", "created"}] * 2


def test_a_revoked_key_is_let_in_no_more(run: Run) -> None:
    added = json.loads(run("keys", "add", "keys", "app", "--json").out)
    assert added["label"] == "app"
    ended = run("keys", "revoke", "keys", "app", "--json")
    assert json.loads(ended.out) == {"file": "keys", "revoked": "app", "left": []}
    assert "no key is left" in ended.err
    assert KeyFile("keys").label_of(added["key"]) is None


def test_mistakes_get_a_message_and_exit_code_2(run: Run) -> None:
    for words, said in (
        (("list", "keys"), "luthier keys add keys LABEL"),
        (("revoke", "keys", "app"), "luthier keys add keys LABEL"),
        (("add", "keys", "a b"), "1 to 64"),
        (("add", ".", "app"), "is a folder"),
    ):
        ended = run("keys", *words)
        assert (ended.code, ended.out) == (2, "")
        assert said in ended.err
