"""Megatron-Bridge: its packed dataset, its collator and its loss."""

import sys
import types
from pathlib import Path
from types import SimpleNamespace

from engines import losses
import megatron.core
import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def bare_package():
    """The package without the imports of its `__init__`, which need Transformer Engine and so a GPU."""
    root = Path(megatron.core.__file__).parents[1] / "bridge"
    for name in ["megatron.bridge", "megatron.bridge.training"]:
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[2:]))]
        sys.modules[name] = module
    yield
    for name in [name for name in sys.modules if name.startswith("megatron.bridge")]:
        del sys.modules[name]


def test_the_loss_excludes_exactly_the_dropped_targets(corpus, snippet):
    snippet("Megatron-Bridge and NeMo")
    from megatron.bridge.data.datasets.sft import GPTSFTPackedDataset, create_sft_dataset
    from megatron.bridge.training.losses import masked_next_token_loss

    tokenizer = SimpleNamespace(eos_id=1)
    dataset = create_sft_dataset(Path("bridge.npy"), tokenizer, seq_length=64, answer_only_loss=True)
    assert isinstance(dataset, GPTSFTPackedDataset)
    rows = [dataset[i] for i in range(len(dataset.indexed_dataset))]
    batch = dataset.collate_fn(rows)
    model, each = losses.Model(), torch.zeros(batch["tokens"].shape, dtype=torch.float64)
    for row, (tokens, labels, starts) in enumerate(zip(batch["tokens"], batch["labels"], batch["cu_seqlens"].tolist())):
        ends = [end for end in starts if end >= 0]
        for start, end in zip(ends, ends[1:]):
            if start < end:
                logits = model(tokens[None, start:end])[0]
                each[row, start:end] = torch.nn.functional.cross_entropy(logits, labels[start:end], reduction="none")
    loss, targets, _ = masked_next_token_loss(batch["loss_mask"], each, check_for_nan_in_loss=False)

    # Joined, the sequences of the rows are the documents.
    masks, sequences = iter(losses.joined(corpus)[1]), []
    for row in rows:
        for start, end in zip(row["seq_boundaries"], row["seq_boundaries"][1:]):
            sequences.append((row["input_ids"][start:end], [next(masks) for _ in range(start, end)]))
    assert next(masks, None) is None and [t for ids, _ in sequences for t in ids] == losses.joined(corpus)[0]
    losses.check(float(loss) / int(targets), model, sequences)
