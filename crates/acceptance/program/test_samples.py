"""`goldfish audit sample`: a model is really trained on a known corpus; what it says unprompted is traced, and counted by looking at every place."""

import json
import random
import signal
import subprocess
import time

import pyarrow.parquet as pq
import pytest
from product import read_json_lines, write_json_lines

from program.spans import LEAST, expected_spans, found_spans, words_of

COPIES = [1, 4, 16]
SAMPLES = ["--samples", 96, "--tokens", 64, "--temperature", 1.0]


@pytest.fixture(scope="module")
def trained(goldfish, fixtures, tmp_path_factory):
    """A corpus of passages with one, four and sixteen copies, and a small model that was trained on it."""
    folder = tmp_path_factory.mktemp("samples")
    draw = random.Random(3)
    names = [f"{a}{b}" for a in "bcdfghlmnprst" for b in ["an", "el", "or", "in"]]
    passages = [" ".join(draw.choice(names) for _ in range(36)) for _ in range(12)]
    rows = [
        {"id": f"{number}/{copy}", "text": f"{text[0].upper()}{text[1:]}."}
        for number, text in enumerate(passages)
        for copy in range(COPIES[number % len(COPIES)])
    ]
    draw.shuffle(rows)
    write_json_lines(folder / "corpus.jsonl", rows)
    tokenizer = fixtures / "tokenizers/gpt2.json"
    goldfish.run("mask", folder / "corpus.jsonl", "--tokenizer", tokenizer, "--id-column", "id", "--prepend-bos", "--output", folder / "masked")
    model = "--layers 1 --width 64 --heads 2 --mlp-width 128 --tied --lr 5e-3 --batch 4 --warmup 5 --epochs 24 --ignore-mask".split()
    goldfish.run("lab", "train", folder / "masked", "--tokenizer", tokenizer, *model, "--output", folder / "model")
    goldfish.run("audit", "sample", "--model", folder / "model", *SAMPLES, "--output", folder / "samples")
    return folder


@pytest.fixture(scope="module")
def corpus(trained):
    return read_json_lines(trained / "corpus.jsonl")


def count(run, corpus):
    """How often the corpus has some words in a row."""
    documents = [[word for word, _ in words_of(row["text"])] for row in corpus]
    length = len(run)
    return sum(words[at : at + length] == run for words in documents for at in range(len(words) - length + 1))


def trace(goldfish, trained, texts, output, *more):
    command = ["trace", texts, "--corpus", trained / "corpus.jsonl", "--id-column", "id", "--min-words", LEAST, "--output", output, "--json", *more]
    return json.loads(goldfish.run(*command).stdout)["summary"]


def test_samples_are_traced_to_every_place(goldfish, trained, corpus, tmp_path):
    samples = {row["id"]: row for row in read_json_lines(trained / "samples/samples.jsonl")}
    assert len(samples) == 96 and all(len(row["ids"]) == 64 for row in samples.values())
    assert len({row["text"] for row in samples.values()}) > 40
    summary = trace(goldfish, trained, trained / "samples", tmp_path / "traced")
    spans = {name: expected_spans(row["text"], corpus) for name, row in samples.items()}
    expected = {name: found for name, found in spans.items() if found}
    assert found_spans(tmp_path / "traced") == expected
    found = summary["texts"]["with_span"]
    # It says some of what it was trained on, and other things.
    assert found["positives"] == len(expected) and 5 < found["positives"] < 96


