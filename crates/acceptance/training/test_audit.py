"""`goldfish audit` and `transformers` agree on verdicts, log-probabilities and ranks of four checkpoints."""

import json
import random
import shutil
import signal
import subprocess
import time

import pytest
import torch
from checkpoints import recurrent
from training import models
from training.fixtures import CHECKPOINTS, GOLDFISH, goldfish, rows, summary

PREFIX = SUFFIX = models.TOKENS // 2
# Tolerance of log-probabilities.
ROUNDING = 2e-5
NOT_COMPARED = (".lock", "self-test.json", "origin.json", "SHA256SUMS")


def lcs(a, b):
    """Length of the longest common subsequence, from its definition."""
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], diagonal + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def audit(corpus, checkpoint, output, *more):
    arguments = ["audit", corpus.shards, "--model", checkpoint.folder, "--control", corpus.held_out]
    return [*arguments, "--prefix", PREFIX, "--suffix", SUFFIX, "--output", output, *more]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_agrees_with_transformers(corpus, checkpoints, tmp_path, name):
    model = checkpoints[name].model
    found = summary(*audit(corpus, checkpoints[name], tmp_path / "run"))
    results = {row["doc_id"]: row for row in rows(tmp_path / "run") if row["set"] == "audited"}
    assert len(results) == len(corpus.learned)
    exact, rouge, ranked, ties = [], [], 0, 0
    for number, document in enumerate(corpus.learned):
        row = results[f"learned{number}"]
        ids = torch.tensor([document])
        # One at a time, since the batch size affects rounding.
        continuation = model.generate(
            ids[:, :PREFIX], max_new_tokens=SUFFIX, do_sample=False, attention_mask=torch.ones(1, PREFIX)
        )[0, PREFIX:].tolist()
        truth = document[PREFIX:]
        assert row["generated"] == continuation
        exact.append(continuation == truth)
        rouge.append(lcs(continuation, truth) / SUFFIX)
        assert row["exact_match"] == exact[-1]
        assert abs(row["rouge_l"] - rouge[-1]) < 1e-12
        with torch.no_grad():
            log_probs = model(ids).logits[0, PREFIX - 1 : -1].log_softmax(-1)
        own = log_probs[torch.arange(SUFFIX), torch.tensor(truth)]
        assert max(abs(a - b) for a, b in zip(row["log_probs"], own.tolist())) < 1e-3
        # Near ties may be in either order.
        least = ((log_probs > own[:, None] + ROUNDING).sum(-1) + 1).tolist()
        most = (log_probs >= own[:, None] - ROUNDING).sum(-1).tolist()
        assert all(low <= rank <= high for low, rank, high in zip(least, row["ranks"], most))
        ties += sum(low != high for low, high in zip(least, most))
        ranked += SUFFIX
    assert ranked == len(corpus.learned) * SUFFIX and ties <= 0.02 * ranked
    assert found["exact_match"]["positives"] == sum(exact)
    assert abs(found["rouge_l"]["mean"] - sum(rouge) / len(rouge)) < 1e-12
    assert found["control"]["exact_match"]["positives"] == 0
    if CHECKPOINTS[name][1]:
        assert sum(exact) <= 0.1 * len(exact), "the goldfish mask keeps the model from reciting"
        assert found["goldfish"]["loss_difference"]["lower"] > 1
        assert found["goldfish"]["at_dropped"]["rate"] > 0.9
    else:
        assert sum(exact) >= 0.9 * len(exact), "the model has memorized its documents"
        assert found["excess"]["exact_match"]["lower"] > 0.8


