"""Compares the speed of an audit with `transformers`, with the same checkpoint, probes and threads.

    GOLDFISH_BIN=$PWD/target/release/goldfish target/python-models/bin/python crates/acceptance/training/speed.py
    ... speed.py --probes 1000 --runs 1           # the same model
    ... speed.py --probes 10000 --length 32 --batch 64 --runs 1 --cpu-time   # as for Pythia
    ... speed.py --large --probes 32              # 12 layers of 768, a vocabulary of 32,000: 162 million parameters

First, the wall time of the whole process `goldfish audit --metrics exact-match`, and that of `generate` called once a probe (or
once for --batch probes) with the model already loaded. Second, the same without the time of an audit of two probes, and torch's forward pass over all probes,
which computes logits only where they are needed, as the audit does. Each figure is the median of paired runs, with the smallest
and the largest ratio. --cpu-time measures CPU time, which depends less on other load. The verdicts must be equal.
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

import pyarrow.parquet
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.cuda.is_current_stream_capturing = lambda: False

PREFIX, SUFFIX = 64, 64


def checkpoint(layers, width, vocabulary):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        max_position_embeddings=512,
        # Larger than usual, so that predictions have no near ties.
        initializer_range=0.1,
        eos_token_id=None,
        bos_token_id=None,
        pad_token_id=None,
    )
    return LlamaForCausalLM(config).eval()


def wall():
    return time.perf_counter()


def cpu():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


# The clock; `main` sets it.
now = wall


def generate(model, prefixes, batch):
    start = now()
    found = []
    for at in range(0, len(prefixes), batch):
        ids = torch.tensor(prefixes[at : at + batch])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=SUFFIX, do_sample=False)
        found += out[:, PREFIX:].tolist()
    return now() - start, found


def audit(folder, output, threads, samples=100_000):
    command = [os.environ["GOLDFISH_BIN"], "audit", folder / "documents.jsonl", "--id-column", "id", "--model", folder / "model"]
    command += ["--prefix", PREFIX, "--suffix", SUFFIX, "--samples", samples, "--metrics", "exact-match"]
    command += ["--threads", threads, "--output", output, "--json"]
    start = now()
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    seconds = now() - start
    assert done.returncode == 0, done.stderr
    rows = pyarrow.parquet.read_table(output / "results.parquet", columns=["doc_id", "exact_match", "log_probs", "margin"]).to_pylist()
    return seconds, {row["doc_id"]: row for row in rows}


def score(model, documents, batch=32):
    start = now()
    with torch.no_grad():
        for at in range(0, len(documents), batch):
            ids = torch.tensor(documents[at : at + batch])
            logits = model(ids, logits_to_keep=SUFFIX + 1).logits[:, :-1].log_softmax(-1)
            own = logits.gather(-1, ids[:, PREFIX:, None])
            (logits > own).sum(-1)
    return now() - start


def line(name, ours, theirs):
    ratios = [b / a for a, b in zip(ours, theirs)]
    middle = statistics.median
    print(
        f"{name:34} {middle(ours):8.2f} s {middle(theirs):8.2f} s   {middle(ratios):6.1f}x ({min(ratios):.1f} to {max(ratios):.1f})"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probes", type=int, default=96)
    parser.add_argument("--length", type=int, help="tokens of prefixes and of suffixes, 64 unless given")
    parser.add_argument("--batch", type=int, default=1, help="probes of one call of generate")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="12 layers of 768, a vocabulary of 32,000")
    parser.add_argument("--cpu-time", action="store_true", help="count the processor's seconds")
    options = parser.parse_args()
    if options.length:
        global PREFIX, SUFFIX
        PREFIX = SUFFIX = options.length
    if options.large:
        options.layers, options.width, options.vocabulary = 12, 768, 32_000
    if options.cpu_time:
        global now
        now = cpu
    torch.set_num_threads(options.threads)
    model = checkpoint(options.layers, options.width, options.vocabulary)
    numbers = torch.Generator().manual_seed(1)
    prefixes = torch.randint(options.vocabulary, (options.probes, PREFIX), generator=numbers).tolist()
    generate(model, prefixes[:2], options.batch)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder / "model")
        ours, theirs, passes, fixed = [], [], [], []
        for run in range(options.runs):
            seconds, continuations = generate(model, prefixes, options.batch)
            theirs.append(seconds)
            # Every second document equals the model's continuation, the others diverge from it.
            documents = []
            for number, (prefix, suffix) in enumerate(zip(prefixes, continuations)):
                if number % 2:
                    at = number % SUFFIX
                    suffix = [*suffix[:at], (suffix[at] + 1) % options.vocabulary, *suffix[at + 1 :]]
                documents.append(prefix + suffix)
            lines = [json.dumps({"id": f"d{i}", "input_ids": ids}) for i, ids in enumerate(documents)]
            (folder / "documents.jsonl").write_text("\n".join(lines) + "\n")
            seconds, rows = audit(folder, folder / f"run-{run}", options.threads)
            ours.append(seconds)
            wrong = [i for i in range(options.probes) if rows[f"d{i}"]["exact_match"] != (i % 2 == 0)]
            # torch's logits depend on the batch by a rounding error.
            close = [i for i in wrong if rows[f"d{i}"]["margin"] < 1e-4]
            if len(wrong) > len(close):
                sys.exit(f"other verdicts for documents {wrong}")
            # Startup, loading and self-test, which do not grow with the probes.
            fixed.append(audit(folder, folder / f"few-{run}", options.threads, samples=2)[0])
            passes.append(score(model, documents))
        tokens = options.probes * (PREFIX + SUFFIX)
        print(f"{options.probes} probes {PREFIX}/{SUFFIX}, Llama of {options.layers} x {options.width}, ", end="")
        clock = "seconds of the processor" if options.cpu_time else "seconds"
        print(f"vocabulary {options.vocabulary}, {options.threads} threads; {clock}; same verdicts, but for {len(close)} within 0.0001 nats\n")
        print(f"{'':34} {'goldfish':>10} {'peer':>10}   peer / goldfish")
        line(f"exact match; generate {options.batch} at once", ours, theirs)
        growing = [a - b for a, b in zip(ours, fixed)]
        line("scoring less start; torch's pass", growing, passes)
        rate = lambda seconds: f"{tokens / statistics.median(seconds):,.0f} tokens/s"  # noqa: E731
        print(f"\ngoldfish scores {rate(growing)} after {statistics.median(fixed):.2f} s of startup and self-test, torch {rate(passes)}")


if __name__ == "__main__":
    main()
