"""`goldfish audit --work`: a model is trained on a part of a long work, and the audit says which part."""

import json
import math
import random

import pyarrow.parquet as pq
import pytest
from product import write_json_lines

WORK = 1200
# What the model was trained on.
SEEN = range(480, 800)
WINDOW = 64


@pytest.fixture(scope="module")
def run(goldfish, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    draw = random.Random(7)

    def text(tokens):
        # Eight tokens can follow each, so that text that was never seen is likelier than chance.
        ids = [0]
        while len(ids) < tokens:
            ids.append((7 * ids[-1] + 5 * draw.randrange(8)) % 64)
        return ids

    work, other = text(WORK), text(WORK)
    windows = [work[at : at + WINDOW] for at in range(SEEN.start, SEEN.stop - WINDOW + 1, 8)]
    write_json_lines(folder / "seen.jsonl", [{"id": f"window {n}", "input_ids": ids} for n, ids in enumerate([*windows, *(text(WINDOW) for _ in range(300))])])
    write_json_lines(folder / "work.jsonl", [{"id": "the work", "input_ids": work}])
    write_json_lines(folder / "other.jsonl", [{"id": "another", "input_ids": other}])
    goldfish.run("mask", folder / "seen.jsonl", "--ids-column", "input_ids", "--rule", "hash", "--output", folder / "masked")
    model = "--vocab-size 64 --layers 2 --width 64 --heads 4 --mlp-width 128 --lr 5e-3 --batch 8 --warmup 5 --epochs 14 --ignore-mask".split()
    goldfish.run("lab", "train", folder / "masked", *model, "--output", folder / "model")
    sizes = ["--work", "--prefix", 16, "--suffix", 16]
    documents = [folder / "work.jsonl", "--id-column", "id", "--control", folder / "other.jsonl"]
    done = goldfish.run("audit", *documents, "--model", folder / "model", *sizes, "--output", folder / "run")
    assert "the work" in done.stdout and "recited" in done.stdout
    return folder / "run"


def test_the_recited_part_is_the_one_that_was_seen(run):
    [work] = json.loads((run / "summary.json").read_text())["works"]
    # Every start of a stride of half a suffix.
    assert work["starts"] == (WORK - 32) // 8 + 1
    assert work["probed_tokens"] == 8 * (work["starts"] - 1) + 16
    parts = [(part["from"], part["to"]) for part in work["verbatim"]]
    assert all(part[0] >= SEEN.start and part[1] <= SEEN.stop for part in parts), parts
    # The first tokens of what was seen are prefixes only.
    assert work["verbatim_tokens"] > 0.7 * (len(SEEN) - 16)
    assert work["verbatim_tokens"] == sum(to - start for start, to in parts)
    assert work["near_tokens"] >= work["verbatim_tokens"]
    assert all(part["above_control"] for part in work["verbatim"])


def test_the_page_has_the_strip(goldfish, run, tmp_path):
    goldfish.run("report", run, "--output", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert '<section id="works"' in page and "Longest recitation" in page
    strip = page.split('<svg class="strip"')[1].split("</svg>")[0]
    assert 'class="verbatim"' in strip and "Recited: tokens" in strip
    assert "sound" in goldfish.run("verify", run).stdout
    forged = json.loads((run / "summary.json").read_text())
    forged["works"][0]["verbatim_tokens"] = 0
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in run.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "summary.json").write_text(json.dumps(forged))
    assert "verbatim_tokens" in goldfish.run("verify", copy, expect=1).stdout


def test_few_starts_are_no_work(goldfish, run, tmp_path):
    folder = run.parent
    few = ["--prefix", 16, "--suffix", 16, "--offset", "0,100,200"]
    goldfish.run("audit", folder / "work.jsonl", "--id-column", "id", "--model", folder / "model", *few, "--output", tmp_path / "run")
    assert json.loads((tmp_path / "run/summary.json").read_text())["works"] == []


def test_bounds_of_near_verbatim_draws(goldfish, run, tmp_path):
    """At distance 0 the bound is the probability of the suffix; with some edits allowed it is no less."""
    folder = run.parent
    found = {}
    for distance in [0, 2]:
        sizes = ["--prefix", 16, "--suffix", 16, "--stride", 40, "--metrics", "exact-match"]
        drawn = ["--temperature", 1, "--top-k", 20, "--top-p", 0.95, "--near-distance", distance, "--beams", 8]
        output = tmp_path / f"run-{distance}"
        goldfish.run("audit", folder / "work.jsonl", "--id-column", "id", "--model", folder / "model", *sizes, *drawn, "--output", output)
        assert "sound" in goldfish.run("verify", output).stdout
        found[distance] = pq.read_table(output / "results.parquet").to_pylist()
    for exact, near in zip(found[0], found[2]):
        assert exact["near_log_p_z"] == pytest.approx(exact["log_p_z"]) and exact["log_p_z"] == near["log_p_z"]
        # Eight beams may lose an unlikely suffix itself.
        assert near["near_log_p_z"] >= near["log_p_z"] - 1e-9 or near["log_p_z"] < -10
    assert any(near["near_log_p_z"] > near["log_p_z"] + 0.01 for near in found[2])
    assert any(row["log_p_z"] == -math.inf for row in found[2]), "top-p leaves some suffixes out"


def test_presets_and_options_in_files(goldfish, run, tmp_path):
    folder = run.parent
    audit = ["audit", folder / "work.jsonl", "--id-column", "id", "--model", folder / "model", "--metrics", "exact-match"]
    goldfish.run(*audit, "--preset", "pythia", "--output", tmp_path / "pythia")
    grid = json.loads((tmp_path / "pythia/config.json").read_text())["grid"]
    assert (grid["prefixes"], grid["suffixes"], grid["offsets"]) == ([32], [32], [0])
    (tmp_path / "options.toml").write_text('[audit]\npreset = "carlini"\nsuffix = [20]\nseed = 5\n')
    goldfish.run(*audit, "--config", tmp_path / "options.toml", "--seed", 7, "--output", tmp_path / "carlini")
    config = json.loads((tmp_path / "carlini/config.json").read_text())
    assert (config["grid"]["prefixes"], config["grid"]["suffixes"], config["sample"]["seed"]) == ([50], [20], 7)
    printed = goldfish.run(*audit, "--config", tmp_path / "options.toml", "--output", "x", "--print-config").stdout
    assert 'preset = "carlini"\n' in printed and "\nsuffix = [20]\n" in printed and "\n# near-distance" not in printed
    refused = goldfish.run(*audit, "--top-p", 0.5, "--output", tmp_path / "refused", expect=2)
    assert "give --temperature too" in refused.stderr
