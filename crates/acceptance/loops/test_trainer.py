"""The Trainer of transformers on shards: its loss is that of the kept targets."""

import datasets
import pytest
from loops import tiny
from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments


def first_loss(train_dataset, collator, tmp_path, **options):
    """The loss of the first step of Trainer, over all documents."""
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=1, logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True,
        use_cpu=True, learning_rate=0.0, **options,
    )  # fmt: skip
    trainer = Trainer(model=tiny.model(), args=arguments, train_dataset=train_dataset, data_collator=collator)
    return sum(tiny.losses_of(trainer))


def padding():
    return DataCollatorForSeq2Seq(tiny.tokenizer(), padding=True, label_pad_token_id=-100)


def columns(dataset):
    return dataset.select_columns(["input_ids", "labels", "attention_mask"])


def test_load_from_disk(shards, truth, tmp_path):
    rows = columns(datasets.load_from_disk(str(shards)))
    loss = first_loss(rows, padding(), tmp_path, per_device_train_batch_size=len(rows))
    assert loss == pytest.approx(truth.loss, abs=1e-6)


def test_gradient_accumulation(shards, truth, tmp_path):
    rows = columns(datasets.load_from_disk(str(shards)))
    options = {"per_device_train_batch_size": len(rows) // 4, "gradient_accumulation_steps": 4}
    assert first_loss(rows, padding(), tmp_path, **options) == pytest.approx(truth.loss, abs=1e-6)


def test_streaming(shards, truth, tmp_path):
    files = sorted(map(str, shards.glob("*.arrow")))
    rows = columns(datasets.load_dataset("arrow", data_files=files, split="train", streaming=True))
    loss = first_loss(rows, padding(), tmp_path, per_device_train_batch_size=len(truth.rows))
    assert loss == pytest.approx(truth.loss, abs=1e-6)


@pytest.mark.parametrize("pack", [False, True])
def test_own_collator(pack, shards, truth, tmp_path):
    from goldfish.torch import Collator, ShardDataset

    size = {"per_device_train_batch_size": len(truth.rows)}
    loss = first_loss(ShardDataset(shards), Collator(pack=pack), tmp_path, **size)
    assert loss == pytest.approx(truth.loss, abs=1e-6)
    rows = datasets.load_from_disk(str(shards)).select_columns(["input_ids", "loss_mask"])
    loss = first_loss(rows, Collator(pack=pack), tmp_path, **size, remove_unused_columns=False)
    assert loss == pytest.approx(truth.loss, abs=1e-6)


def test_the_wrong_collator_ignores_the_mask(shards, truth, tmp_path):
    """docs/loops.md warns of this."""
    from transformers import DataCollatorForLanguageModeling

    rows = columns(datasets.load_from_disk(str(shards))).remove_columns("labels")
    collator = DataCollatorForLanguageModeling(tiny.tokenizer(), mlm=False)
    loss = first_loss(rows, collator, tmp_path, per_device_train_batch_size=len(rows))
    assert loss == pytest.approx(truth.whole, abs=1e-6)
