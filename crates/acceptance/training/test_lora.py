"""`goldfish lab train --lora-rank`, compared with `peft`: optimizer steps, and folders that both read."""

import json

import peft
import pytest
import torch
from training import models
from training.fixtures import goldfish, rows, summary
from training.test_lab import PREFIX, SUFFIX, contents, load, masked_loss, metrics, train

ARCHITECTURES = ["llama", "nope", "aaren", "hedgehog", "lstm", "mamba"]
LAYERS = {
    "lstm": ["down_proj", "gate_proj", "up_proj"],
    "mamba": ["in_proj", "x_proj"],
}
ATTENTION = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


@pytest.fixture(scope="module")
def base(corpus, tmp_path_factory):
    """A checkpoint of each architecture that has not seen the documents."""
    made = {}

    def of(arch):
        if arch not in made:
            made[arch] = tmp_path_factory.mktemp(arch) / "model"
            options = ["--vocab-size", models.VOCAB, "--layers", 2, "--width", 64, "--heads", 4, "--mlp-width", 192]
            options += ["--sequence-length", models.TOKENS, "--epochs", 3]
            goldfish("lab", "train", corpus.held_out, "--arch", arch, *options, "--output", made[arch])
        return made[arch]

    return of


def adapt(corpus, base, output, *more, code=0):
    whole = ["--batch", models.DOCUMENTS, "--sequence-length", models.TOKENS]
    return goldfish("lab", "train", corpus.shards, "--from", base, *whole, "--output", output, *more, code=code)


def adapters(folder, base, trainable=False):
    return peft.PeftModel.from_pretrained(load(base), folder, is_trainable=trainable)


