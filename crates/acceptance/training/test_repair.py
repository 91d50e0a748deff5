"""`goldfish lab repair`, compared with torch: the preferences, their loss, and steps of the optimizer."""

import json

import pytest
import torch
from training import models
from training.fixtures import goldfish
from transformers import AutoModelForCausalLM

PREFIX = SUFFIX = models.TOKENS // 2
BETA, KEEP, RATE = 0.3, 0.5, 1e-3
STEPS = 2


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def common(a, b):
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for at, y in enumerate(b, 1):
            before, row[at] = row[at], before + 1 if x == y else max(row[at], row[at - 1])
    return row[-1]


def log_prob(model, passage, continuation):
    """Of a whole continuation after the passage's prefix."""
    ids = torch.tensor([passage[:PREFIX] + continuation])
    rows = model(ids).logits[0, PREFIX - 1 : -1].log_softmax(-1)
    return rows[torch.arange(SUFFIX), ids[0, PREFIX:]].sum()


def objective(model, reference, corpus, pairs, keep):
    """Equation 7 of arXiv 2305.18290, and the cross entropy of the held-out documents."""
    margins = []
    for pair in pairs:
        passage = corpus.learned[pair["document"]]
        own, before = (
            log_prob(m, passage, pair["preferred"]) - log_prob(m, passage, pair["other"]) for m in (model, reference)
        )
        margins.append(BETA * (own - before.detach()))
    margins = torch.stack(margins)
    loss = -torch.nn.functional.logsigmoid(margins).mean()
    if keep:
        ids = torch.tensor(models.documents(2))
        logits = model(ids).logits[:, :-1]
        loss = loss + keep * torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    return loss, margins.mean().item()


@pytest.fixture(scope="module")
def reciting(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reciting") / "model"
    sizes = ["--vocab-size", models.VOCAB, "--layers", 2, "--width", 64, "--heads", 4, "--mlp-width", 192]
    whole = ["--batch", models.DOCUMENTS, "--sequence-length", models.TOKENS, "--ignore-mask"]
    epochs = ["--epochs", 120, "--lr", 8e-3, "--warmup", 30, "--weight-decay", 0]
    goldfish("lab", "train", corpus.shards, *sizes, *whole, *epochs, "--output", folder)
    return folder


@pytest.mark.parametrize("method", ["preference", "keep"])
def test_steps_equal_those_of_torch(corpus, reciting, tmp_path, method):
    # A step contains every passage, and every document of the other text, so the order doesn't matter.
    arguments = [
        *["--model", reciting, "--validation", corpus.held_out, "--other", corpus.held_out, "--method", method],
        *["--prefix", PREFIX, "--suffix", SUFFIX, "--sequence-length", models.TOKENS, "--temperature", 1.5],
        *["--steps", STEPS, "--batch", models.DOCUMENTS, "--every", 1, "--beta", BETA, "--keep", KEEP, "--lr", RATE],
    ]
    output = tmp_path / "repaired"
    results = json.loads(goldfish("lab", "repair", corpus.shards, *arguments, "--output", output, "--json").stdout)
    lines = [json.loads(line) for line in (output / method / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "preference" in line]
    model, reference, expected = load(reciting), load(reciting), load(output / method)
    keep = KEEP if method == "keep" else 0
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": others}], betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    for number, line in enumerate(steps, 1):
        pairs = [pair for pair in lines if "preferred" in pair and pair["step"] == number]
        found = line["preference"]
        assert found["pairs"] == len(pairs) > 2 and found["pairs"] + found["ties"] == models.DOCUMENTS
        for pair in pairs:
            suffix = corpus.learned[pair["document"]][PREFIX:]
            rouge = [common(pair[name], suffix) / SUFFIX for name in ("preferred", "other")]
            assert rouge[0] < rouge[1] and all(abs(a - b) < 1e-9 for a, b in zip(rouge, pair["rouge_l"], strict=True))
        loss, margin = objective(model, reference, corpus, pairs, keep)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = RATE * number / STEPS
        optimizer.step()
        assert abs(line["loss"] - loss.item()) < 1e-4 * max(1, loss.item())
        assert abs(found["margin"] - margin) < 2e-3
        assert abs(line["gradient_norm"] / norm.item() - 1) < 1e-3
        assert line["learning_rate"] == pytest.approx(RATE * number / STEPS)
    assert len(steps) == STEPS
    parameters = dict(model.named_parameters())
    for name, theirs in expected.named_parameters():
        # Adam's step size is independent of that of the gradient, so noise in a gradient near 0 shows.
        difference = (theirs - parameters[name]).abs()
        assert difference.mean() < 1e-5 and difference.max() < 2.1 * RATE, name
    # The measurements are those of torch's own greedy decoding.
    [arm] = results["arms"]
    for point, checkpoint in [(arm["points"][0], reference), (arm["points"][-1], expected)]:
        ids = torch.tensor(corpus.learned)
        generated = checkpoint.generate(
            ids[:, :PREFIX], max_new_tokens=SUFFIX, do_sample=False, attention_mask=torch.ones(len(ids), PREFIX)
        )[:, PREFIX:]
        recited = (generated == ids[:, PREFIX:]).all(dim=1).sum().item()
        assert (point["recited"]["positives"], point["recited"]["n"]) == (recited, len(ids))
        held_out = torch.tensor(models.documents(2))
        with torch.no_grad():
            logits = checkpoint(held_out).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), held_out[:, 1:].flatten())
        assert point["validation_loss"] == pytest.approx(loss.item(), rel=1e-5)
