"""Loops without a package: readers written from their descriptions."""

import datasets
from engines import losses
import numpy as np
import torch
from megatron.core.datasets.indexed_dataset import IndexedDataset


def test_gpt_neox(corpus):
    """Tokens and labels are two indexed datasets with the same order of documents. A sample has one token more than the
    model sees; labels are then shifted by one, and negative ones are ignored."""
    length = 64
    readers = [IndexedDataset(str(corpus.folder / "neox" / name)) for name in ("tokens", "labels")]
    texts, labels = (np.concatenate([reader[i] for i in range(len(reader))]) for reader in readers)
    assert len(texts) == len(labels) and labels.dtype == np.int32
    model, total, count, sequences = losses.Model(), 0.0, 0, []
    ids, mask = losses.joined(corpus)
    for start in range(0, len(texts) - length, length):
        text, label = (torch.from_numpy(values[start : start + length + 1].astype(np.int64)) for values in (texts, labels))
        inputs, targets = text[:-1], label[1:]
        weights = targets >= 0
        each = torch.nn.functional.cross_entropy(model(inputs[None])[0], targets.clamp(min=0), reduction="none")
        total, count = total + float((each * weights).sum()), count + int(weights.sum())
        sequences.append((ids[start : start + length + 1], mask[start : start + length + 1]))
    losses.check(total / count, model, sequences)


def test_hugging_face(corpus, snippet):
    """Columns and alignment; the suite `loops` runs the trainers."""
    rows = snippet("Hugging Face Trainer, TRL, axolotl").rows
    assert isinstance(rows, datasets.Dataset)
    model, total, count = losses.Model(), 0.0, 0
    for row in rows:
        labels = torch.tensor(row["labels"])
        logits = model(torch.tensor([row["input_ids"]]))[0, :-1]
        total += float(torch.nn.functional.cross_entropy(logits, labels[1:], ignore_index=-100, reduction="sum"))
        count += int((labels[1:] != -100).sum())
    losses.check(total / count, model, list(zip(corpus.ids, corpus.masks)))
