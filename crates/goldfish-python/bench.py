"""How large and how fast the Python package is, and what a run over 10 trillion tokens takes; one core.

    cargo xtask loops --bench

or, with an interpreter that has the package, numpy, pyarrow and torch:

    GOLDFISH_BIN=target/release/goldfish python crates/goldfish-python/bench.py [--tokens 16000000] [--rounds 7]

Prints the size of the wheel, what importing the package takes beside importing nothing, and tokens a second of `Masker.mask` on
a pyarrow batch, of the program on the same ids (one worker; reading the file and writing shards included), and of the
reference's formula in torch (one thread), in turns; each is the median with the smallest and the largest. All three masks
must be the same. Then the same for text, and the cores, hours and bytes of 10 trillion tokens. Seconds are those that
processors were busy, of all threads, so that neighbours on the machine count little.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import goldfish
import numpy
import pyarrow
import pyarrow.ipc

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT, K, CONTEXT, TABLE = 1024, 4, 13, 1_000_003
TRILLIONS = 10


def median(values):
    return f"{statistics.median(values):10.1f} {min(values):10.1f} {max(values):10.1f}"


def import_times(rounds):
    """Milliseconds of a process that imports the package, less one that imports nothing."""
    seconds = {"": [], "import goldfish": []}
    for _ in range(rounds):
        for code, times in seconds.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - start)
    return [1000 * (b - a) for a, b in zip(*seconds.values())]


def busy(call):
    """Seconds that processors were busy with it in this process, and what it gave."""
    start = time.process_time()
    made = call()
    return time.process_time() - start, made


def program(source, folder, *arguments):
    """Seconds that processors were busy with `goldfish mask`."""
    command = [os.environ["GOLDFISH_BIN"], "mask", source, *arguments, "--threads", "1", "--overwrite", "--output", folder]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def torch_reference():
    """The formula of the reference, one document after the other, as its training loop runs it on a row."""
    import torch

    torch.set_num_threads(1)
    table = torch.rand(TABLE, generator=torch.Generator("cpu").manual_seed(2971215073))

    def mask(ids):
        ids = torch.from_numpy(ids.reshape(-1, DOCUMENT).astype(numpy.int64))
        keep = torch.ones(ids.shape, dtype=torch.uint8)
        keys = ids.unfold(1, CONTEXT, 1).prod(-1) % TABLE
        keep[:, CONTEXT - 1 :] = (table[keys] >= 1 / K).to(torch.uint8)
        return keep.numpy().reshape(-1)

    return mask


def on_ids(tokens, rounds, scratch):
    tokens -= tokens % DOCUMENT
    ids = numpy.random.default_rng(0).integers(2, 50_000, tokens, dtype=numpy.int32)
    ends = pyarrow.array(numpy.arange(0, tokens + 1, DOCUMENT, dtype=numpy.int32))
    batch = pyarrow.record_batch({"input_ids": pyarrow.ListArray.from_arrays(ends, ids)})
    source = scratch / "ids.arrow"
    with pyarrow.ipc.new_stream(source, batch.schema) as writer:
        for start in range(0, batch.num_rows, 256):
            writer.write_batch(batch.slice(start, 256))
    reference = torch_reference()
    rates = {}
    for _ in range(rounds):
        for rule in ("hash-table", "hash"):
            masker = goldfish.Masker(rule=rule, k=K, context=CONTEXT)
            arguments = ["--rule", rule, "--k", K, "--context", CONTEXT]
            seconds, masked = busy(lambda: masker.mask(batch))
            rates.setdefault(f"{rule}: Masker.mask", []).append(tokens / seconds / 1e6)
            seconds = program(source, scratch / rule, *arguments)
            rates.setdefault(f"{rule}: goldfish mask", []).append(tokens / seconds / 1e6)
            mask = masked["loss_mask"].values.to_numpy()
            stored = goldfish.open(scratch / rule).table()["loss_mask"].combine_chunks().values.to_numpy()
            assert (mask == stored).all()
            if rule == "hash-table":
                seconds, theirs = busy(lambda: reference(ids))
                rates.setdefault("hash-table: formula in torch", []).append(tokens / seconds / 1e6)
                assert (mask == theirs).all()
    print(f"\n{tokens:,} ids in documents of {DOCUMENT}, k={K}, context={CONTEXT}, per busy second of a core, the same masks")
    print(f"{'Mtok/s':32}{'median':>10} {'min':>10} {'max':>10}")
    for name, values in rates.items():
        print(f"{name:32}{median(values)}")
    return {name: statistics.median(values) for name, values in rates.items()}


def on_text(rounds, scratch):
    lines = [json.loads(line) for line in (ROOT / "fixtures/corpus/prose.jsonl").read_text().splitlines()]
    # Shuffled words, so that no document is cached whole.
    draw = numpy.random.default_rng(0)
    words = " ".join(line["text"] for line in lines).split(" ")
    texts = [" ".join(draw.permutation(words)[:800]) for _ in range(2000)]
    source, tokenizer = scratch / "text.jsonl", ROOT / "fixtures/tokenizers/gpt2.json"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    size = sum(len(text.encode()) for text in texts)
    table = pyarrow.table({"text": texts})
    masker = goldfish.Masker(rule="text", tokenizer=tokenizer, append_eos=True)
    rates, tokens = {}, 0
    for _ in range(rounds):
        seconds, masked = busy(lambda: masker.mask(table, text_column="text"))
        rates.setdefault("text: Masker.mask", []).append(size / seconds / 1e6)
        seconds = program(source, scratch / "text", "--tokenizer", tokenizer, "--append-eos")
        rates.setdefault("text: goldfish mask", []).append(size / seconds / 1e6)
        assert masked["loss_mask"].to_pylist() == goldfish.open(scratch / "text").table()["loss_mask"].to_pylist()
        tokens = sum(map(len, masked["input_ids"]))
    print(f"\n{size / 1e6:.1f} MB of text, {tokens:,} tokens, rule text, per busy second of a core, the same masks")
    print(f"{'MB/s':32}{'median':>10} {'min':>10} {'max':>10}")
    for name, values in rates.items():
        print(f"{name:32}{median(values)}")
    return {name: statistics.median(values) * tokens / size for name, values in rates.items()}


def sizing(rates):
    """Cores, hours and bytes of a run, from tokens a second of one core."""
    total = TRILLIONS * 1e12
    print(f"\n{TRILLIONS} trillion tokens, from the medians above")
    print(f"{'':32}{'core hours':>12}{'hours on 1,000 cores':>24}")
    for name, rate in rates.items():
        if "torch" not in name:
            hours = total / rate / 1e6 / 3600
            print(f"{name:32}{hours:12,.0f}{hours / 1000:24.2f}")
    print(f"ids {4 * total / 1e12:.0f} TB, masks {total / 1e12:.0f} TB, shards of both {5 * total / 1e12:.0f} TB")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=16_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    for wheel in sorted((ROOT / "target/wheels").glob("*.whl")):
        print(f"{wheel.name}: {wheel.stat().st_size / 2**20:.2f} MiB")
    native = Path(goldfish._goldfish.__file__)
    print(f"{native.name}: {native.stat().st_size / 2**20:.2f} MiB")
    print(f"{'import goldfish, ms':32}{median(import_times(options.rounds))}")
    with tempfile.TemporaryDirectory() as scratch:
        rates = on_ids(options.tokens, options.rounds, Path(scratch))
        rates |= on_text(options.rounds, Path(scratch))
    sizing(rates)


if __name__ == "__main__":
    main()
