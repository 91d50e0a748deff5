"""Sequences longer than the context: attention to a window and to retrieved blocks, compared with its definition in torch."""

import sys

import pytest
import torch
from checkpoints import families
from checkpoints.test_families import check, close

REPRESENTATIVES = 4
SETTINGS = {
    "retrieved": dict(window=24, blocks=3, block_tokens=8, init=4),
    "no-init": dict(window=16, blocks=2, block_tokens=5, init=0),
    "small-blocks": dict(window=9, blocks=4, block_tokens=2, init=3),
    "long-init": dict(window=16, blocks=2, block_tokens=4, init=40),
    "no-blocks": dict(window=20, blocks=0, block_tokens=6, init=5),
    "one-token": dict(window=1, blocks=1, block_tokens=1, init=1),
}


class Rotation:
    """What `transformers` rotates queries and keys by, at any distance."""

    def __init__(self, model, positions):
        self.cos, self.sin = model.model.rotary_emb(torch.zeros(1), torch.arange(positions)[None])

    def __call__(self, x, positions):
        cos, sin = self.cos[0, positions], self.sin[0, positions]
        half = x.shape[-1] // 2
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def attention(queries, keys, values, scale, memory, rotate):
    """`queries` `[heads, tokens, dim]`, `keys` and `values` `[kv_heads, tokens, dim]`, not rotated; token by token, as the words say."""
    window, wanted, size, init = (memory[key] for key in ["window", "blocks", "block_tokens", "init"])
    (heads, tokens, dim), kv_heads = queries.shape, keys.shape[0]
    of = torch.arange(heads) // (heads // kv_heads)
    received = torch.zeros(kv_heads, tokens)
    representatives, out = [], torch.zeros(tokens, heads, dim)
    for token in range(tokens):
        left = max(0, token + 1 - window)
        while init + size * (len(representatives) + 1) <= left:
            start = init + size * len(representatives)
            best = received[:, start : start + size].argsort(dim=1, descending=True, stable=True)[:, :REPRESENTATIVES]
            representatives.append(keys.gather(1, start + best[..., None].expand(-1, -1, dim)).sum(1))
        after = init + size * len(representatives)
        chosen = list(range(len(representatives)))
        if len(chosen) > wanted:
            query = rotate(rotate(queries[:, token], window), 0)
            scores = torch.stack([(query * block[of]).sum() for block in representatives])
            chosen = sorted(scores.argsort(descending=True, stable=True)[:wanted].tolist())
        far = list(range(min(init, left)))
        far += [init + size * block + place for block in chosen for place in range(size)]
        far += list(range(min(after, left), left))
        near = torch.arange(left, token + 1)
        turned = rotate(keys[:, near], near)[of]
        query, query_far = rotate(queries[:, token], token), rotate(rotate(queries[:, token], window), 0)
        products = torch.cat(
            [torch.einsum("hd,htd->ht", query_far, keys[of][:, far]), torch.einsum("hd,htd->ht", query, turned)], 1
        )
        weights = torch.softmax(products * scale, 1)
        out[token] = torch.einsum("ht,htd->hd", weights, values[of][:, far + near.tolist()])
        received[:, near] += torch.zeros(kv_heads, len(near)).index_add(0, of, weights[:, len(far) :])
    return out


CASES = [("llama", settings) for settings in SETTINGS]
CASES += [(name, "retrieved") for name in ["llama-yarn", "llama-llama3", "qwen3", "smollm3", "smollm3-nope"]]


@pytest.mark.parametrize("name, settings", CASES)
def test_definition(ask, tmp_path, monkeypatch, name, settings):
    """Sequences are longer than the context of 128 tokens, and refused without a memory."""
    memory = SETTINGS[settings]
    model = families.model(name)
    model.save_pretrained(tmp_path)
    sequences = families.sequences(count=2, longest=150)[:2]
    [refused] = ask([dict(model=tmp_path, score=sequences)])
    assert "takes 128 tokens at most, a sequence has 150" in refused["error"]
    modeling = sys.modules[type(model).__module__]
    turn = Rotation(model, 200)

    def attend(module, query, key, value, attention_mask=None, scaling=None, **others):
        rotates = getattr(module, "use_rope", True)
        rotate = turn if rotates else lambda x, positions: x
        return attention(query[0], key[0], value[0], scaling, memory, rotate)[None], None

    monkeypatch.setattr(modeling, "apply_rotary_pos_emb", lambda query, key, *others, **more: (query, key))
    monkeypatch.setattr(modeling, "eager_attention_forward", attend)
    prompt, tokens = sequences[0][:130], 3
    scored, continued = ask(
        [
            dict(model=tmp_path, memory=memory, score=sequences),
            dict(model=tmp_path, memory=memory, generate=[prompt], tokens=tokens),
        ]
    )
    for i, ids in enumerate(sequences):
        log_probs, ranks, greedy = families.expected_scores(model, ids)
        assert close(scored["log_probs"][i], log_probs)
        assert scored["ranks"][i] == ranks
        assert scored["greedy"][i] == greedy
    assert continued["ids"] == [families.expected_continuation(model, prompt, tokens)]


@pytest.mark.parametrize("name", ["llama", "gpt-neox", "gpt-neox-serial", "phi", "qwen2", "olmo2", "gemma", "gptj", "granite", "cohere", "stablelm-2", "mixtral-whole"])
def test_window_over_everything(ask, tmp_path, name):
    """Then nothing is before the window, and `transformers` computes the same."""
    model = families.model(name)
    model.save_pretrained(tmp_path)
    memory = dict(window=128, blocks=1, block_tokens=4, init=2)
    check(lambda questions: ask([dict(question, memory=memory) for question in questions]), tmp_path, model)


@pytest.mark.parametrize("name, why", [("gpt2", "a table of embeddings"), ("mistral", "sliding windows"), ("gemma2", "sliding windows"), ("bloom", "distance of keys"), ("deepseek-v3", "another width"), ("llama4", "depends on positions")])
def test_refused(ask, tmp_path, name, why):
    families.model(name).save_pretrained(tmp_path)
    [answer] = ask([dict(model=tmp_path, memory=SETTINGS["retrieved"])])
    assert why in answer["error"]
