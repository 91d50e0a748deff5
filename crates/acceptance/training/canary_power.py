"""The power of `goldfish canary test` by repetitions, on models that are really trained: prints tables, and draws them with --svg.

    GOLDFISH_BIN=$PWD/target/release/goldfish target/python/bin/python crates/acceptance/training/canary_power.py FOLDER [--svg FILE]

Each run plants other canaries in the same corpus and trains two models, with the standard loss and with the mask of the default rule. Both are tested with
the run's own plan, and the first of them also with the plan of the next run, which it never saw. What exists in FOLDER is not made again.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from product import Goldfish

ROOT = Path(__file__).resolve().parents[3]
CORPUS = [ROOT / "fixtures/corpus/prose.jsonl", ROOT / "fixtures/corpus/notes.jsonl"]
TOKENIZER = ROOT / "fixtures/tokenizers/gpt2.json"
REPETITIONS = [1, 2, 4, 8, 16]
PAIRS = 40
MODEL = "--layers 2 --width 128 --heads 4 --mlp-width 384 --tied --lr 2e-3 --epochs 1".split()
LOSSES = {"standard": ["--ignore-mask"], "goldfish": []}
SUBSETS = (5, 10, 20)


def plant(goldfish, folder, run):
    if not (folder / f"plan-{run}").exists():
        sizes = ["--canaries", PAIRS, "--repetitions", ",".join(map(str, REPETITIONS)), "--words", 32]
        goldfish.run("canary", "plant", *CORPUS, *sizes, "--seed", f"power {run}", "--output", folder / f"plan-{run}")
    return folder / f"plan-{run}"


def test(goldfish, plan, model, output):
    if not output.exists():
        goldfish.run("canary", "test", plan, "--model", model, "--output", output)
    return json.loads(output.read_text())


def results(goldfish, folder, runs, threads):
    """The results of each loss, and of models that never saw the plan."""
    found = {name: [] for name in [*LOSSES, "never planted"]}
    for run in range(runs):
        plan, masked = plant(goldfish, folder, run), folder / f"masked-{run}"
        if not masked.exists():
            text = [*CORPUS, plan / "canaries.jsonl", "--tokenizer", TOKENIZER, "--append-eos"]
            goldfish.run("mask", *text, "--output", masked)
        for name, options in LOSSES.items():
            model = folder / f"{name}-{run}"
            if not (model / "training.json").exists():
                more = [*MODEL, *options, "--seed", run, "--threads", threads, "--output", model]
                goldfish.run("lab", "train", masked, "--tokenizer", TOKENIZER, *more)
            found[name].append(test(goldfish, plan, model, folder / f"{name}-{run}.json"))
        other = plant(goldfish, folder, (run + 1) % runs)
        found["never planted"].append(test(goldfish, other, folder / f"standard-{run}", folder / f"never-{run}.json"))
    return found


def p_values(differences):
    """Exact one-sided p-values of the signed-rank test for the rows of a matrix without ties."""
    n = differences.shape[1]
    ways = np.ones(1)
    for rank in range(1, n + 1):
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    tail = ways[::-1].cumsum()[::-1] / 2.0**n
    ranks = np.abs(differences).argsort(1).argsort(1) + 1
    return tail[(ranks * (differences > 0)).sum(1)]


def power(results, repetitions, pairs):
    """The share of p-values below 0.05, over random subsets of the pairs of each run."""
    rng = np.random.default_rng(0)
    shares = []
    for result in results:
        of_group = [pair for pair in result["pairs"] if pair["repetitions"] == repetitions]
        differences = np.array([pair["held_out_loss"] - pair["planted_loss"] for pair in of_group])
        subsets = rng.permuted(np.tile(differences, (2000, 1)), axis=1)[:, :pairs]
        shares.append((p_values(subsets) < 0.05).mean())
    return float(np.mean(shares))


def drawing(curves):
    """A panel for each loss: power over repetitions, a line for each number of pairs."""
    width, height, left, top, wide, high = 760, 300, 52, 44, 300, 200
    colors = dict(zip(SUBSETS, ("#9ec5ea", "#3f8fd2", "#0b3d66")))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for panel, (name, lines) in enumerate(curves.items()):
        x0 = left + panel * (wide + 56)
        x = lambda i: x0 + wide * i / (len(REPETITIONS) - 1)
        y = lambda share: top + high * (1 - share)
        parts.append(f'<text x="{x0}" y="20" font-weight="600">{name}</text>')
        for share in (0, 0.25, 0.5, 0.75, 1):
            parts.append(f'<line x1="{x0}" x2="{x0 + wide}" y1="{y(share)}" y2="{y(share)}" stroke="#ddd"/>')
            parts.append(f'<text x="{x0 - 8}" y="{y(share) + 4}" text-anchor="end">{share:.0%}</text>')
        parts.append(f'<line x1="{x0}" x2="{x0 + wide}" y1="{y(0.05)}" y2="{y(0.05)}" stroke="#b33" stroke-dasharray="4 4"/>')
        for i, repetitions in enumerate(REPETITIONS):
            parts.append(f'<text x="{x(i)}" y="{top + high + 18}" text-anchor="middle">{repetitions}</text>')
        parts.append(f'<text x="{x0 + wide / 2}" y="{top + high + 38}" text-anchor="middle">repetitions of a planted passage</text>')
        for pairs, shares in lines.items():
            points = " ".join(f"{x(i):.1f},{y(share):.1f}" for i, share in enumerate(shares))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colors[pairs]}" stroke-width="2.5"/>')
            parts += [f'<circle cx="{x(i):.1f}" cy="{y(share):.1f}" r="3.5" fill="{colors[pairs]}"/>' for i, share in enumerate(shares)]
        if panel == 0:
            for i, (pairs, color) in enumerate(colors.items()):
                at = top + high - 64 + 18 * i
                parts.append(f'<line x1="{x0 + wide - 86}" x2="{x0 + wide - 66}" y1="{at}" y2="{at}" stroke="{color}" stroke-width="2.5"/>')
                parts.append(f'<text x="{x0 + wide - 60}" y="{at + 4}">{pairs} pairs</text>')
    return "\n".join([*parts, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    found = results(Goldfish(), options.folder, options.runs, options.threads)
    curves = {}
    for name, of_loss in found.items():
        values = [result["all"]["p_value"] for result in of_loss]
        print(f"\n{name}: p-values over all pairs {' '.join(f'{p:.2g}' for p in values)}")
        lines = {pairs: [power(of_loss, n, pairs) for n in REPETITIONS] for pairs in SUBSETS}
        for i, repetitions in enumerate(REPETITIONS):
            tests = [result["repetitions"][i]["test"] for result in of_loss]
            mean = lambda key: np.mean([test[key]["mean"] for test in tests])
            lower, pairs = (sum(test[key] for test in tests) for key in ("lower", "pairs"))
            shares = " ".join(f"{lines[n][i]:.0%}" for n in SUBSETS)
            print(f"{repetitions:4} | {lower / pairs:.1%} | {mean('loss_difference'):.2f} | {mean('exposure'):.2f} | {shares}")
        if name in LOSSES:
            curves[f"{name} loss: share of tests with p below 5%"] = lines
    if options.svg:
        options.svg.write_text(drawing(curves))


if __name__ == "__main__":
    main()
