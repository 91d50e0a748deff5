"""LoRA adapters, compared with `peft`."""

from checkpoints import families
import peft
import pytest
import torch
from checkpoints.test_families import check

LORA = {
    "llama": dict(target_modules=["q_proj", "v_proj", "down_proj"], r=4, lora_alpha=16),
    "llama-biases": dict(target_modules="all-linear", r=3, lora_alpha=6, use_rslora=True),
    "gpt2": dict(target_modules=["c_attn", "c_proj", "c_fc"], r=4, lora_alpha=8, fan_in_fan_out=True),
    "gpt2-untied": dict(target_modules=["attn.c_proj", "lm_head"], r=2, lora_alpha=8),
    "gpt-neox": dict(target_modules=["query_key_value", "dense"], r=4, lora_alpha=16),
    "phi3": dict(target_modules=["qkv_proj", "gate_up_proj"], r=4, lora_alpha=16),
}


def adapted(model, **settings):
    made = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return made


@pytest.mark.parametrize("name", LORA)
def test_adapter(ask, tmp_path, name):
    model = families.model(name)
    model.save_pretrained(tmp_path / "model")
    made = adapted(model, **LORA[name])
    made.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    check(ask, tmp_path / "model", made, adapter=tmp_path / "adapter")
    bare, with_adapter = ask([dict(model=tmp_path / "model"), dict(model=tmp_path / "model", adapter=tmp_path / "adapter")])
    assert bare["fingerprint"] != with_adapter["fingerprint"]


@pytest.mark.parametrize(
    "name, settings, said",
    [
        ("llama", dict(target_modules=["q_proj"], use_dora=True), "use_dora is true"),
        ("llama", dict(target_modules=["q_proj"], modules_to_save=["lm_head"]), "modules_to_save is"),
        ("llama", dict(target_modules=["q_proj"], rank_pattern={"q_proj": 2}), "rank_pattern is"),
        ("llama-biases", dict(target_modules=["q_proj"], bias="all"), "bias is"),
        ("llama", dict(target_modules=["embed_tokens"]), "belongs to no linear layer"),
    ],
)
def test_refused(ask, tmp_path, name, settings, said):
    model = families.model(name)
    model.save_pretrained(tmp_path / "model")
    adapted(model, r=4, **settings).save_pretrained(tmp_path / "adapter")
    [answer] = ask([dict(model=tmp_path / "model", adapter=tmp_path / "adapter")])
    assert said in answer["error"] and "adapter_" in answer["error"]
