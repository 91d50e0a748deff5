"""transformers' Trainer on shards, without a line of ours between them."""

import datasets
import pytest
import tiny
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerFast, Trainer, TrainingArguments


def one_step(shards, tmp_path, rows, collator):
    """The loss of a first step over `rows`."""
    arguments = TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=len(rows), max_steps=1, logging_steps=1, report_to=[],
        save_strategy="no", disable_tqdm=True, use_cpu=True, seed=0, learning_rate=0.0,
    )  # fmt: skip
    trainer = Trainer(model=tiny.model(), args=arguments, train_dataset=rows, data_collator=collator)
    trainer.train()
    return next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)


def padding(fixtures):
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(fixtures / "tokenizers/gpt2.json"), pad_token="<|endoftext|>")
    return DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=-100)
