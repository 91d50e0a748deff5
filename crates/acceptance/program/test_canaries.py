"""`goldfish canary`: passages are planted, a model is really trained on them, and the test is computed again with scipy."""

import hashlib
import json
import math
from types import SimpleNamespace

import pytest
from scipy import stats

GROUPS = {1: 12, 24: 12}


@pytest.fixture(scope="module")
def trained(goldfish, fixtures, tmp_path_factory):
    """A folder of canaries and a small model that saw them once, each of one group 24 times."""
    folder = tmp_path_factory.mktemp("canaries")
    corpus, tokenizer = fixtures / "corpus/prose.jsonl", fixtures / "tokenizers/gpt2.json"
    sizes = ["--canaries", 12, "--repetitions", ",".join(map(str, GROUPS)), "--words", 16, "--seed", "a secret"]
    planted = goldfish.run("canary", "plant", corpus, *sizes, "--output", folder / "plan", "--json")
    canaries = folder / "plan/canaries.jsonl"
    goldfish.run("mask", canaries, "--tokenizer", tokenizer, "--append-eos", "--output", folder / "masked")
    model = "--layers 1 --width 64 --heads 2 --mlp-width 128 --tied --lr 5e-3 --warmup 5 --epochs 3 --ignore-mask".split()
    goldfish.run("lab", "train", folder / "masked", "--tokenizer", tokenizer, *model, "--output", folder / "model")
    return SimpleNamespace(
        plan=folder / "plan", model=folder / "model", tokenizer=tokenizer, planted=json.loads(planted.stdout)
    )


def test_a_trained_model_is_found(goldfish, trained, tmp_path):
    digest = hashlib.sha256((trained.plan / "plan.json").read_bytes()).hexdigest()
    assert trained.planted["digest"] == digest and trained.planted["documents"] == 12 + 24 * 12
    gate = ["--fail-if", "all.p_value < 0.001"]
    output = tmp_path / "result.json"
    run = goldfish.run(
        "canary", "test", trained.plan, "--model", trained.model, "--digest", digest, "--output", output, *gate, expect=1
    )
    assert "gate failed" in run.stderr and "p-value" in run.stdout
    result = json.loads(output.read_text())
    assert result["plan"] == digest
    often = result["repetitions"][1]["test"]
    assert often["lower"] == 12 and often["exposure"]["mean"] > 3

    # The same numbers from the losses of the pairs.
    held_out = [pair["held_out_loss"] for pair in result["pairs"]]
    for pair in result["pairs"]:
        rank = 1 + sum(loss <= pair["planted_loss"] for loss in held_out)
        assert pair["exposure"] == pytest.approx(math.log2(25) - math.log2(rank), abs=1e-12)
    tests = [(result["all"], result["pairs"])]
    for group, (repetitions, pairs) in zip(result["repetitions"], GROUPS.items()):
        of_group = [pair for pair in result["pairs"] if pair["repetitions"] == repetitions]
        assert group["repetitions"] == repetitions and len(of_group) == pairs
        tests.append((group["test"], of_group))
    for test, pairs in tests:
        differences = [pair["held_out_loss"] - pair["planted_loss"] for pair in pairs]
        p_value = stats.wilcoxon(differences, alternative="greater", method="exact").pvalue
        assert test["p_value"] == pytest.approx(p_value, rel=1e-9)
        assert test["lower"] == sum(difference > 0 for difference in differences)
        assert test["loss_difference"]["mean"] == pytest.approx(sum(differences) / len(pairs))


def test_other_canaries_are_not_found(goldfish, trained, fixtures, tmp_path):
    """The model never saw these: its p-value is one of the uniform distribution, fixed by the seed."""
    corpus = fixtures / "corpus/prose.jsonl"
    goldfish.run("canary", "plant", corpus, "--words", 16, "--seed", "another", "--output", tmp_path / "plan")
    arguments = ["--model", trained.model, "--fail-if", "all.p_value < 0.001", "--json"]
    result = json.loads(goldfish.run("canary", "test", tmp_path / "plan", *arguments).stdout)
    assert result["all"]["pairs"] == 300 and result["all"]["p_value"] > 0.01
    exposure = result["all"]["exposure"]
    assert exposure["lower"] < result["chance_exposure"] < exposure["upper"]


def test_refusals(goldfish, trained, tmp_path):
    def refused(*words, folder=trained.plan, arguments=("--model", trained.model)):
        message = goldfish.run("canary", "test", folder, *arguments, expect=2).stderr
        assert all(word in message for word in words), message

    refused("it is another plan", arguments=["--model", trained.model, "--digest", "00" * 32])
    refused("plan.json", folder=tmp_path)
    refused("no `everything`", arguments=["--model", trained.model, "--fail-if", "everything.p_value < 0.1"])
    other = trained.tokenizer.with_name("neox.json")
    refused("own tokenizer reads other text", arguments=["--model", trained.model, "--tokenizer", other])
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).symlink_to(trained.model / name)
    refused("give --tokenizer", arguments=["--model", bare])
    edited = tmp_path / "edited"
    edited.mkdir()
    for path in trained.plan.iterdir():
        (edited / path.name).write_bytes(path.read_bytes())
    plan = json.loads((edited / "plan.json").read_text())
    plan["pairs"][0]["planted"] = "second" if plan["pairs"][0]["planted"] == "first" else "first"
    (edited / "plan.json").write_text(json.dumps(plan))
    refused("are not those that its seed and words give", folder=edited)
