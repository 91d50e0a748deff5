"""Levanter: its cache of prebuilt rows, its dataset, its Llama and its loss, in JAX on the CPU."""

import asyncio

import draccus
import equinox
import haliax
import jax
from engines import losses
import numpy as np
import torch
import yaml
from levanter.data.text import LmDataConfig, NamedLmDataset
from levanter.models.llama import LlamaConfig

jax.config.update("jax_enable_x64", True)


def test_the_loss_excludes_exactly_the_dropped_targets(corpus, monkeypatch):
    monkeypatch.chdir(corpus.folder)
    (settings,) = corpus.sections["Levanter"].yaml
    # Not on the page: the order of the rows and the tokenizer.
    ours = {"shuffle": False, "tokenizer": "passthrough", "vocab_size": losses.VOCABULARY, "cache_dir": "levanter-cache"}
    config = draccus.decode(LmDataConfig, {**yaml.safe_load(settings)["data"], **ours})
    model_config = LlamaConfig(
        max_seq_len=64, hidden_dim=16, intermediate_dim=32, num_layers=1, num_heads=2, num_kv_heads=2,
        initializer_range=0.5, gradient_checkpointing=False,
    )  # fmt: skip
    key = jax.random.PRNGKey(0)
    model = model_config.build(haliax.Axis("vocab", losses.VOCABULARY), key=key)
    model = jax.tree.map(lambda leaf: leaf.astype("float64") if equinox.is_inexact_array(leaf) else leaf, model)
    # A mixture of one source.
    data = NamedLmDataset(config.train_sets(model_config.max_Pos, key=key)["goldfish"], model_config.max_Pos)
    ids, mask = losses.joined(corpus)
    # The last row is padded.
    padding = -len(ids) % 64
    ids, mask = [*ids, *[0] * padding], [*mask, *[0] * padding]
    firsts = {0}
    for document in corpus.ids:
        firsts.add(max(firsts) + len(document))
    mask = [keep if place not in firsts else 0 for place, keep in enumerate(mask)]
    expected = [(ids[i : i + 64], mask[i : i + 64]) for i in range(0, len(ids), 64)]
    assert asyncio.run(data.async_len()) == len(expected)
    examples = asyncio.run(data.get_batch(range(len(expected))))
    assert [example.tokens.array.tolist() for example in examples] == [row for row, _ in expected]

    loss_of = equinox.filter_jit(lambda example: model.compute_next_token_loss(example))
    weights = [float(example.loss_weight.array.sum()) for example in examples]
    total = sum(float(loss_of(example).array) * weight for example, weight in zip(examples, weights))

    @equinox.filter_jit
    def logits_of(tokens):
        return model(haliax.named(tokens, "position"), examples[0].attn_mask).array

    def logits(row):
        return torch.from_numpy(np.array(logits_of(row[0].numpy())))[None]

    losses.check(total / sum(weights), logits, expected)
