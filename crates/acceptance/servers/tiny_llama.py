"""A Llama of a few thousand random weights: as a Hugging Face checkpoint, as a GGUF file, and in numpy."""

import json
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

UNKNOWN, BOS, EOS = 0, 1, 2
# After the special tokens and the 256 bytes: one character each.
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 3 + 256 + len(CHARACTERS),
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "hidden_act": "silu",
    "torch_dtype": "float32",
}
HEAD = CONFIG["hidden_size"] // CONFIG["num_attention_heads"]


def weights(seed):
    """float32 arrays by their Hugging Face names."""
    random = np.random.default_rng(seed)
    hidden, inner, vocab = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["vocab_size"]
    keys = CONFIG["num_key_value_heads"] * HEAD

    def matrix(rows, columns, scale=1.0):
        return (random.standard_normal((rows, columns)) * scale / np.sqrt(columns)).astype(np.float32)

    def norm():
        return (1 + 0.1 * random.standard_normal(hidden)).astype(np.float32)

    found = {"model.embed_tokens.weight": matrix(vocab, hidden, 4.0)}
    for layer in range(CONFIG["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        found |= {
            prefix + "self_attn.q_proj.weight": matrix(hidden, hidden, 2.0),
            prefix + "self_attn.k_proj.weight": matrix(keys, hidden, 2.0),
            prefix + "self_attn.v_proj.weight": matrix(keys, hidden, 2.0),
            prefix + "self_attn.o_proj.weight": matrix(hidden, hidden, 2.0),
            prefix + "mlp.gate_proj.weight": matrix(inner, hidden),
            prefix + "mlp.up_proj.weight": matrix(inner, hidden),
            prefix + "mlp.down_proj.weight": matrix(hidden, inner, 2.0),
            prefix + "input_layernorm.weight": norm(),
            prefix + "post_attention_layernorm.weight": norm(),
        }
    head = matrix(vocab, hidden, 3.0)
    # Bytes are unlikely, so generated text is valid. The end of sequence is as likely as a character.
    head[3 : 3 + 256] *= 0.05
    return found | {"model.norm.weight": norm(), "lm_head.weight": head}


def without_end(seed=0):
    """Weights of a model that never ends a sequence: the end is as likely as what no weight speaks for."""
    found = weights(seed)
    found["lm_head.weight"][EOS] = 0
    return found


def write_tokenizer(path):
    """Writes the tokenizer of the GGUF file as a tokenizer.json."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *CHARACTERS]
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [{"id": id, "content": token, **special} for id, token in enumerate(tokens[:3])],
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "byte_fallback": True,
            "vocab": {token: id for id, token in enumerate(tokens)},
            "merges": [],
        },
    }
    Path(path).write_text(json.dumps(tokenizer))
    return path


def write_checkpoint(folder, seed=0, arrays=None):
    """Writes a checkpoint like `transformers`, without a tokenizer."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2))
    save_file(weights(seed) if arrays is None else arrays, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def interleaved(weight, heads):
    """Rows in the order of llama.cpp, which rotates neighbors; Hugging Face rotates the two halves of a head."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(path, seed=0, arrays=None):
    """Writes the same weights for llama.cpp, in float32."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(CONFIG["hidden_size"])
    writer.add_feed_forward_length(CONFIG["intermediate_size"])
    writer.add_block_count(CONFIG["num_hidden_layers"])
    writer.add_head_count(CONFIG["num_attention_heads"])
    writer.add_head_count_kv(CONFIG["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_rope_freq_base(CONFIG["rope_theta"])
    writer.add_rope_dimension_count(HEAD)
    writer.add_vocab_size(CONFIG["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    kinds = gguf.TokenType
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *CHARACTERS]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL] + [kinds.BYTE] * 256 + [kinds.NORMAL] * len(CHARACTERS)
    writer.add_token_types([int(kind) for kind in types])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for name, weight in (weights(seed) if arrays is None else arrays).items():
        name = name.removesuffix(".weight")
        if name in whole:
            target = whole[name]
        else:
            _, _, layer, rest = name.split(".", 3)
            target = f"blk.{layer}.{names[rest]}"
        if name.endswith("q_proj"):
            weight = interleaved(weight, CONFIG["num_attention_heads"])
        if name.endswith("k_proj"):
            weight = interleaved(weight, CONFIG["num_key_value_heads"])
        writer.add_tensor(target + ".weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class Llama:
    """The model in float64 numpy: logits after every position."""

    def __init__(self, seed=0):
        self.weights = {name: weight.astype(np.float64) for name, weight in weights(seed).items()}

    def linear(self, name, x):
        return x @ self.weights[name + ".weight"].T

    def norm(self, name, x):
        scale = np.sqrt((x * x).mean(-1, keepdims=True) + CONFIG["rms_norm_eps"])
        return x / scale * self.weights[name + ".weight"]

    def rotate(self, x):
        """x: heads, positions, HEAD."""
        half = HEAD // 2
        angles = np.outer(np.arange(x.shape[1]), CONFIG["rope_theta"] ** (-np.arange(half) / half))
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], -1)

    def logits(self, ids):
        """Positions, vocabulary."""
        x = self.weights["model.embed_tokens.weight"][list(ids)]
        positions, heads, groups = len(ids), CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"]
        for layer in range(CONFIG["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            normed = self.norm(prefix + "input_layernorm", x)
            split = lambda name, n: self.linear(prefix + f"self_attn.{name}_proj", normed).reshape(positions, n, HEAD).swapaxes(0, 1)
            q, k = self.rotate(split("q", heads)), self.rotate(split("k", groups))
            k, v = (np.repeat(one, heads // groups, axis=0) for one in (k, split("v", groups)))
            scores = q @ k.swapaxes(1, 2) / np.sqrt(HEAD)
            scores[:, np.triu(np.ones((positions, positions), bool), 1)] = -np.inf
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(positions, -1)
            x = x + self.linear(prefix + "self_attn.o_proj", mixed)
            normed = self.norm(prefix + "post_attention_layernorm", x)
            gate = self.linear(prefix + "mlp.gate_proj", normed)
            x = x + self.linear(prefix + "mlp.down_proj", gate / (1 + np.exp(-gate)) * self.linear(prefix + "mlp.up_proj", normed))
        return self.linear("lm_head", self.norm("model.norm", x))

    def greedy(self, prompt, tokens, ignore_eos=True):
        """The greedy continuation, and the smallest margin of a token over the next likeliest."""
        ids, lead = list(prompt), np.inf
        for _ in range(tokens):
            last = self.logits(ids)[-1]
            if ignore_eos:
                last[EOS] = -np.inf
            second, first = np.sort(last)[-2:]
            lead = min(lead, first - second)
            ids.append(int(last.argmax()))
        return ids[len(prompt):], lead