def trained(model):
    return {name: parameter for name, parameter in model.named_parameters() if "lora_" in name}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_steps_equal_those_of_peft(corpus, base, tmp_path, arch):
    options = ["--lora-rank", 4, "--lora-alpha", 12, "--weight-decay", 0.1, "--clip", 0.5, "--warmup", 2]
    # A learning rate of 0 keeps the initial adapters.
    adapt(corpus, base(arch), tmp_path / "first", *options, "--steps", 1, "--lr", 0)
    adapt(corpus, base(arch), tmp_path / "third", *options, "--steps", 3, "--lr", 3e-3)
    model = adapters(tmp_path / "first", base(arch), trainable=True)
    own, expected = trained(model), trained(adapters(tmp_path / "third", base(arch)))
    assert sorted({name.split(".")[-4] for name in own}) == LAYERS.get(arch, ATTENTION)
    for name, parameter in own.items():
        if "lora_A" in name:
            limit = parameter.shape[1] ** -0.5
            assert 0.9 * limit < parameter.abs().max() <= limit and parameter.mean().abs() < 0.2 * limit, name
        else:
            assert not parameter.any(), name
    [first] = metrics(tmp_path / "first")
    assert abs(first["loss"] / masked_loss(load(base(arch)), corpus).item() - 1) < 1e-5
    assert all(parameter.requires_grad == ("lora_" in name) for name, parameter in model.named_parameters())
    optimizer = torch.optim.AdamW(own.values(), betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for line in metrics(tmp_path / "third"):
        optimizer.param_groups[0]["lr"] = line["learning_rate"]
        loss = masked_loss(model, corpus)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(own.values(), 0.5)
        optimizer.step()
        assert abs(line["loss"] / loss.item() - 1) < 1e-5
        assert abs(line["gradient_norm"] / norm.item() - 1) < 1e-4
    training = json.loads((tmp_path / "third" / "training.json").read_text())
    assert training["parameters"] == sum(parameter.numel() for parameter in own.values())
    assert own.keys() == expected.keys()
    for name, theirs in expected.items():
        # As for whole models: noise in a gradient near 0 shows.
        difference = (theirs - own[name]).abs()
        assert difference.mean() < 1e-5 and difference.max() < 2e-3, name


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_adapters_in_peft(corpus, base, tmp_path, arch):
    """Trained adapters give the same log-probabilities in `peft`, merged or not, as in an audit."""
    before = contents(base(arch))
    adapt(corpus, base(arch), tmp_path / "adapter", "--lora-rank", 8, "--epochs", 30, "--lr", 1e-2, "--ignore-mask")
    assert contents(base(arch)) == before
    model = adapters(tmp_path / "adapter", base(arch)).eval()
    assert all(parameter.abs().max() > 1e-3 for parameter in trained(model).values())
    audit = ["audit", corpus.shards, "--model", base(arch), "--prefix", PREFIX, "--suffix", SUFFIX]
    # Random ids, which the checkpoint can't predict.
    audit += ["--allow-tokenizer-mismatch"]
    summary(*audit, "--adapter", tmp_path / "adapter", "--output", tmp_path / "run")
    summary(*audit, "--output", tmp_path / "bare")
    with torch.no_grad():
        for row, bare in zip(rows(tmp_path / "run"), rows(tmp_path / "bare"), strict=True):
            ids = torch.tensor([corpus.learned[int(row["doc_id"].removeprefix("learned"))]])
            log_probs = model(input_ids=ids).logits[0, PREFIX - 1 : -1].log_softmax(-1)
            own = log_probs[torch.arange(SUFFIX), ids[0, PREFIX:]]
            assert max(abs(a - b) for a, b in zip(row["log_probs"], own.tolist(), strict=True)) < 1e-5
            assert max(abs(a - b) for a, b in zip(row["log_probs"], bare["log_probs"], strict=True)) > 0.1
        logits = model(input_ids=ids).logits
        merged = model.merge_and_unload()(ids).logits
        assert (logits - merged).abs().max() < 1e-4


def test_chosen_layers(corpus, base, tmp_path):
    targets = ["--lora-rank", 2, "--lora-targets", "q_proj,mlp.down_proj", "--steps", 1]
    adapt(corpus, base("llama"), tmp_path / "adapter", *targets)
    found = {name.split(".")[-4] for name in trained(adapters(tmp_path / "adapter", base("llama")))}
    assert found == {"q_proj", "down_proj"}
    refused = adapt(corpus, base("llama"), tmp_path / "other", "--lora-rank", 2, "--lora-targets", "lm_head", code=2).stderr
    assert '"lm_head"' in refused and ", ".join(ATTENTION) in refused
    refused = train(corpus, tmp_path / "other", "--lora-rank", 2, code=2).stderr
    assert "--from" in refused


def test_parts_of_a_sweep(tmp_path):
    """Both parts that train a checkpoint further, at the smallest size: what was trained, and on how much."""
    sweep = ["lab", "sweep", "--quick", "--architectures", "llama", "--parts", "adapters,lengths", "--output", tmp_path / "sweep"]
    found = json.loads(goldfish(*sweep, "--json").stdout)
    tuned = found["tuned"]
    assert [(one["rank"], one["k"]) for one in tuned] == [(rank, k) for k in (None, 3) for rank in (2, 8, 32, None)]
    # Two layers: four matrices of attention with 128 and 128, three of the MLP with 128 and 384.
    sides = 2 * (4 * (128 + 128) + 3 * (128 + 384))
    assert all(one["parameters"] == one["rank"] * sides for one in tuned if one["rank"])
    assert len({one["supervised_tokens"] for one in tuned}) == 2, "by loss alone"
    assert all(one["exact_match"]["n"] == 4 for one in tuned)
    [lengths] = found["lengths"]
    longest, random = lengths["longest"], lengths["random"]
    assert longest["exact_match"]["n"] == 8 < random["exact_match"]["n"]
    assert longest["mean_tokens"] > random["mean_tokens"]
    assert 1 <= random["supervised_tokens"] / longest["supervised_tokens"] < 1.5
    assert lengths["difference"]["lower"] < lengths["difference"]["difference"] < lengths["difference"]["upper"]
    # Trained again only where something is missing.
    (tmp_path / "sweep" / "adapters" / "llama-text-rank-8" / "tuned.json").unlink()
    before = contents(tmp_path / "sweep" / "adapters" / "llama-text-rank-2" / "model")
    assert json.loads(goldfish(*sweep, "--json").stdout) == found
    assert contents(tmp_path / "sweep" / "adapters" / "llama-text-rank-2" / "model") == before
    page = (tmp_path / "sweep" / "sweep.html").read_text()
    assert "<h2 id=\"tuned-h\">" in page and "<h2 id=\"lengths-h\">" in page
