"""Documents, a tiny model, and the goldfish loss computed by hand."""

import json
import random
import re
from pathlib import Path

import torch

from conftest import REPOSITORY
from product import Goldfish

# transformers calls this, and the CUDA stubs of environments/torch_cpu.py can't answer.
torch.cuda.is_current_stream_capturing = lambda: False

VOCABULARY = 128
PAD = 0
DOCS = REPOSITORY / "docs"


def goldfish(*arguments):
    return Goldfish().run(*arguments).stdout


def documents(count=24, seed=1):
    """Lists of ids of different lengths; 0 and 1 are reserved for padding and ends."""
    draw = random.Random(seed)
    return [[draw.randrange(2, VOCABULARY) for _ in range(draw.randrange(20, 90))] for _ in range(count)]


def write_documents(path, rows):
    lines = [json.dumps({"id": f"doc-{i}", "input_ids": ids}) for i, ids in enumerate(rows)]
    Path(path).write_text("\n".join(lines) + "\n")
    return path


def model(seed=0):
    """A Llama of two layers in float64, so that sums in another order differ by less than 1e-12."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, attention_dropout=0.0, initializer_range=0.5,
        pad_token_id=PAD, bos_token_id=1, eos_token_id=1,
    )  # fmt: skip
    return LlamaForCausalLM(config).double().eval()


def tokenizer():
    """A tokenizer for padding only; the documents are ids."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<pad>": PAD, "<end>": 1}, unk_token="<end>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")


def section(title):
    """Commands of `goldfish` in a section of docs/loops.md, and its YAML."""
    text = (DOCS / "loops.md").read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    commands = [line for language, code in blocks if language == "sh" for line in code.splitlines()]
    (yaml,) = [code for language, code in blocks if language == "yaml"]
    return commands, yaml


def note_losses(monkeypatch, trainer_class):
    """A list to which every training step of a trainer class appends its loss."""
    losses, step = [], trainer_class.training_step

    def training_step(*arguments, **keywords):
        loss = step(*arguments, **keywords)
        losses.append(float(loss))
        return loss

    monkeypatch.setattr(trainer_class, "training_step", training_step)
    return losses


def losses_of(trainer):
    """Trains, and returns the exact loss of each step; logged losses are rounded."""
    losses, step = [], trainer.training_step

    def training_step(*arguments, **keywords):
        losses.append(step(*arguments, **keywords))
        return losses[-1]

    trainer.training_step = training_step
    trainer.train()
    return [float(loss) for loss in losses]


@torch.no_grad()
def loss_by_hand(network, rows, masks):
    """Mean negative log-likelihood of the kept tokens, each document on its own; first tokens are not targets."""
    total, targets = 0.0, 0
    for ids, mask in zip(rows, masks, strict=True):
        scores = network(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        for position in range(1, len(ids)):
            if mask[position]:
                total -= scores[position - 1, ids[position]].item()
                targets += 1
    return total / targets
