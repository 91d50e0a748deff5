"""The models of the package `glassllm`, trained by their authors and run by their own NumPy, as Llama checkpoints."""

import json

import glassllm
import numpy as np
import pytest
import torch
from checkpoints.test_families import close
from safetensors.torch import save_file

TEXTS = {
    "en": "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do",
    "pt": "Uma noite destas, vindo da cidade para o Engenho Novo, encontrei no trem da Central um rapaz aqui do bairro",
}


def halves(weight, heads):
    """The rows of queries or keys, so that elements that rotate together are half a head apart; here they are neighbours."""
    dim = weight.shape[0] // heads
    return weight.reshape(heads, dim // 2, 2, -1).transpose(0, 2, 1, 3).reshape(heads * dim, -1)


def save(model, folder):
    config = model.cfg
    names = {"E": "model.embed_tokens.weight", "norm_f.gamma": "model.norm.weight"}
    parts = {
        "norm1.gamma": "input_layernorm",
        "norm2.gamma": "post_attention_layernorm",
        "attn.W_Q": "self_attn.q_proj",
        "attn.W_K": "self_attn.k_proj",
        "attn.W_V": "self_attn.v_proj",
        "attn.W_O": "self_attn.o_proj",
        "ffn.W1": "mlp.gate_proj",
        "ffn.W3": "mlp.up_proj",
        "ffn.W2": "mlp.down_proj",
    }
    for layer in range(config.n_layers):
        names |= {f"blocks.{layer}.{own}": f"model.layers.{layer}.{name}.weight" for own, name in parts.items()}
    heads = {"W_Q": config.n_heads, "W_K": config.n_kv_heads}
    tensors = {}
    for own, parameter in model.named_parameters().items():
        # Matrices are stored with a row for each input.
        weight = parameter.data.T if ".W" in own else parameter.data
        kind = own.split(".")[-1]
        weight = halves(weight, heads[kind]) if kind in heads else weight
        tensors[names.pop(own)] = torch.from_numpy(np.ascontiguousarray(weight))
    assert not names
    save_file(tensors, folder / "model.safetensors")
    settings = dict(
        model_type="llama",
        vocab_size=config.vocab_size,
        hidden_size=config.d_model,
        intermediate_size=int(8 * config.d_model / 3),
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        max_position_embeddings=config.max_len,
        rope_theta=config.rope_base,
        rms_norm_eps=config.eps,
        hidden_act="silu",
        tie_word_embeddings=True,
    )
    (folder / "config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize("language", glassllm.LANGUAGES)
def test_log_probs(ask, tmp_path, language):
    model, tokenizer = glassllm.load_pretrained(language)
    save(model, tmp_path)
    ids = tokenizer.encode(TEXTS[language])
    assert 20 < len(ids) <= model.cfg.max_len
    prompt, tokens = ids[:12], 30
    scored, continued = ask([dict(model=tmp_path, score=[ids]), dict(model=tmp_path, generate=[prompt], tokens=tokens)])
    with glassllm.no_grad():
        logits = model(ids).data[0, :-1].astype(np.float64)
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    own = log_probs[np.arange(len(ids) - 1), ids[1:]]
    assert close(scored["log_probs"][0], own.tolist())
    assert scored["ranks"][0] == (1 + (log_probs > own[:, None]).sum(1)).tolist()
    assert scored["greedy"][0] == logits.argmax(1).tolist()
    assert continued["ids"] == [[step.token for step in model.generate(prompt, tokens, greedy=True)]]
