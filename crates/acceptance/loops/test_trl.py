"""TRL's SFTTrainer on shards, packed and not, by `labels` and by `assistant_masks`."""

import datasets
import pytest
from loops import tiny
from trl import SFTConfig, SFTTrainer


def first_loss(rows, tmp_path, **options):
    arguments = SFTConfig(
        output_dir=str(tmp_path), max_steps=1, logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True,
        use_cpu=True, learning_rate=0.0, per_device_train_batch_size=len(rows), bf16=False,
        gradient_checkpointing=False, shuffle_dataset=False, **options,
    )  # fmt: skip
    trainer = SFTTrainer(model=tiny.model(), args=arguments, train_dataset=rows, processing_class=tiny.tokenizer())
    return sum(tiny.losses_of(trainer))


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("field", ["labels", "assistant_masks"])
def test_loss(field, packing, shards, truth, tmp_path):
    rows = datasets.load_from_disk(str(shards)).select_columns(["input_ids", field])
    # The default would truncate at 1024 tokens. Packed, several documents share a row.
    loss = first_loss(rows, tmp_path, packing=packing, max_length=256 if packing else None)
    assert loss == pytest.approx(truth.loss, abs=1e-6)
