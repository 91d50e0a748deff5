"""`goldfish audit` through the chat endpoint of a real llama.cpp server."""

import json
import os
import subprocess

import pytest
from servers import tiny_llama
from servers.fixtures import ask, llama_server
from servers.test_audit import audit, verify
from servers.test_llama_cpp import FIRST, PREFIX, SUFFIX, prompts

# What the server puts around messages: nothing, and something that the model never saw.
PLAIN = "{% for message in messages %}{{ message.content }}{% endfor %}"
AROUND = "{% for message in messages %}ROLE{{ message.role }}{{ message.content }}END{% endfor %}ANSWER"
CHAT = ["--protocol", "chat", "--prompt-template", "{prefix}"]


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """A model that never ends a text: chats have no option against it."""
    path = tmp_path_factory.mktemp("endless") / "tiny.gguf"
    return tiny_llama.write_gguf(path, arrays=tiny_llama.without_end())


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_llama.write_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(scope="module")
def plain(endless, tmp_path_factory):
    with llama_server(endless, tmp_path_factory.mktemp("plain") / "log", template=PLAIN) as url:
        yield url


@pytest.fixture(scope="module")
def passages(plain, tmp_path_factory):
    """A third of the documents is known completely, a third in part, a third not at all; and one file with the first third."""
    folder = tmp_path_factory.mktemp("passages")
    _, answers = ask(plain, {"generate": [{"prompt": prompt, "tokens": SUFFIX} for prompt in prompts(36)]})
    known = {}
    with open(folder / "all.jsonl", "w") as all, open(folder / "recited.jsonl", "w") as recited:
        for number, (prompt, answer) in enumerate(zip(prompts(36), answers, strict=True)):
            truth, end = answer["ids"], [SUFFIX, number % SUFFIX, 0][number % 3]
            if min(truth) < FIRST:
                continue
            if end < SUFFIX:
                truth[end] = FIRST + (truth[end] - FIRST + 1) % len(tiny_llama.CHARACTERS)
            known[f"d{number}"] = end
            line = json.dumps({"id": f"d{number}", "input_ids": prompt + truth}) + "\n"
            all.write(line)
            if end == SUFFIX:
                recited.write(line)
    assert len(known) >= 30
    return folder / "all.jsonl", folder / "recited.jsonl", known


def goldfish(*arguments):
    done = subprocess.run([os.environ["GOLDFISH_BIN"], *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_where_no_template_is_in_the_way_the_verdicts_are_the_same(plain, passages, tokenizer, tmp_path):
    path, _, known = passages
    options = ["--server", plain, "--tokenizer", tokenizer]
    found = {}
    for name, protocol in [("llama-cpp", []), ("text", ["--protocol", "text"]), ("chat", CHAT)]:
        summary, found[name] = audit(path, tmp_path / name, *options, *protocol)
        assert summary["model"]["backend"] == name
    assert {document: row["match_length"] for document, row in found["chat"].items()} == known
    for document, row in found["chat"].items():
        assert row["decided_by"] == "generate" and row["caveats"] == ""
        for other in ("llama-cpp", "text"):
            for score in ("exact_match", "match_length", "generated", "rouge_l"):
                assert row[score] == found[other][document][score], (document, other, score)
    # What was asked, and what that can't show, is in the run.
    assert summary["model"]["template"] == {"prompt": "{prefix}", "system": None}
    assert "a zero is no all-clear" in " ".join(summary["notes"])
    evidence = [json.loads(line) for line in open(tmp_path / "chat/evidence.jsonl")]
    assert len(evidence) == sum(end == SUFFIX for end in known.values()) > 5
    for line in evidence:
        exchange = json.loads(line["tokens"]["exchange"])
        message = {"role": "user", "content": line["tokens"]["prompt_text"]}
        assert exchange["post"] == "/v1/chat/completions" and exchange["request"]["messages"] == [message]
    code, checked, _ = verify(tmp_path / "chat", "--replay", 5, "--tokenizer", tokenizer, "--server", plain, *CHAT)
    assert code == 0 and checked["replay"]["asked"] >= len(evidence) and not checked["faults"], checked
    page = tmp_path / "page.html"
    assert goldfish("report", tmp_path / "chat", "--output", page)[0] == 0
    assert "It was asked through a prompt template: the rates are lower bounds." in page.read_text()


def test_another_template_is_another_run(plain, passages, tokenizer, tmp_path):
    command = ["audit", passages[0], "--server", plain, "--tokenizer", tokenizer, "--id-column", "id"]
    command += ["--prefix", PREFIX, "--suffix", SUFFIX, "--output", tmp_path / "run"]
    assert goldfish(*command, *CHAT)[0] == 0
    written = tmp_path / "template.txt"
    written.write_text("{prefix}\n")
    assert goldfish(*command, "--resume", "--protocol", "chat", "--prompt-template", f"@{written}")[0] == 0
    for other in (["--prompt-template", "Go on: {prefix}"], ["--prompt-template", "{prefix}", "--system-prompt", "Go on."]):
        code, _, errors = goldfish(*command, "--resume", "--protocol", "chat", *other)
        assert code == 2 and "which differ in model" in errors, errors
    _, _, errors = goldfish("verify", tmp_path / "run", "--replay", 1, "--tokenizer", tokenizer, "--server", plain, "--protocol", "chat")
    assert "made with another prompt template" in errors, errors
    for wrong, words in [
        (["--protocol", "chat", "--prompt-template", "Go on."], "there is no {prefix}"),
        (["--protocol", "chat", "--prompt-template", "{prefix}{prefix}"], "2 times"),
        (["--protocol", "chat", "--prompt-template", "@" + str(tmp_path / "none.txt")], "none.txt"),
        (["--protocol", "text", "--prompt-template", "{prefix}"], "use the protocol chat"),
        (["--prompt-template", "{prefix}"], "--protocol"),
    ]:
        code, _, errors = goldfish(*command[:-1], tmp_path / "other", *wrong)
        assert code == 2 and words in errors, errors
        assert not (tmp_path / "other").exists()


def test_a_template_that_spoils_the_answers_shows_in_the_positive_control(endless, passages, tokenizer, tmp_path):
    """The same model, behind a template that it never saw: nothing is found, and the run says what that shows."""
    path, recited, _ = passages
    with llama_server(endless, tmp_path / "log", template=AROUND, context=2048) as url:
        command = ["audit", path, "--server", url, "--protocol", "chat", "--tokenizer", tokenizer, "--id-column", "id"]
        command += ["--prefix", PREFIX, "--suffix", SUFFIX]
        code, found, warnings = goldfish(*command, "--output", tmp_path / "run")
        assert code == 0 and "a zero is no all-clear" in found and "no positive control" in warnings, found + warnings
        summary = json.loads((tmp_path / "run/summary.json").read_text())
        assert summary["exact_match"]["positives"] == 0
        page = tmp_path / "page.html"
        assert goldfish("report", tmp_path / "run", "--output", page)[0] == 0
        assert "It was asked through a prompt template: a zero is no all-clear." in page.read_text()
        code, _, errors = goldfish(*command, "--output", tmp_path / "with", "--canary", recited)
    assert code == 1 and "the positive control failed" in errors, errors
