"""`goldfish lab train`, compared with torch and `transformers`: losses, optimizer steps, and checkpoints that both read."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
import torch
from training import models
from training.fixtures import GOLDFISH, goldfish, rows, summary
from transformers import AutoModelForCausalLM

LAB = ["hard-alibi", "aaren", "linear", "hedgehog", "lstm"]
ARCHITECTURES = {"llama": "LlamaForCausalLM", "nope": "SmolLM3ForCausalLM", "mamba": "MambaForCausalLM"}
ARCHITECTURES |= dict.fromkeys(LAB, "GoldfishLabForCausalLM")
CASES = {
    f"{arch}-{name}": (arch, more)
    for arch in ARCHITECTURES
    for name, more in {
        "mask": [],
        **({"no-mask": ["--ignore-mask"]} if arch == "llama" else {}),
        **({"shared": ["--kv-heads", 2, "--tied"]} if arch in ["llama", "nope"] else {}),
    }.items()
}
SIZES = ["--vocab-size", models.VOCAB, "--layers", 2, "--width", 64, "--heads", 4, "--mlp-width", 192]
# A step contains every document completely, so the order doesn't matter.
WHOLE = ["--batch", models.DOCUMENTS, "--sequence-length", models.TOKENS]
PREFIX = SUFFIX = models.TOKENS // 2


def train(corpus, output, *more, code=0, **environment):
    arguments = ["lab", "train", corpus.shards, *SIZES, *WHOLE, "--output", output, *more]
    return goldfish(*arguments, code=code, **environment)


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def load(folder):
    # The models of the lab come with their own file.
    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32).eval()


def masked_loss(model, corpus, use_mask=True):
    """Cross entropy over the supervised targets in torch."""
    ids, masks = torch.tensor(corpus.learned), torch.tensor(corpus.masks)
    logits, targets = model(ids).logits[:, :-1], ids[:, 1:].clone()
    if use_mask:
        targets[masks[:, 1:] == 0] = -100
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


@pytest.mark.parametrize("arch, more", CASES.values(), ids=CASES)
def test_steps_equal_those_of_torch(corpus, tmp_path, arch, more):
    """The loss of the first step; then weights, losses and norms of three steps, with clipping, decay and schedule."""
    options = ["--arch", arch, *more, *(["--tied"] if arch in ["aaren", "mamba"] else []), "--weight-decay", 0.1, "--clip", 0.5, "--warmup", 2]
    # A learning rate of 0 keeps the initial weights.
    train(corpus, tmp_path / "first", *options, "--steps", 1, "--lr", 0)
    train(corpus, tmp_path / "third", *options, "--steps", 3, "--lr", 3e-3)
    model, expected = load(tmp_path / "first"), load(tmp_path / "third")
    assert type(model).__name__ == ARCHITECTURES[arch]
    use_mask = "--ignore-mask" not in more
    [first], found = metrics(tmp_path / "first"), metrics(tmp_path / "third")
    loss = masked_loss(model, corpus, use_mask).item()
    assert abs(first["loss"] / loss - 1) < 1e-5
    supervised = sum(sum(mask[1:]) if use_mask else len(mask) - 1 for mask in corpus.masks)
    assert first["supervised"] == supervised and first["tokens"] == models.DOCUMENTS * (models.TOKENS - 1)
    parameters = dict(model.named_parameters())
    decayed = [p for name, p in parameters.items() if p.dim() > 1 and not name.endswith("A_log")]
    others = [p for name, p in parameters.items() if p.dim() == 1 or name.endswith("A_log")]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.95), eps=1e-8
    )
    rates = [1.5e-3, 3e-3, 3e-3 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi)))]
    for line, rate in zip(found, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = masked_loss(model, corpus, use_mask)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        assert abs(line["loss"] / loss.item() - 1) < 1e-5
        assert abs(line["gradient_norm"] / norm.item() - 1) < 1e-4
        assert abs(line["learning_rate"] / rate - 1) < 1e-9
    if arch == "llama":
        assert len(parameters) == (20 if "--tied" in more else 21)
    for name, theirs in expected.named_parameters():
        # Adam's step size is independent of that of the gradient, so noise in a gradient near 0 shows.
        difference = (theirs - parameters[name]).abs()
        assert difference.mean() < 2e-6 and difference.max() < 2e-3, name


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_checkpoints_in_transformers(corpus, tmp_path, arch):
    """A trained checkpoint has the same log-probabilities, and verdicts as by `generate`."""
    epochs = ["--epochs", 120, "--lr", 8e-3, "--warmup", 30, "--weight-decay", 0, "--ignore-mask"]
    train(corpus, tmp_path / "model", "--arch", arch, *epochs)
    model = load(tmp_path / "model")
    audit = ["audit", corpus.shards, "--model", tmp_path / "model", "--prefix", PREFIX, "--suffix", SUFFIX]
    found = summary(*audit, "--output", tmp_path / "run")
    exact = []
    for row in rows(tmp_path / "run"):
        document = corpus.learned[int(row["doc_id"].removeprefix("learned"))]
        ids = torch.tensor([document])
        continuation = model.generate(
            ids[:, :PREFIX], max_new_tokens=SUFFIX, do_sample=False, attention_mask=torch.ones(1, PREFIX)
        )[0, PREFIX:].tolist()
        assert row["generated"] == continuation
        exact.append(continuation == document[PREFIX:])
        assert row["exact_match"] == exact[-1]
        with torch.no_grad():
            log_probs = model(ids).logits[0, PREFIX - 1 : -1].log_softmax(-1)
        own = log_probs[torch.arange(SUFFIX), ids[0, PREFIX:]]
        assert max(abs(a - b) for a, b in zip(row["log_probs"], own.tolist(), strict=True)) < 1e-4
    assert len(exact) == models.DOCUMENTS and found["exact_match"]["positives"] == sum(exact)
    assert sum(exact) >= 0.9 * len(exact), "the model has memorized its documents"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_runs_give_the_same_result(corpus, tmp_path):
    """SIGKILL at random moments; each run resumes with another number of threads."""
    options = ["--epochs", 60, "--checkpoint-every", 3, "--validation", corpus.held_out, "--validate-every", 7]
    start = time.monotonic()
    train(corpus, tmp_path / "whole", *options, "--threads", 1, RAYON_NUM_THREADS="1")
    whole = time.monotonic() - start
    command = ["lab", "train", corpus.shards, *SIZES, *WHOLE, *options, "--output", tmp_path / "killed", "--resume"]
    moments = random.Random(0)
    kills = 0
    while True:
        threads = str(1 + kills % 3)
        # The environment sets the threads of matrix products.
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        process = subprocess.Popen(
            [GOLDFISH, *map(str, command), "--threads", threads], stdout=subprocess.DEVNULL, env=environment
        )
        try:
            process.wait(timeout=moments.uniform(0.1, 0.4) * whole if kills < 4 else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
        if kills >= 4:
            break
        # It finished before it was killed often enough: start over.
        shutil.rmtree(tmp_path / "killed")
    lines = metrics(tmp_path / "whole")
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 61))
    assert [line["step"] for line in lines if "validation_loss" in line] == [7, 14, 21, 28, 35, 42, 49, 56, 60]
    # Finished runs are not changed.
    again = json.loads(goldfish(*command, "--json").stdout)
    assert again["steps"] == 60 and again["validation_loss"] == lines[-1]["validation_loss"]
    assert "choose another --output" in goldfish(*command[:-1], code=2).stderr


def test_other_options_are_refused(corpus, tmp_path):
    options = ["--epochs", 200, "--checkpoint-every", 1]
    process = subprocess.Popen(
        [GOLDFISH, *map(str, ["lab", "train", corpus.shards, *SIZES, *WHOLE, *options, "--output", tmp_path / "run"])],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "run" / "training" / "state.safetensors").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    message = process.communicate()[1]
    assert process.returncode == 2 and "--resume" in message, message
    for more, named in [(["--seed", 1], "seed"), (["--lr", 0.5], "learning_rate"), (["--context-length", 200], "max_position_embeddings")]:
        refused = train(corpus, tmp_path / "run", *options, *more, "--resume", code=2).stderr
        assert named in refused and "same options" in refused, refused
    assert "--resume" in train(corpus, tmp_path / "run", *options, code=2).stderr
    small = ["--vocab-size", 100]
    refused = goldfish("lab", "train", corpus.shards, *small, "--output", tmp_path / "small", code=2).stderr
    assert "is not in a vocabulary of 100" in refused and "document" in refused
