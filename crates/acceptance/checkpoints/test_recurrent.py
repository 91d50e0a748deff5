"""The lab's own models, Mamba and Mamba 2, compared with torch and `transformers`: log-probabilities, ranks, continuations."""

import json
import shutil

import pytest
import torch
import transformers
from checkpoints import families
from checkpoints.recurrent import LAB, MODELING, MODELS, made, modeling
from checkpoints.test_adapters import adapted
from checkpoints.test_families import check

CLASSES = {"AutoConfig": "modeling_goldfish_lab.GoldfishLabConfig", "AutoModelForCausalLM": "modeling_goldfish_lab.GoldfishLabForCausalLM"}


@pytest.mark.parametrize("name", MODELS)
def test_model(ask, tmp_path, name):
    """Sequences are longer than `max_position_embeddings`, which limits none of them."""
    model = made(name)
    model.save_pretrained(tmp_path)
    check(ask, tmp_path, model, tokens=4)
    [described] = ask([dict(model=tmp_path)])
    assert described["context_length"] is None


# Token by token, `transformers` doesn't limit the time steps of Mamba 2.
@pytest.mark.parametrize("name", [name for name in MODELS if name != "mamba2-limits"])
def test_loaded_by_transformers(ask, tmp_path, name):
    """A folder with the file beside the weights, as `lab train` writes it, without importing it by hand."""
    model = made(name)
    model.save_pretrained(tmp_path)
    if not name.startswith("mamba"):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": CLASSES}))
        shutil.copy(MODELING, tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, trust_remote_code=True).eval()
    ids = torch.tensor([families.sequences()[0]])
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, model(ids).logits)
    prompt = ids[:, :20]
    continued = loaded.generate(prompt, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
    [answer] = ask([dict(model=tmp_path, generate=prompt.tolist(), tokens=12)])
    assert answer["ids"] == [continued[0, 20:].tolist()]


@pytest.mark.parametrize("name", ["aaren", "lstm"])
def test_half_files(ask, tmp_path, name):
    model = made(name).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    check(ask, tmp_path, model.to(torch.float32))


def test_adapter_on_mamba(ask, tmp_path):
    model = made("mamba")
    model.save_pretrained(tmp_path / "model")
    adapter = adapted(model, target_modules=["in_proj", "x_proj"], r=4, lora_alpha=8)
    adapter.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    check(ask, tmp_path / "model", adapter, adapter=tmp_path / "adapter", tokens=2)


def test_attention_of_one_position_is_the_value():
    """Hedgehog, Aaren and the heads of Hard-ALiBi agree where there is one position to see."""
    for mixer in ["hard-alibi", "aaren", "linear", "hedgehog"]:
        config = modeling.GoldfishLabConfig(mixer=mixer, **LAB)
        attention = modeling.Attention(config)
        x = torch.randn(2, 1, 48)
        torch.testing.assert_close(attention(x), attention.o_proj(attention.v_proj(x)))
