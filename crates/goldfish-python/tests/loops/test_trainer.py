"""transformers' Trainer on shards: its loss is that of the kept targets alone."""

import datasets
import pytest
import tiny
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerFast, Trainer, TrainingArguments


def first_loss(train_dataset, collator, tmp_path, **options):
    """What the Trainer logs as the loss of its first step, over all documents."""
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=1, logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True,
        use_cpu=True, learning_rate=0.0, **options,
    )  # fmt: skip
    trainer = Trainer(model=tiny.model(), args=arguments, train_dataset=train_dataset, data_collator=collator)
    # The log is rounded to four digits; the loss itself is what the step returns.
    losses = []
    step = trainer.training_step

    def training_step(*arguments, **keywords):
        losses.append(step(*arguments, **keywords))
        return losses[-1]

    trainer.training_step = training_step
    trainer.train()
    return sum(float(loss) for loss in losses)


def padding():
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"<pad>": tiny.PAD, "<unk>": 1}, unk_token="<unk>"))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")
    return DataCollatorForSeq2Seq(fast, padding=True, label_pad_token_id=-100)


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
