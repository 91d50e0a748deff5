"""Every model family, compared with `transformers`: log-probabilities, ranks, continuations."""

import json

from checkpoints import families
import pytest
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors


def close(found, expected):
    assert len(found) == len(expected)
    return all(abs(f - e) <= 1e-4 * max(1.0, abs(e)) for f, e in zip(found, expected))


def check(ask, folder, model, adapter=None, tokens=12):
    sequences = families.sequences()
    prompts = [ids[: 10 + 3 * i] for i, ids in enumerate(sequences)]
    scored, continued = ask(
        [
            dict(model=folder, adapter=adapter, score=sequences),
            dict(model=folder, adapter=adapter, generate=prompts, tokens=tokens),
        ]
    )
    assert "error" not in scored, scored
    for i, ids in enumerate(sequences):
        log_probs, ranks, greedy = families.expected_scores(model, ids)
        assert close(scored["log_probs"][i], log_probs)
        assert scored["ranks"][i] == ranks
        assert scored["greedy"][i] == greedy
    assert continued["ids"] == [families.expected_continuation(model, prompt, tokens) for prompt in prompts]


@pytest.mark.parametrize("name", families.CONFIGURATIONS)
def test_family(ask, goldfish, tmp_path, name):
    model = families.model(name)
    model.save_pretrained(tmp_path / "model")
    check(ask, tmp_path / "model", model)
    audit(goldfish, tmp_path, model)


def audit(goldfish, folder, model, prefix=10, suffix=6):
    """Of passages, the command finds those that `transformers` continues so, and no others."""
    recited = {}
    with open(folder / "ids.jsonl", "w") as file:
        # The last sequence begins as the first one.
        for i, ids in enumerate(families.sequences()[:-1]):
            start = ids[:prefix]
            continuation = families.expected_continuation(model, start, suffix)
            changed = [*continuation[:-1], (continuation[-1] + 1) % families.VOCABULARY]
            for name, end in [("recited", continuation), ("changed", changed)]:
                recited[f"{name}-{i}"] = name == "recited"
                file.write(json.dumps({"id": f"{name}-{i}", "input_ids": start + end}) + "\n")
    lengths = ["--prefix", prefix, "--suffix", suffix, "--metrics", "exact-match", "--id-column", "id"]
    run = folder / "run"
    # Its weights are random.
    checkpoint = ["--model", folder / "model", "--allow-tokenizer-mismatch"]
    goldfish.run("audit", folder / "ids.jsonl", *lengths, *checkpoint, "--output", run)
    results = pq.read_table(run / "results.parquet", columns=["doc_id", "exact_match"]).to_pydict()
    assert dict(zip(results["doc_id"], results["exact_match"])) == recited


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt-neox"])
def test_shards(ask, tmp_path, name):
    model = families.model(name)
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    check(ask, tmp_path, model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_files(ask, tmp_path, dtype):
    model = families.model("llama").to(dtype)
    model.save_pretrained(tmp_path)
    # Loaded again, since converting the model also rounded its rotary frequencies.
    check(ask, tmp_path, type(model).from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager"))


def test_mxfp4(ask, tmp_path):
    """GPT-OSS stores the weights of its experts in 4 bits."""
    model = families.model("gpt-oss", hidden_size=64, intermediate_size=96)
    generator = torch.Generator().manual_seed(5)
    stored = {}
    for index, layer in enumerate(model.model.layers):
        for name in ["gate_up_proj", "down_proj"]:
            parameter = getattr(layer.mlp.experts, name)
            experts, inputs, outputs = parameter.shape
            blocks = torch.randint(256, (experts, outputs, inputs // 32, 16), generator=generator, dtype=torch.uint8)
            scales = torch.randint(121, 126, blocks.shape[:-1], generator=generator, dtype=torch.uint8)
            parameter.data = convert_moe_packed_tensors(blocks, scales, dtype=torch.bfloat16).float().contiguous()
            stored[f"model.layers.{index}.mlp.experts.{name}"] = (blocks, scales)
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(path).items() if name not in stored}
    for name, (blocks, scales) in stored.items():
        tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
    save_file(tensors, path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"quantization_config": {"quant_method": "mxfp4"}}))
    check(ask, tmp_path, model)


def test_bare_decoder(ask, tmp_path):
    """GPT-2's own files name tensors without `transformer.`."""
    model = families.model("gpt2")
    model.transformer.save_pretrained(tmp_path)
    check(ask, tmp_path, model)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "bloom", "olmoe", "deepseek-v3"])
def test_results_are_independent_of_batch_and_threads(ask, tmp_path, name):
    families.model(name).save_pretrained(tmp_path)
    sequences = families.sequences()
    together = dict(model=tmp_path, score=sequences)
    alone = [dict(model=tmp_path, score=[ids]) for ids in sequences]
    first, *rest = ask([together] + alone, RAYON_NUM_THREADS="2")
    assert first["log_probs"] == [answer["log_probs"][0] for answer in rest]
    assert [first] == ask([together], RAYON_NUM_THREADS="1")
    assert [first] == ask([together], RAYON_NUM_THREADS="3")
