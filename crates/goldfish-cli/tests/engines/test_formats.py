"""Loops whose packages don't install here: their way of reading, reproduced from its description."""

from glob import glob

import datasets
import losses
import numpy as np
import pyarrow
import pyarrow.parquet
import torch


def table(folder):
    return pyarrow.concat_tables([pyarrow.parquet.read_table(path) for path in sorted(glob(f"{folder}/*.parquet"))])


def negative_log_likelihoods(model, ids):
    """Of each next token."""
    ids = torch.tensor(ids)
    return torch.nn.functional.cross_entropy(model(ids[None, :-1])[0], ids[1:], reduction="none")


def test_gpt_neox(corpus):
    """Labels move by one, those below 0 don't count; the samples are the joined documents in blocks."""
    tokens = np.fromfile(corpus.folder / "neox/tokens.bin", "<i4").tolist()
    labels = np.fromfile(corpus.folder / "neox/labels.bin", "<i4")
    model, total, count = losses.Model(), 0.0, 0
    for start in range(0, len(tokens) - 63, 64):
        weights = torch.from_numpy((labels[start : start + 64] >= 0)[1:])
        each = negative_log_likelihoods(model, tokens[start : start + 64])
        total, count = total + float((each * weights).sum()), count + int(weights.sum())
    losses.check(total / count, model, losses.blocks(corpus, 64))


def test_levanter(corpus):
    """The weight at a position is that of the next token's loss."""
    model, total, count = losses.Model(), 0.0, 0.0
    rows = table(corpus.folder / "levanter").to_pylist()
    for row in rows:
        weights = torch.tensor(row["loss_weights"])
        assert weights[-1] == 0
        each = negative_log_likelihoods(model, row["input_ids"])
        total, count = total + float((each * weights[:-1]).sum()), count + float(weights.sum())
    losses.check(total / count, model, list(zip(corpus.ids, corpus.masks)))


def test_megatron_bridge(corpus):
    """Each sequence of a row loses its last position, in tokens and mask; labels are the tokens moved by one."""
    model, total, count, sequences = losses.Model(), 0.0, 0, []
    masks = iter(losses.joined(corpus)[1])
    for row in table(corpus.folder / "bridge").to_pylist():
        ids, weights = row["input_ids"], row["loss_mask"]
        bounds = [*row["seq_start_id"], len(ids)]
        assert len(ids) <= 64
        for start, end in zip(bounds, bounds[1:]):
            sequences.append((ids[start:end], [next(masks) for _ in range(start, end)]))
            each = negative_log_likelihoods(model, ids[start:end])
            kept = torch.tensor(weights[start : end - 1])
            total, count = total + float((each * kept).sum()), count + int(kept.sum())
    assert next(masks, None) is None
    losses.check(total / count, model, sequences)


def test_hugging_face(corpus, snippet):
    """Columns and alignment; the trainers themselves run in the tests of the Python package."""
    rows = snippet("Hugging Face Trainer, TRL, axolotl").rows
    assert isinstance(rows, datasets.Dataset)
    model, total, count = losses.Model(), 0.0, 0
    for row in rows:
        labels = torch.tensor(row["labels"])
        logits = model(torch.tensor([row["input_ids"]]))[0, :-1]
        total += float(torch.nn.functional.cross_entropy(logits, labels[1:], ignore_index=-100, reduction="sum"))
        count += int((labels[1:] != -100).sum())
    losses.check(total / count, model, list(zip(corpus.ids, corpus.masks)))