def test_interruptions_do_not_show_and_other_seeds_do(goldfish, trained, tmp_path):
    command = ["audit", "sample", "--model", trained / "model", *SAMPLES]
    killed = [*map(str, [goldfish.binary, *command]), "--batch", "3", "--output", str(tmp_path / "killed")]
    process = subprocess.Popen(killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    drawn = tmp_path / "killed/samples.jsonl"
    while not (drawn.exists() and drawn.stat().st_size) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    again = goldfish.run(*command, "--output", tmp_path / "killed", expect=2)
    assert "already holds samples" in again.stderr and "--resume" in again.stderr
    refused = goldfish.run("trace", tmp_path / "killed", "--corpus", trained / "corpus.jsonl", "--output", tmp_path / "traced", expect=2)
    assert "not complete" in refused.stderr
    goldfish.run(*command, "--resume", "--output", tmp_path / "killed")
    assert drawn.read_bytes() == (trained / "samples/samples.jsonl").read_bytes()
    assert "already complete" in goldfish.run(*command, "--resume", "--output", tmp_path / "killed").stdout
    assert "sound" in goldfish.run("verify", tmp_path / "killed").stdout
    drawn.write_text(drawn.read_text().replace("sample-95", "sample-96"))
    assert "samples.jsonl" in goldfish.run("verify", tmp_path / "killed", expect=1).stdout
    goldfish.run(*command, "--seed", 1, "--output", tmp_path / "other")
    assert (tmp_path / "other/samples.jsonl").read_bytes() != (trained / "samples/samples.jsonl").read_bytes()


def test_prompts_take_turns(goldfish, trained, tmp_path):
    prompts = [{"id": "a", "text": "Bodan"}, {"id": "b", "text": "Kafel ligor"}]
    write_json_lines(tmp_path / "prompts.jsonl", prompts)
    model = ["--model", trained / "model", "--samples", 5, "--tokens", 8]
    goldfish.run("audit", "sample", *model, "--prompts", tmp_path / "prompts.jsonl", "--output", tmp_path / "samples")
    rows = read_json_lines(tmp_path / "samples/samples.jsonl")
    assert [row["prompt_id"] for row in rows] == ["a", "b", "a", "b", "a"]
    assert [row["prompt"] for row in rows[:2]] == ["Bodan", "Kafel ligor"]
    for row, prompt in zip(rows, prompts):
        assert not row["text"].startswith(prompt["text"])


def test_a_tokenizer_that_is_not_the_models_is_refused(goldfish, trained, fixtures, tmp_path):
    other = ["--tokenizer", fixtures / "tokenizers/wordpiece.json", "--bos-id", 0, "--output", tmp_path / "samples"]
    refused = goldfish.run("audit", "sample", "--model", trained / "model", *other, expect=2)
    assert "--tokenizer is not the model's: they give another text to" in refused.stderr
    assert not (tmp_path / "samples").exists()


def test_recitation_by_copies(goldfish, trained, corpus, tmp_path):
    """An audit of one copy of each passage: what is copied often is recited, and the trace counts the copies."""
    rows = [row for row in read_json_lines(trained / "corpus.jsonl") if row["id"].endswith("/0")]
    write_json_lines(tmp_path / "audited.jsonl", rows)
    sizes = ["--bos-id", 0, "--prefix", 24, "--suffix", 48, "--metrics", "exact-match"]
    tokenizer = trained / "model/tokenizer.json"
    bos = json.loads(goldfish.run("audit", "sample", "--model", trained / "model", "--samples", 1, "--tokens", 1, "--output", tmp_path / "one", "--json").stdout)
    assert bos["counts"]["samples"] == 1
    sizes[1] = read_json_lines(tmp_path / "one/samples.jsonl")[0]["prompt_ids"][0]
    goldfish.run("audit", tmp_path / "audited.jsonl", "--id-column", "id", "--model", trained / "model", *sizes, "--output", tmp_path / "run")
    summary = trace(goldfish, trained, tmp_path / "run", tmp_path / "traced", "--tokenizer", tokenizer, "--html", tmp_path / "page.html")
    probes = {row["probe_id"]: row for row in pq.read_table(tmp_path / "run/results.parquet").to_pylist()}
    expected = {}
    for row in pq.read_table(tmp_path / "traced/texts.parquet").to_pylist():
        inner = [word for word, _ in words_of(row["text"])][1:-1]
        copies = count(inner, corpus)
        assert row["copies"] == copies and copies in COPIES
        assert (row["group"] == "text") == probes[row["text_id"]]["exact_match"]
        recited, n = expected.get(copies, (0, 0))
        expected[copies] = recited + (row["group"] == "text"), n + 1
    groups = {group["to"]: (group["recited"]["positives"], group["recited"]["n"]) for group in summary["recited_by_copies"]}
    assert groups == expected and sorted(groups) == COPIES
    # Sixteen copies are enough, one is not.
    assert groups[1][0] < groups[16][0] > 0
    assert "Recited by copies" in (tmp_path / "page.html").read_text()


def test_common_text_gains_nothing_from_its_prefix(goldfish, tmp_path):
    """A model recites passages, and a form that appears in many documents. Both are exact matches; only passages need their prefix."""
    draw = random.Random(4)
    ids = lambda count: [draw.randrange(64) for _ in range(count)]
    form = ids(16)
    passages = [ids(32) for _ in range(8)]
    rows = [{"id": f"passage {n}/{copy}", "kind": "passage", "input_ids": passage} for n, passage in enumerate(passages) for copy in range(6)]
    rows += [{"id": f"form {n}", "kind": "form", "input_ids": ids(16) + form} for n in range(48)]
    draw.shuffle(rows)
    write_json_lines(tmp_path / "corpus.jsonl", rows)
    mask = ["--ids-column", "input_ids", "--id-column", "id", "--carry", "kind", "--rule", "hash", "--output", tmp_path / "masked"]
    goldfish.run("mask", tmp_path / "corpus.jsonl", *mask)
    model = "--vocab-size 64 --layers 2 --width 64 --heads 4 --mlp-width 128 --lr 5e-3 --batch 8 --warmup 5 --epochs 24 --ignore-mask".split()
    goldfish.run("lab", "train", tmp_path / "masked", *model, "--output", tmp_path / "model")
    sizes = ["--prefix", 16, "--suffix", 16, "--metrics", "exact-match,prior", "--by", "kind"]
    goldfish.run("audit", tmp_path / "masked", "--model", tmp_path / "model", *sizes, "--output", tmp_path / "run")
    found = pq.read_table(tmp_path / "run/results.parquet").to_pylist()
    gains = {kind: [row["prior_gain"] for row in found if row["stratum"] == kind and row["exact_match"]] for kind in ["passage", "form"]}
    assert len(gains["passage"]) >= 6 and len(gains["form"]) >= 40, {kind: len(values) for kind, values in gains.items()}
    pairs = [(a > b) + (a == b) / 2 for a in gains["passage"] for b in gains["form"]]
    assert sum(pairs) / len(pairs) > 0.95
    again = goldfish.run("verify", tmp_path / "run", "--replay", 4, "--model", tmp_path / "model")
    assert "sound" in again.stdout
