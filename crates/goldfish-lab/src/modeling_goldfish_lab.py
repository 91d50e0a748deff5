"""Models of `goldfish lab` for `transformers`: `AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)`.

A layer is Llama's without positions; what mixes the tokens is `config.mixer`:

- `hard-alibi`: attention in which head i of the first `num_windowed_heads` sees its last i + 1 positions (arXiv 2402.01032)
- `aaren`: attention with one learned query a layer (arXiv 2405.13956)
- `linear`: attention with the features elu + 1 (arXiv 2006.16236)
- `hedgehog`: attention with the features softmax(W x) and softmax(-W x) (arXiv 2402.04347)
- `lstm`: `torch.nn.LSTM`

Sequences are computed as a whole, and nothing is kept from one token to the next: it is meant for comparing, not for serving.
"""

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutput


class GoldfishLabConfig(PretrainedConfig):
    model_type = "goldfish_lab"

    def __init__(
        self,
        mixer="hard-alibi",
        vocab_size=259,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_windowed_heads=0,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        hidden_act="silu",
        tie_word_embeddings=False,
        **settings,
    ):
        self.mixer = mixer
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_windowed_heads = num_windowed_heads
        self.max_position_embeddings = max_position_embeddings
        self.rms_norm_eps = rms_norm_eps
        self.hidden_act = hidden_act
        settings.setdefault("use_cache", False)
        super().__init__(tie_word_embeddings=tie_word_embeddings, **settings)


class Norm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.hidden_size))
        self.epsilon = config.rms_norm_eps

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon)


class Features(nn.Module):
    """Hedgehog's learned features, `[batch, heads, length, 2 D]` of `[batch, heads, length, D]`."""

    def __init__(self, heads, width):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(width).repeat(heads, 1, 1))

    def forward(self, x):
        y = torch.einsum("hij,bhtj->bhti", self.weight, x)
        return torch.cat([torch.softmax(y, -1), torch.softmax(-y, -1)], -1)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.mixer = config.mixer
        self.heads = config.num_attention_heads
        self.windowed = config.num_windowed_heads
        width = config.hidden_size
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"]:
            setattr(self, name, nn.Linear(width, width, bias=False))
        if self.mixer == "aaren":
            self.query = nn.Parameter(torch.zeros(width))
        if self.mixer == "hedgehog":
            self.q_features = Features(self.heads, width // self.heads)
            self.k_features = Features(self.heads, width // self.heads)

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x):
        length = x.shape[1]
        q = self.q_proj(self.query.expand_as(x) if self.mixer == "aaren" else x)
        q, k, v = self.split(q), self.split(self.k_proj(x)), self.split(self.v_proj(x))
        # How many positions before its own each key is from each query; negative if the key comes later.
        distance = torch.arange(length, device=x.device)[:, None] - torch.arange(length, device=x.device)
        if self.mixer in ("linear", "hedgehog"):
            if self.mixer == "linear":
                q, k = nn.functional.elu(q) + 1, nn.functional.elu(k) + 1
            else:
                q, k = self.q_features(q), self.k_features(k)
            weights = (q @ k.transpose(-1, -2)).masked_fill(distance < 0, 0)
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-6)
        else:
            hidden = (distance < 0).repeat(self.heads, 1, 1)
            if self.mixer == "hard-alibi":
                for head in range(self.windowed):
                    hidden[head] |= distance > head
            scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
            weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), -1)
        return self.o_proj((weights @ v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, x):
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = Norm(config)
        self.post_attention_layernorm = Norm(config)
        self.mlp = Mlp(config)
        if config.mixer == "lstm":
            self.lstm = nn.LSTM(config.hidden_size, config.hidden_size, batch_first=True)
        else:
            self.self_attn = Attention(config)

    def forward(self, x):
        normed = self.input_layernorm(x)
        x = x + (self.lstm(normed)[0] if hasattr(self, "lstm") else self.self_attn(normed))
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = Norm(config)

    def forward(self, ids):
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class GoldfishLabForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = GoldfishLabConfig
    base_model_prefix = "model"
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config):
        super().__init__(config)
        if config.mixer not in ("hard-alibi", "aaren", "linear", "hedgehog", "lstm"):
            raise ValueError(f"unknown mixer {config.mixer}")
        self.model = Body(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, embeddings):
        self.model.embed_tokens = embeddings

    def get_output_embeddings(self):
        return self.lm_head

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **_):
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(self, input_ids, attention_mask=None, labels=None, **_):
        """Sequences of one length, without padding. Labels of -100 are excluded from the loss."""
        if attention_mask is not None and not attention_mask.bool().all():
            raise ValueError("padding is not masked; pass sequences of one length")
        logits = self.lm_head(self.model(input_ids))
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)
