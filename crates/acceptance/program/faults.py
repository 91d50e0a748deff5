"""Kills masking runs at random moments, resumes them, and compares the results.

As a program, in crates/acceptance: GOLDFISH_BIN=... python -m program.faults --kills 100
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from conftest import REPOSITORY
from product import Goldfish, Output, folder_bytes


def make_id_corpus(folder, rows_a_file=700):
    """Token ids in every format, divisible and not, with rejected rows."""
    folder.mkdir(parents=True)
    source = np.random.default_rng(11)
    rows = [source.integers(1, 5000, source.integers(0, 400)).tolist() for _ in range(rows_a_file)]
    table = pa.table({"input_ids": pa.array(rows, pa.list_(pa.int32()))})
    lines = [json.dumps({"input_ids": row}) for row in rows]
    for row in (3, rows_a_file // 2, rows_a_file - 2):
        lines[row] = '{"input_ids": [1, -1]}'
    text = ("\n".join(lines) + "\n").encode()
    (folder / "a.jsonl").write_bytes(text)
    (folder / "b.jsonl.zst").write_bytes(zstandard.compress(text.rstrip()))
    pq.write_table(table, folder / "c.parquet", row_group_size=150)
    with pa.ipc.new_stream(folder / "d.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=90)
    with pa.ipc.new_file(folder / "e.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=110)
    tokens = np.concatenate([np.array(row, np.uint16) for row in rows])
    ends = np.cumsum([len(row) for row in rows]).astype("<u8")
    tokens.tofile(folder / "f.ds")
    ends.tofile(folder / "f.ds.index")
    write_megatron(folder / "g", rows)
    np.concatenate([np.array([*row, 0], np.uint16) for row in rows]).tofile(folder / "h.npy")
    (folder / "i.jsonl").write_bytes(b"\n".join([text.rstrip()] * 2))
    return folder


def write_megatron(stem, rows):
    lengths = np.array([len(row) for row in rows], "<i4")
    offsets = np.concatenate([[0], np.cumsum(lengths[:-1].astype("<i8") * 4)]).astype("<i8")
    marks = np.arange(len(rows) + 1, dtype="<i8")
    header = b"MMIDIDX\0\0" + (1).to_bytes(8, "little") + bytes([4])
    header += len(rows).to_bytes(8, "little") + len(marks).to_bytes(8, "little")
    stem.with_suffix(".idx").write_bytes(header + lengths.tobytes() + offsets.tobytes() + marks.tobytes())
    np.concatenate([np.array(row, "<i4") for row in rows]).tofile(stem.with_suffix(".bin"))


ID_OPTIONS = ["--rule", "hash", "--eos-id", "0", "--on-error", "skip", "--shard-size", "100KiB"]
TOKENIZER = REPOSITORY / "fixtures/tokenizers/gpt2.json"
TEXT_OPTIONS = ["--tokenizer", TOKENIZER, "--append-eos", "--on-error", "skip", "--shard-size", "48KiB"]


def make_text_corpus(folder, copies=3):
    """Raw text, plain and compressed, with rejected rows and truncated files."""
    fixtures = REPOSITORY / "fixtures"
    docs = ["formats/docs.parquet", "malformed/two-faults.jsonl", "formats/docs.jsonl.zst"]
    for copy in range(copies):
        shutil.copytree(fixtures / "corpus", folder / str(copy) / "corpus")
        shutil.copytree(fixtures / "formats/docs-text", folder / str(copy) / "docs-text")
        for name in [*docs, "malformed/truncated.jsonl.gz"]:
            shutil.copy(fixtures / name, folder / str(copy))
    return folder


class Job:
    """A masking run that is killed and resumed."""

    def __init__(self, goldfish, inputs, options, folder, status=0):
        self.goldfish, self.folder, self.status = goldfish, folder, status
        self.arguments = ["mask", *inputs, *options]
        whole = folder / "whole"
        started = time.monotonic()
        goldfish.run(*self.arguments, "--output", whole, expect=status)
        self.seconds = time.monotonic() - started
        self.expected = folder_bytes(whole)
        shards = [name for name in self.expected if name.startswith("data-")]
        assert len(shards) >= 24, f"{len(shards)} shards are too few to kill between"

    def command(self, output, *more):
        words = [self.goldfish.binary, *self.arguments, "--output", output, *more]
        return list(map(str, words))

    def kill(self, output, after, from_journal):
        """Starts or resumes the run and kills it `after` seconds after its start, or after the journal exists. Returns
        whether it was still running."""
        process = subprocess.Popen(self.command(output, "--resume"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while from_journal and process.poll() is None and not (output / ".partial/journal").exists():
            time.sleep(0.0005)
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            pass
        killed = process.poll() is None
        process.kill()
        error = process.communicate()[1].decode()
        assert killed or process.returncode == self.status, error
        visible = self.visible(output)
        assert "manifest.json" not in visible or visible == set(self.expected), visible
        return killed

    def visible(self, output):
        return {path.name for path in output.iterdir()} - {".partial"} if output.exists() else set()

    def finish(self, output):
        """Resumes the run to its end and compares all files with those of an uninterrupted run."""
        process = self.goldfish.run(*self.arguments, "--output", output, "--resume", expect=self.status)
        found = folder_bytes(output)
        assert found.keys() == self.expected.keys(), sorted(found.keys() ^ self.expected.keys())
        different = [name for name in found if found[name] != self.expected[name]]
        assert not different, f"{different} differ from those of a run without interruption"
        return process


class Paused:
    """A run that is stopped once a number of shards is finished and recorded, until the block ends."""

    def __init__(self, command, output, shards=6, **more):
        self.command, self.output, self.shards, self.more = list(map(str, command)), Path(output), shards, more

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **self.more
        )
        staged = self.output / ".partial"
        deadline = time.monotonic() + 60
        while not (staged / f"shard-{self.shards:05}").exists() or (self.shards and not (staged / "journal").exists()):
            assert self.process.poll() is None, self.process.communicate()[1].decode()
            assert time.monotonic() < deadline, "no shards within a minute"
            time.sleep(0.0005)
        self.process.send_signal(signal.SIGSTOP)
        return self.process

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGCONT)
        self.error = self.process.communicate()[1].decode()
        self.status = self.process.returncode


def check_reruns(goldfish, source, folder, options, kills):
    """Masks with one thread; with three; in parts that are joined; and killed after some numbers of finished shards and resumed.
    The masks must be the same, and but for the joined parts all bytes. Returns the outputs of one thread and of the parts."""
    one = goldfish.mask(source, folder / "one", "--threads", 1, *options)
    three = goldfish.mask(source, folder / "three", "--threads", 3, *options)
    assert folder_bytes(three.folder) == folder_bytes(one.folder)
    goldfish.run("merge", *goldfish.mask_parts(source, folder / "parts", 3, *options), "--output", folder / "joined")
    joined = Output(folder / "joined")
    assert joined.masks == one.masks
    for shards in kills:
        killed = folder / f"killed-{shards}"
        command = [goldfish.binary, "mask", source, "--output", killed, "--threads", 1, *options]
        with Paused(command, killed, shards) as process:
            process.kill()
        goldfish.mask(source, killed, "--resume", *options)
        assert folder_bytes(killed) == folder_bytes(one.folder)
    return one, joined


def kill_many(job, kills, seed):
    """Kills at random moments, sometimes several times in one run; returns how many runs resumed after finished
    shards."""
    moments = random.Random(seed)
    done = resumed = 0
    while done < kills:
        output = job.folder / f"killed-{done}"
        for _ in range(moments.choice([1, 1, 1, 2, 4])):
            from_journal = moments.random() < 0.6
            done += job.kill(output, moments.uniform(0, job.seconds * (0.5 if from_journal else 1)), from_journal)
        resumed += "resuming after" in job.finish(output).stderr
        for path in sorted(output.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    return resumed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    goldfish = Goldfish()
    with tempfile.TemporaryDirectory(prefix="goldfish-faults-") as folder:
        folder = Path(folder)
        ids, text = folder / "ids", folder / "text"
        corpus = make_id_corpus(ids / "corpus")
        jobs = {
            "ids": Job(goldfish, [corpus], ID_OPTIONS, ids, status=1),
            "text": Job(goldfish, [make_text_corpus(text / "corpus")], TEXT_OPTIONS, text, status=1),
        }
        for name, job in jobs.items():
            kills = arguments.kills // len(jobs)
            resumed = kill_many(job, kills, arguments.seed)
            print(f"{name}: {kills} kills, every run byte-identical after --resume; {resumed} resumed after finished shards")
    return 0


if __name__ == "__main__":
    sys.exit(main())
