"""TRL's SFTTrainer on shards, packed and not, by `labels` and by `assistant_masks`."""

import random

import datasets
import pytest
import torch
import transformers
from loops import tiny
from product import Goldfish
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


TEMPLATE = """{% for message in messages %}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}{{ eos_token }}\
{% endgeneration %}{% else %}{{ message['role'] }}: {{ message['content'] }}
{% endif %}{% endfor %}"""


def chats():
    """Conversations of several turns, of which the assistant's are in the loss."""
    draw = random.Random(4)
    words = "the quarry lantern and a garden letter of rain that piano under some telescope by noon".split()
    said = lambda: " ".join(draw.choices(words, k=draw.randrange(8, 40)))  # noqa: E731
    turns = lambda: [{"role": role, "content": said()} for role in ["user", "assistant"] * draw.randrange(1, 4)]  # noqa: E731
    return [{"messages": turns()} for _ in range(12)]


@pytest.fixture(scope="module")
def chat_tokenizer(fixtures):
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(fixtures / "tokenizers/gpt2.json"), eos_token="<|endoftext|>", pad_token="<|endoftext|>",
        chat_template=TEMPLATE,
    )  # fmt: skip


def chat_model(tokenizer):
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, attention_dropout=0.0, initializer_range=0.5,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).double().eval()


def settings(folder, **options):
    return SFTConfig(
        output_dir=str(folder), max_steps=1, logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True,
        use_cpu=True, learning_rate=0.0, per_device_train_batch_size=12, bf16=False, gradient_checkpointing=False,
        shuffle_dataset=False, max_length=None, **options,
    )  # fmt: skip


@pytest.mark.parametrize("source", ["trl", "transformers"])
def test_masks_of_chats(source, chat_tokenizer, tmp_path):
    """From a chat template to a trained step: what is in the loss are the assistant's tokens that the rule keeps."""
    rows = datasets.Dataset.from_list(chats())
    if source == "trl":
        options = settings(tmp_path / "tokenize", assistant_only_loss=True)
        trainer = SFTTrainer(
            model=chat_model(chat_tokenizer), args=options, train_dataset=rows, processing_class=chat_tokenizer
        )
        # TRL before 1.0 has `assistant_masks` here.
        tokens = trainer.train_dataset.select_columns(["input_ids", "labels"])
        existing = [[int(label != -100) for label in labels] for labels in tokens["labels"]]
        option = ["--labels-column", "labels"]
    else:
        wanted = {"tokenize": True, "return_dict": True, "return_assistant_tokens_mask": True}
        encode = lambda row: chat_tokenizer.apply_chat_template(row["messages"], **wanted)  # noqa: E731
        tokens = rows.map(encode).select_columns(["input_ids", "assistant_masks"])
        existing = list(tokens["assistant_masks"])
        option = ["--mask-column", "assistant_masks"]
    assert all(0 < sum(mask) < len(mask) for mask in existing)
    tokens.to_parquet(str(tmp_path / "tokens.parquet"))
    mask = ["mask", tmp_path / "tokens.parquet", "--rule", "hash", "--context", 2, "--output"]
    refused = Goldfish().run(*mask, tmp_path / "no", expect=2)
    assert " ".join(option) in refused.stderr
    tiny.goldfish(*mask, tmp_path / "masked", *option, "--columns", "labels,assistant_masks")
    tiny.goldfish(*mask, tmp_path / "rule", "--ignore-masks")
    masked = datasets.load_from_disk(str(tmp_path / "masked"))
    decided = datasets.load_from_disk(str(tmp_path / "rule"))["loss_mask"]
    both = [[int(a and b) for a, b in zip(*pair)] for pair in zip(existing, decided)]
    assert list(masked["loss_mask"]) == both
    assert 0 < sum(map(sum, both)) < 0.9 * sum(map(sum, existing))
    network = chat_model(chat_tokenizer)
    truth = tiny.loss_by_hand(network, masked["input_ids"], both)
    whole = tiny.loss_by_hand(network, masked["input_ids"], existing)
    assert abs(truth - whole) > 1e-3, "the rule makes no difference"
    for field in ["assistant_masks", "labels"]:
        trainer = SFTTrainer(
            model=chat_model(chat_tokenizer), args=settings(tmp_path / field), processing_class=chat_tokenizer,
            train_dataset=masked.select_columns(["input_ids", field]),
        )  # fmt: skip
        assert sum(tiny.losses_of(trainer)) == pytest.approx(truth, abs=1e-6), field
