"""megatron-core: its indexed dataset and GPT dataset, with the patch of the page."""

from types import SimpleNamespace

from engines import losses
import numpy as np
import pytest
import torch
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder
from megatron.core.datasets.utils import Split

LENGTH = 48


@pytest.fixture(scope="module", autouse=True)
def alone(tmp_path_factory):
    """A process group of one, which Megatron requires."""
    store = f"file://{tmp_path_factory.mktemp('group') / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def samples(dataset_class, path):
    """All samples of one epoch, in Megatron's shuffled order."""
    config = GPTDatasetConfig(
        random_seed=7,
        sequence_length=LENGTH,
        blend=([path], None),
        split="1,0,0",
        tokenizer=SimpleNamespace(vocab_size=None, eod=1, pad=-1, unique_identifiers={"name": "none"}),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
    )
    indexed = IndexedDataset(path)
    documents = np.arange(len(indexed.sequence_lengths), dtype=np.int32)
    dataset = dataset_class(indexed, path, documents, None, Split.train, config)
    return [dataset[i] for i in range(len(dataset))]


@pytest.fixture
def positions(corpus, tmp_path):
    """Token offsets of each sample in the joined documents, from a dataset of the same shape that contains offsets."""
    builder = IndexedDatasetBuilder(str(tmp_path / "places.bin"), dtype=np.int32)
    start = 0
    for ids in corpus.ids:
        builder.add_document(torch.arange(start, start + len(ids)), [len(ids)])
        start += len(ids)
    builder.finalize(str(tmp_path / "places.idx"))
    found = samples(GPTDataset, str(tmp_path / "places"))
    return [[*sample["tokens"].tolist(), int(sample["labels"][-1])] for sample in found]


@pytest.mark.parametrize("layout, second", [("megatron", "mask"), ("megatron-labels", "labels"), ("neox", "labels")])
def test_indexed_datasets(corpus, layout, second):
    folder = corpus.folder / layout
    tokens, others = IndexedDataset(str(folder / "tokens")), IndexedDataset(str(folder / second))
    assert tokens.document_indices.tolist() == others.document_indices.tolist() == list(range(len(corpus.ids) + 1))
    assert [row.tolist() for row in tokens] == corpus.ids
    labels = [[token if keep else -100 for token, keep in zip(*row)] for row in zip(corpus.ids, corpus.masks)]
    assert [row.tolist() for row in others] == (corpus.masks if second == "mask" else labels)
    assert others[0].dtype == (np.uint8 if second == "mask" else np.int32)


@pytest.mark.parametrize("way", ["exported", "masks-only", "labels"])
def test_the_loss_excludes_exactly_the_dropped_targets(corpus, snippet, positions, way):
    names = snippet("Megatron-LM")
    dataset_class, path = names.MaskedGPTDataset, "megatron/tokens"
    if way == "labels":
        dataset_class, path = names.LabelledGPTDataset, "megatron-labels/tokens"
    if way == "masks-only":
        corpus.run("mkdir copy && cp megatron/tokens.* copy && goldfish mask copy/tokens.bin --masks-only --rule hash")
        path, dataset_class.mask_path = "copy/tokens", "copy/tokens.loss"
    model = losses.Model()
    ids, mask = losses.joined(corpus)
    sequences, total, count = [], 0.0, 0.0
    found = samples(dataset_class, path)
    assert len(found) == len(positions) > 40
    for sample, places in zip(found, positions):
        assert sample["tokens"].tolist() == [ids[place] for place in places[:-1]]
        logits = model(sample["tokens"][None])[0]
        each = torch.nn.functional.cross_entropy(logits, sample["labels"], reduction="none")
        # As in Megatron's loss function.
        total += float((each * sample["loss_mask"]).sum())
        count += float(sample["loss_mask"].sum())
        sequences.append(([ids[place] for place in places], [mask[place] for place in places]))
    losses.check(total / count, model, sequences)
