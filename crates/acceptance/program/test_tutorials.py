"""Runs the tutorials from top to bottom, each in one shell, and compares what they say with what happens."""

import json
import re
import subprocess

import pytest

from commands import blocks, checkout, environment


@pytest.fixture
def follow(repository, tmp_path):
    """Runs the commands of a tutorial; returns the folder and everything that was printed."""

    def run(name, folder):
        bodies = [body for _, body in blocks(repository / f"docs/tutorials/{name}.md")]
        assert len(bodies) >= 4
        command = ["bash", "-euxo", "pipefail", "-c", "\n".join(bodies)]
        variables = environment(repository, tmp_path)
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.run(command, cwd=folder, env=variables, text=True, timeout=1800, **both)
        assert process.returncode == 0, process.stdout[-8000:]
        return process.stdout

    return run


def test_engineer(follow, repository, tmp_path):
    folder = checkout(repository, tmp_path / "goldfish")
    said = follow("engineer", folder)
    made = folder / "target/engineer"
    assert "122 documents" in said and "15,550 tokens, 19.25% of all" in said and "24.13% of those it decided" in said
    assert re.search(r"^text-v2, .*this folder.* 11\.24%", said, re.MULTILINE)
    assert re.search(r"^hash, context 13 .* 67\.22%", said, re.MULTILINE)
    assert "epoch 2: loss" in said
    assert (made / "model/model.safetensors").is_file() and (made / "megatron/mask.bin").is_file()


def test_auditor(follow, tmp_path):
    folder = tmp_path / "anywhere"
    folder.mkdir()
    said = follow("auditor", folder)
    assert "299 probes from 299 documents" in said
    found = {}
    for name in ("standard", "goldfish"):
        summary = json.loads((folder / f"runs/{name}/summary.json").read_text())
        found[name] = (summary["exact_match"]["positives"], summary["exact_match"]["n"])
    assert found["standard"] == (64, 64)
    assert found["goldfish"][0] <= 4
    assert "positive control: 16 of 16 probes found" in said
    assert "exact_match.positives is 3, computed again 64" in said and re.search("^refused: 1$", said, re.MULTILINE)
    assert "the model answers" in said
    assert re.search("^stopped: 1$", said, re.MULTILINE)


def test_researcher(follow, tmp_path):
    folder = tmp_path / "anywhere"
    folder.mkdir()
    said = follow("researcher", folder)
    arms = {arm["name"]: arm["exact_match"] for arm in json.loads((folder / "sweep/results.json").read_text())["arms"]}
    assert {arm["n"] for arm in arms.values()} == {16}
    assert arms["standard"]["positives"] == 16 and arms["random-4"]["positives"] >= 15
    assert arms["text-4"]["positives"] <= 1 < 6 <= arms["text-32"]["positives"]
    assert "81% of the tokens in the loss" in said
    own = {rule: json.loads((folder / f"own/{rule}/run/summary.json").read_text()) for rule in ("hash", "text")}
    assert own["text"]["exact_match"]["positives"] <= 1 < 6 <= own["hash"]["exact_match"]["positives"]
