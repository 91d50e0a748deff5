"""The lab's own models and Mamba, compared with torch and `transformers`: log-probabilities, ranks, continuations."""

import importlib.util
import json
import shutil
import sys

from checkpoints import families
import pytest
from checkpoints.test_families import check
import torch
import transformers

MODELING = "crates/goldfish-lab/src/modeling_goldfish_lab.py"
CLASSES = {"AutoConfig": "modeling_goldfish_lab.GoldfishLabConfig", "AutoModelForCausalLM": "modeling_goldfish_lab.GoldfishLabForCausalLM"}
SIZES = dict(vocab_size=families.VOCABULARY, hidden_size=48, num_hidden_layers=3, bos_token_id=1, eos_token_id=2)
LAB = dict(SIZES, intermediate_size=80, num_attention_heads=4, num_windowed_heads=3, max_position_embeddings=32)
MAMBA = dict(SIZES, hidden_size=40, state_size=8, time_step_rank=5)
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
}


@pytest.fixture(scope="session")
def modeling(repository):
    spec = importlib.util.spec_from_file_location("modeling_goldfish_lab", repository / MODELING)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(modeling, name, **changes):
    """A model whose weights all differ from their initial values."""
    settings = {**MODELS[name], **changes}
    if name.startswith("mamba"):
        model = transformers.MambaForCausalLM(transformers.MambaConfig(**settings))
    else:
        mixer = next(mixer for mixer in ["hard-alibi", "aaren", "linear", "hedgehog", "lstm"] if name.startswith(mixer))
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


@pytest.mark.parametrize("name", MODELS)
def test_model(ask, tmp_path, modeling, name):
    """Sequences are longer than `max_position_embeddings`, which limits none of them."""
    model = made(modeling, name)
    model.save_pretrained(tmp_path)
    check(ask, tmp_path, model)
    [described] = ask([dict(model=tmp_path)])
    assert described["context_length"] is None


@pytest.mark.parametrize("name", MODELS)
def test_loaded_by_transformers(ask, tmp_path, repository, modeling, name):
    """A folder with the file beside the weights, as `lab train` writes it, without importing it by hand."""
    model = made(modeling, name)
    model.save_pretrained(tmp_path)
    if not name.startswith("mamba"):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": CLASSES}))
        shutil.copy(repository / MODELING, tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, trust_remote_code=True).eval()
    ids = torch.tensor([families.sequences()[0]])
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, model(ids).logits)
    prompt = ids[:, :20]
    continued = loaded.generate(prompt, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
    [answer] = ask([dict(model=tmp_path, generate=prompt.tolist(), tokens=12)])
    assert answer["ids"] == [continued[0, 20:].tolist()]


@pytest.mark.parametrize("name", ["mamba", "aaren", "lstm"])
def test_half_files(ask, tmp_path, modeling, name):
    model = made(modeling, name).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    check(ask, tmp_path, model.to(torch.float32))


def test_adapter_on_mamba(ask, tmp_path, modeling):
    from checkpoints.test_adapters import adapted

    model = made(modeling, "mamba")
    model.save_pretrained(tmp_path / "model")
    adapter = adapted(model, target_modules=["in_proj", "x_proj", "out_proj"], r=4, lora_alpha=8)
    adapter.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    check(ask, tmp_path / "model", adapter, adapter=tmp_path / "adapter")


def test_attention_of_one_position_is_the_value(modeling):
    """Hedgehog, Aaren and the heads of Hard-ALiBi agree where there is one position to see."""
    for mixer in ["hard-alibi", "aaren", "linear", "hedgehog"]:
        config = modeling.GoldfishLabConfig(mixer=mixer, **LAB)
        attention = modeling.Attention(config)
        x = torch.randn(2, 1, 48)
        torch.testing.assert_close(attention(x), attention.o_proj(attention.v_proj(x)))
