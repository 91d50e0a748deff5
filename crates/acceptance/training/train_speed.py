"""Compares the speed of `goldfish lab train` with torch on the CPU, with the same model, sequences, masks and threads.

    GOLDFISH_BIN=$PWD/target/release/goldfish target/python-models/bin/python crates/acceptance/training/train_speed.py

Both train in single precision with AdamW and clipping, in turns. goldfish is timed as a whole process, less the time of a run of
one step; torch is timed with the model loaded and after a first step. Each figure is the median of the runs; the ratio is that
of paired runs, with the smallest and the largest. `--cpu` compares CPU seconds instead, for machines where other work runs.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import pyarrow
import pyarrow.ipc
import torch
from transformers import AutoModelForCausalLM

torch.cuda.is_current_stream_capturing = lambda: False


def goldfish(*arguments, clock=time.perf_counter):
    start = clock()
    subprocess.run([os.environ["GOLDFISH_BIN"], *map(str, arguments)], check=True, capture_output=True)
    return clock() - start


def of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Peer:
    """The same checkpoint in `transformers`: Llama's and Mamba's own code there, the file beside the checkpoint for the lab's models."""

    def __init__(self, options, folder, ids, labels):
        model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
        self.model, self.batch = model.train(), options.batch
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
        self.ids, self.labels = ids, labels
        self.clock = time.process_time if options.cpu else time.perf_counter
        self.steps(1)

    def steps(self, count):
        start = self.clock()
        for step in range(count):
            rows = torch.arange(step * self.batch, (step + 1) * self.batch) % len(self.ids)
            # Without the last token: the label of an input is the next token.
            logits = self.model(input_ids=self.ids[rows, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), self.labels[rows, 1:].flatten())
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            # goldfish computes it as well, to log it.
            loss.item()
        return self.clock() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="llama")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--tokens", type=int, default=128, help="inputs of a sequence")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cpu", action="store_true", help="compare CPU seconds; use it with --threads 1")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    numbers = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        documents = [[numbers.randrange(options.vocabulary) for _ in range(options.tokens + 1)] for _ in range(256)]
        (folder / "documents.jsonl").write_text("".join(json.dumps({"input_ids": ids}) + "\n" for ids in documents))
        mask = ["mask", folder / "documents.jsonl", "--ids-column", "input_ids", "--rule", "hash", "--k", 4]
        goldfish(*mask, "--output", folder / "masked")
        with pyarrow.memory_map(str(next((folder / "masked").glob("*.arrow")))) as source:
            masks = torch.tensor(pyarrow.ipc.open_stream(source).read_all()["loss_mask"].to_pylist())
        ids = torch.tensor(documents)
        count = 0

        def ours(steps, *more):
            nonlocal count
            count += 1
            sizes = ["--vocab-size", options.vocabulary, "--arch", options.arch, "--layers", options.layers, "--width", options.width]
            sizes += ["--heads", options.heads, "--sequence-length", options.tokens, "--batch", options.batch]
            rest = ["--threads", options.threads, "--checkpoint-every", 10_000, "--output", folder / f"run-{count}"]
            clock = of_children if options.cpu else time.perf_counter
            seconds = goldfish("lab", "train", folder / "masked", *sizes, "--steps", steps, *rest, *more, clock=clock)
            return seconds, folder / f"run-{count}"

        checkpoint = ours(1)[1]
        shape = f"{options.arch} of {options.layers} x {options.width}, vocabulary {options.vocabulary}, "
        shape += f"{options.batch} sequences of {options.tokens}, {options.threads} threads"
        print(f"{shape}\n\n{'tokens a CPU second' if options.cpu else 'tokens/s':24} {'goldfish':>10} {'torch':>10}   goldfish / torch")
        tokens = options.steps * options.batch * options.tokens
        for title, more, labels in [
            ("goldfish mask, k=4", [], ids.masked_fill(masks == 0, -100)),
            ("every token", ["--ignore-mask"], ids),
        ]:
            peer = Peer(options, checkpoint, ids, labels)
            found = []
            for _ in range(options.runs):
                seconds = ours(1 + options.steps, *more)[0] - ours(1, *more)[0]
                found.append((tokens / seconds, tokens / peer.steps(options.steps)))
            left, right = (statistics.median(side) for side in zip(*found))
            ratios = [a / b for a, b in found]
            middle = statistics.median(ratios)
            print(f"{title:24} {left:10,.0f} {right:10,.0f}   {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
