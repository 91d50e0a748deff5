"""The lab's own models, Mamba and Mamba 2: tiny configurations, and their classes."""

import importlib.util
import sys
from pathlib import Path

import torch
import transformers
from checkpoints import families

MODELING = Path(__file__).parents[2] / "goldfish-lab/src/modeling_goldfish_lab.py"
MIXERS = ["hard-alibi", "aaren", "linear", "hedgehog", "lstm"]
SIZES = dict(vocab_size=families.VOCABULARY, hidden_size=48, num_hidden_layers=3, bos_token_id=1, eos_token_id=2)
LAB = dict(SIZES, intermediate_size=80, num_attention_heads=4, num_windowed_heads=3, max_position_embeddings=32)
# `transformers` reads a Mamba's tokens one by one, so there are few.
MAMBA = dict(SIZES, hidden_size=40, num_hidden_layers=2, state_size=8, time_step_rank=5)
MAMBA2 = dict(SIZES, hidden_size=40, num_hidden_layers=2, num_heads=8, head_dim=10, n_groups=2, state_size=12, chunk_size=16)
MODELS = {
    "hard-alibi": dict(LAB),
    "hard-alibi-none": dict(LAB, num_windowed_heads=0),
    "aaren": dict(LAB, tie_word_embeddings=True),
    "linear": dict(LAB),
    "linear-one-head": dict(LAB, num_attention_heads=1, num_hidden_layers=1),
    "hedgehog": dict(LAB),
    "lstm": dict(LAB, num_attention_heads=None, num_windowed_heads=None),
    "mamba": MAMBA,
    "mamba-untied": dict(MAMBA, tie_word_embeddings=False, use_bias=True, use_conv_bias=False, conv_kernel=3, intermediate_size=56),
    "mamba2": MAMBA2,
    "mamba2-tied": dict(MAMBA2, tie_word_embeddings=True, use_bias=True, use_conv_bias=False, conv_kernel=2, n_groups=1),
    "mamba2-limits": dict(MAMBA2, time_step_limit=(0.02, 0.08)),
}

spec = importlib.util.spec_from_file_location("modeling_goldfish_lab", MODELING)
modeling = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(modeling)


def made(name, **changes):
    """A model whose weights all differ from their initial values."""
    settings = {**MODELS[name], **changes}
    if name.startswith("mamba2"):
        model = transformers.Mamba2ForCausalLM(transformers.Mamba2Config(**settings))
    elif name.startswith("mamba"):
        model = transformers.MambaForCausalLM(transformers.MambaConfig(**settings))
    else:
        mixer = next(mixer for mixer in MIXERS if name.startswith(mixer))
        model = modeling.GoldfishLabForCausalLM(modeling.GoldfishLabConfig(mixer=mixer, **settings))
    generator = torch.Generator().manual_seed(len(name))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1 or "A_log" in key or "features" in key:
                parameter.add_(0.2 * noise)
            else:
                parameter.copy_(noise * 0.8 / parameter.shape[-1] ** 0.5)
    return model.eval()
