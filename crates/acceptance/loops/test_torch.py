"""The datasets and the collator of the package in a plain PyTorch loop."""

import itertools

import goldfish
import pytest
from loops import tiny
import torch
from goldfish.torch import Collator, ShardDataset, ShardStream
from torch.utils.data import DataLoader

BATCH = 4


def summed(network, batch):
    """The sum of the losses of a batch's targets, and their number."""
    inputs = {name: batch[name] for name in batch if name != "labels"}
    scores = network(**inputs).logits[:, :-1].flatten(0, 1)
    targets = batch["labels"][:, 1:].flatten()
    loss = torch.nn.functional.cross_entropy(scores, targets, ignore_index=-100, reduction="sum")
    return loss.item(), (targets != -100).sum().item()


@torch.no_grad()
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("options", [{}, {"multiple_of": 64}, {"pack": True}, {"pack": True, "multiple_of": 64}])
def test_loss(options, workers, shards, truth):
    network = tiny.model()
    # With a cache, the model ignores the ends of packed documents.
    network.config.use_cache = False
    loader = DataLoader(ShardDataset(shards), BATCH, collate_fn=Collator(**options), num_workers=workers)
    sums = [summed(network, batch) for batch in loader]
    assert sum(loss for loss, _ in sums) / sum(n for _, n in sums) == pytest.approx(truth.loss, abs=1e-6)


def batches(shards, workers=0, **options):
    stream = ShardStream(shards, batch_size=BATCH, **options)
    loader = DataLoader(stream, BATCH, num_workers=workers, collate_fn=lambda rows: [row["input_ids"].tolist() for row in rows])
    made = list(loader)
    assert sum(map(len, made)) == len(stream)
    return made


@pytest.mark.parametrize("seed", [None, 5])
def test_batches_are_independent_of_workers_and_ranks(seed, shards, truth):
    whole = batches(shards, seed=seed)
    assert (sum(whole, []) == truth.rows) == (seed is None)
    assert sorted(sum(whole, [])) == sorted(truth.rows)
    for workers in (1, 2, 3):
        assert batches(shards, workers, seed=seed) == whole
    for world in (2, 3):
        ranks = [batches(shards, 2, rank=rank, world=world, seed=seed) for rank in range(world)]
        dealt = [batch for step in itertools.zip_longest(*ranks) for batch in step]
        assert dealt == whole[: len(whole) // world * world]
    if seed is not None:
        assert batches(shards, seed=seed, epoch=1) != whole


@pytest.mark.parametrize("workers", [0, 3])
def test_resumes_at_a_position(workers, shards):
    for world in (1, 2):
        for rank in range(world):
            options = {"rank": rank, "world": world, "seed": 1}
            whole = batches(shards, workers, **options)
            for steps in range(len(whole) + 1):
                position = ShardStream(shards, batch_size=BATCH, **options).position_after(steps)
                assert batches(shards, workers, position=position, **options) == whole[steps:]
    with pytest.raises(ValueError, match="multiple"):
        ShardStream(shards, batch_size=BATCH, position=1)


def test_last_documents(shards, truth):
    every = [batches(shards, rank=rank, world=5, drop_last=False) for rank in range(5)]
    assert sorted(itertools.chain(*itertools.chain(*every))) == sorted(truth.rows)
    equal = {len(batches(shards, rank=rank, world=5)) for rank in range(5)}
    assert len(equal) == 1


def test_collator():
    documents = [{"input_ids": [5, 6, 7], "loss_mask": [1, 0, 1]}, {"input_ids": [8, 9], "labels": [8, 9]}]
    padded = Collator(pad_id=1, multiple_of=4)(documents)
    assert padded["input_ids"].tolist() == [[5, 6, 7, 1], [8, 9, 1, 1]]
    assert padded["labels"].tolist() == [[-100, -100, 7, -100], [-100, 9, -100, -100]]
    assert padded["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
    assert padded["position_ids"].tolist() == [[0, 1, 2, 0], [0, 1, 0, 0]]
    packed = Collator(pack=True, max_length=2)(documents)
    assert packed["input_ids"].tolist() == [[5, 6, 8, 9]] and packed["labels"].tolist() == [[-100, -100, -100, 9]]
    assert packed["position_ids"].tolist() == [[0, 1, 0, 1]] and "attention_mask" not in packed
    with pytest.raises(ValueError, match="neither"):
        Collator()([{"input_ids": [1]}])
    with pytest.raises(ValueError, match="3 ids"):
        Collator()([{"input_ids": [1, 2, 3], "labels": [1]}])


def test_the_collator_takes_documents(shards, truth):
    batch = Collator()([goldfish.open(shards)[0]])
    assert batch["input_ids"].tolist() == truth.rows[:1]
