"""Compares masks and speed of the reference rules between PyTorch and goldfish, on one thread each.

Called by `cargo bench -p xtask -- torch` with the example `decide` of xtask. The formula is that of the strategies
`hash-table` and `hash-avalanche` of ahans30/goldfish-loss 35d29f9, `lit_gpt/utils.py`.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

RUNS = 7
TOKENS = 4 << 20
K = 4
TABLE_SIZE = 1_000_003
MASK32 = (1 << 32) - 1


def avalanche(key: torch.Tensor) -> torch.Tensor:
    """Thomas Wang's mix, truncated to 32 bits where the reference does."""
    key = (~key + (key << 21)) & MASK32
    key = (key << 21) - key - 1
    key = key ^ (key >> 24)
    key = ((key + (key << 3)) + (key << 8)) & MASK32
    key = key * 265
    key = key ^ (key >> 14)
    key = ((key + (key << 2)) + (key << 4)) & MASK32
    key = key * 21
    key = key ^ (key >> 28)
    return (key + (key << 31)) & MASK32


def torch_mask(rule: str, width: int, targets: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """1 keeps a token of a batch of blocks, 0 drops it."""
    products = targets.unfold(1, width, 1).prod(dim=-1)
    if rule == "hash-table":
        dropped = table[products % TABLE_SIZE] < 1 / K
    else:
        dropped = avalanche(products) < MASK32 * (1 / K)
    mask = torch.ones_like(targets, dtype=torch.uint8)
    mask[:, width - 1 :][dropped] = 0
    return mask


class Decide:
    """Runs the example `decide`, which masks all documents for every line of input."""

    def __init__(self, program: str, rule: dict, ids: Path, document: int, mask: Path):
        command = [program, json.dumps({"version": 1, **rule}), str(ids), str(document), str(mask)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.mask = mask

    def run(self) -> float:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def finish(self) -> np.ndarray:
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise SystemExit("the example failed")
        return np.fromfile(self.mask, dtype=np.uint8)


def seconds(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> None:
    torch.set_num_threads(1)
    program, document = sys.argv[1], 2048
    table = torch.rand(TABLE_SIZE, generator=torch.Generator("cpu").manual_seed(2971215073))
    ids = np.random.default_rng(0).integers(0, 50_000, TOKENS, dtype=np.uint32)
    targets = torch.from_numpy(ids.astype(np.int64)).view(-1, document)
    print(
        f"\nReference rules beside PyTorch {torch.__version__}: one thread each, {TOKENS} tokens in blocks of {document}; "
        "the same bits; ratio = time of PyTorch / time of goldfish\n"
    )
    print("| work | ratio | min | max | Mtok/s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ids")
        ids.tofile(path)
        for rule in ["hash-table", "hash-avalanche"]:
            for width in [4, 13, 50]:
                decide = Decide(program, {"name": rule, "k": K, "context": width}, path, document, Path(folder, "mask"))
                decide.run()
                pairs = []
                for _ in range(RUNS):
                    ours = decide.run()
                    theirs, mask = seconds(lambda: torch_mask(rule, width, targets, table))
                    pairs.append((theirs / ours, TOKENS / ours / 1e6))
                if not np.array_equal(decide.finish(), mask.numpy().reshape(-1)):
                    raise SystemExit(f"{rule}, h = {width}: the masks differ")
                ratios = [ratio for ratio, _ in pairs]
                speed = statistics.median(speed for _, speed in pairs)
                print(
                    f"| `{rule}`, h = {width} | {statistics.median(ratios):.1f} | {min(ratios):.1f} "
                    f"| {max(ratios):.1f} | {speed:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
