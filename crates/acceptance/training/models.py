"""Tiny checkpoints that have memorized a corpus, and the corpus."""

import json
import os
import random

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

torch.set_num_threads(2)
# `transformers` calls this, and the CUDA stubs of environments/torch_cpu.py can't answer.
torch.cuda.is_current_stream_capturing = lambda: False

VOCAB = 128
# More and longer documents take minutes to memorize: GOLDFISH_MODELS_DOCUMENTS=96 GOLDFISH_MODELS_TOKENS=128.
DOCUMENTS = int(os.environ.get("GOLDFISH_MODELS_DOCUMENTS", 24))
TOKENS = int(os.environ.get("GOLDFISH_MODELS_TOKENS", 96))
# The number of epochs is about the same for any number of documents.
STEPS = 150 * max(1, DOCUMENTS // 24)


def documents(seed):
    """Random token ids, which can only be memorized."""
    numbers = random.Random(seed)
    return [[numbers.randrange(VOCAB) for _ in range(TOKENS)] for _ in range(DOCUMENTS)]


def write(path, documents, prefix):
    with open(path, "w") as file:
        for number, ids in enumerate(documents):
            file.write(json.dumps({"id": f"{prefix}{number}", "input_ids": ids}) + "\n")


def model(family):
    torch.manual_seed(0)
    common = dict(vocab_size=VOCAB, bos_token_id=None, eos_token_id=None, pad_token_id=None)
    sizes = dict(hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4)
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**common, **sizes, max_position_embeddings=256))
    if family == "gpt-neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(**common, **sizes, max_position_embeddings=256))
    config = GPT2Config(
        **common, n_embd=64, n_layer=2, n_head=4, n_positions=256, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    return GPT2LMHeadModel(config)


def train(model, documents, masks=None, steps=STEPS):
    """Memorizes the documents, except for the tokens that the masks exclude from the loss."""
    ids = torch.tensor(documents)
    labels = ids.clone()
    if masks is not None:
        labels[torch.tensor(masks) == 0] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=steps)
    model.train()
    order = torch.Generator().manual_seed(0)
    for _ in range(steps):
        batch = torch.randperm(len(ids), generator=order)[:24]
        loss = model(input_ids=ids[batch], labels=labels[batch]).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()