@pytest.mark.parametrize("name", [*recurrent.MIXERS, "mamba"])
def test_continues_models_of_the_lab(corpus, tmp_path, name):
    model = recurrent.made(name, vocab_size=models.VOCAB)
    model.save_pretrained(tmp_path / "model")
    # The weights are random, worse than guessing.
    arguments = ["--model", tmp_path / "model", "--prefix", 40, "--suffix", 8, "--allow-tokenizer-mismatch"]
    goldfish("audit", corpus.shards, *arguments, "--output", tmp_path / "run")
    results = rows(tmp_path / "run")
    assert len(results) == len(corpus.learned)
    prefixes = torch.tensor([ids[:40] for ids in corpus.learned])
    # Id 0 is a token of the documents, no padding: `generate` would guess a mask without it.
    settings = {"attention_mask": torch.ones_like(prefixes), "eos_token_id": None, "pad_token_id": 0}
    continued = model.generate(prefixes, max_new_tokens=8, do_sample=False, **settings)
    for row in results:
        assert row["generated"] == continued[int(row["doc_id"].removeprefix("learned")), 40:].tolist()


def contents(folder):
    """The files of a run by name, except the lock and files that depend on the first process."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in NOT_COMPARED]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_killed_runs_give_the_same_result(corpus, checkpoints, tmp_path):
    """SIGKILL at random moments, 20 times; each run resumes from what is on disk."""
    checkpoint = checkpoints["llama-goldfish"]
    # Enough probes for several segments.
    grid = ["--stride", "1", "--prefix", "8", "--suffix", "8", "--samples", "100000", "--metrics", "membership"]
    options = [*grid, "--batch", "4", "--temperature", "1", "--top-k", "40", "--threads", "1"]
    arguments = ["audit", corpus.shards, "--model", checkpoint.folder, "--control", corpus.held_out, "--shared-run", "16"]
    start = time.monotonic()
    goldfish(*arguments, *options, "--output", tmp_path / "whole")
    whole = time.monotonic() - start
    killed = tmp_path / "killed"
    command = [GOLDFISH, *map(str, arguments), *options, "--output", str(killed), "--resume"]
    moments = random.Random(0)
    kills = resumed = 0
    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=moments.uniform(0.3, 0.95) * whole if kills < 20 else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            resumed += any((killed / "segments").glob("*.parquet"))
            continue
        assert process.returncode == 0
        assert contents(killed) == contents(tmp_path / "whole")
        if kills >= 20:
            break
        # It finished before it was killed often enough: start over.
        shutil.rmtree(killed)
    assert kills >= 20 and resumed >= 5


def test_batch_and_threads_change_nothing(corpus, checkpoints, tmp_path):
    for name, options in [("one", ["--batch", "1", "--threads", "1"]), ("many", ["--batch", "50", "--threads", "3"])]:
        goldfish(*audit(corpus, checkpoints["gpt2"], tmp_path / name, *options))
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_gates(corpus, checkpoints, tmp_path):
    run = audit(corpus, checkpoints["llama"], tmp_path / "run")
    failed = goldfish(*run, "--fail-if", "exact_match.upper > 0.01", "--fail-if", "excess.loss.lower > 0", code=1)
    assert "exact_match.upper > 0.01 holds" in failed.stderr and "excess.loss" not in failed.stderr
    goldfish(*run, "--resume", "--fail-if", "exact_match.rate < 0.5")
    wrong = goldfish(*run, "--resume", "--fail-if", "exactmatch > 1", code=2)
    assert "exact_match" in wrong.stderr


def test_interrupted_runs_say_how_to_resume(corpus, checkpoints, tmp_path):
    command = [GOLDFISH, *map(str, audit(corpus, checkpoints["llama"], tmp_path / "run", "--batch", "1"))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "config.json").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    if process.returncode == 0:
        pytest.skip("through before the signal came")
    assert process.returncode == 2 and "interrupted" in said and "--resume" in said, said
    goldfish(*audit(corpus, checkpoints["llama"], tmp_path / "run", "--batch", "1", "--resume"))


def test_redacted_runs_contain_no_tokens(corpus, checkpoints, tmp_path):
    goldfish(*audit(corpus, checkpoints["llama"], tmp_path / "run", "--redact"))
    for row in rows(tmp_path / "run"):
        assert row["generated"] is None
    for row in rows(tmp_path / "run", "probes"):
        assert row["prefix"] is None and row["suffix"] is None
    for line in (tmp_path / "run" / "evidence.jsonl").read_text().splitlines():
        assert '"tokens":null' in line


def test_errors_say_why(corpus, checkpoints, tmp_path):
    folder = checkpoints["llama"].folder
    expected = [
        (["audit", corpus.shards, "--output", tmp_path / "a"], "--model"),
        (["audit", corpus.shards, "--model", tmp_path, "--output", tmp_path / "a"], "config.json"),
        (["audit", corpus.shards, "--model", folder, "--prefix", "500", "--output", tmp_path / "a"], "shorter --prefix"),
        (["audit", tmp_path / "none", "--model", folder, "--output", tmp_path / "a"], "none"),
        (["audit", corpus.shards, "--model", folder, "--prefix", "48", "--suffix", "48", "--control", corpus.shards, "--output", tmp_path / "a"], "no control"),
        (["audit", corpus.shards, "--model", folder, "--temperature", "0", "--output", tmp_path / "a"], "temperature"),
        (["audit", corpus.shards, "--model", folder, "--suffix", "40", "--by", "source", "--output", tmp_path / "a"], "source"),
    ]
    for command, words in expected:
        done = goldfish(*command, code=2)
        assert words in done.stderr, done.stderr
        assert not (tmp_path / "a").exists()


def test_ids_of_another_tokenizer_are_no_all_clear(corpus, checkpoints, tmp_path):
    """The model recites its documents. Under other ids it recites none: that is refused, not reported."""
    checkpoint = checkpoints["llama"]
    assert summary(*audit(corpus, checkpoint, tmp_path / "own"))["exact_match"]["rate"] > 0.9
    for name, documents in [("learned", corpus.learned), ("held-out", models.documents(2))]:
        other = [[(id * 7 + 3) % models.VOCAB for id in document] for document in documents]
        models.write(tmp_path / f"{name}.jsonl", other, name)
    command = ["audit", tmp_path / "learned.jsonl", "--control", tmp_path / "held-out.jsonl", "--id-column", "id"]
    command += ["--model", checkpoint.folder, "--prefix", PREFIX, "--suffix", SUFFIX, "--output", tmp_path / "run"]
    refused = goldfish(*command, code=2)
    assert "no trained model has that on text of its own tokens" in refused.stderr
    assert "--allow-tokenizer-mismatch" in refused.stderr
    assert not (tmp_path / "run").exists()
    allowed = summary(*command, "--allow-tokenizer-mismatch")
    assert allowed["exact_match"]["positives"] == 0
    assert any("no trained model has that" in note for note in allowed["notes"])


def test_a_replay_gives_the_same_answers(corpus, checkpoints, tmp_path):
    checkpoint = checkpoints["gpt2"]
    made = summary(*audit(corpus, checkpoint, tmp_path / "run", "--canary", "self"))
    assert made["canary"]["passed"] and made["canary"]["exact_match"]["rate"] == 1
    verify = ["verify", tmp_path / "run", "--digest", made["digest"], "--replay", 10]
    replay = summary(*verify, "--model", checkpoint.folder)["replay"]
    assert replay["changed"] == [] and replay["largest_difference"] < 1e-6
    positives = made["exact_match"]["positives"] + made["canary"]["exact_match"]["positives"]
    assert replay["positives"] == positives <= replay["asked"]
    found = json.loads(goldfish(*verify, "--model", checkpoints["llama"].folder, "--json", code=1).stdout)
    assert len(found["replay"]["changed"]) == found["replay"]["asked"]


def test_plan():
    plan = summary("audit", "plan", "--rate", "0.001", "--confidence", "0.95")
    assert plan["probes"] == 2995
    assert "2,995 probes" in goldfish("audit", "plan", "--rate", "0.001").stdout
    assert goldfish("audit", "plan", "--rate", "2", code=2).stderr
