"""Runs the programs under test and reads their output."""

import atexit
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHARDS = "data-*-of-*.arrow"


def executable(variable):
    """The program that an environment variable gives."""
    path = os.environ.get(variable, "")
    if not os.access(path, os.X_OK):
        raise pytest.UsageError(f"{variable}={path!r}: set it to the program, as `cargo xtask test` and `loops` do")
    return Path(path).resolve()


def answers(variable, questions, *arguments, timeout=300, **environment):
    """Answers of an example program to questions, one line of JSON each, in a single process."""
    lines = "".join(json.dumps(question, default=str) + "\n" for question in questions)
    command = [executable(variable), *arguments]
    process = subprocess.run(
        command, input=lines.encode(), capture_output=True, timeout=timeout, env={**os.environ, **environment}
    )
    assert process.returncode == 0, process.stderr.decode()[-2000:]
    given = [json.loads(line) for line in process.stdout.decode().splitlines()]
    assert len(given) == len(questions)
    return given


class Goldfish:
    """Runs the program and checks the exit status."""

    def __init__(self):
        self.binary = executable("GOLDFISH_BIN")

    def run(self, *arguments, expect=0, cwd=None, timeout=600, environment=None):
        command = [str(self.binary), *map(str, arguments)]
        process = subprocess.run(command, capture_output=True, cwd=cwd, timeout=timeout, env=environment)
        process.stdout, process.stderr = process.stdout.decode(), process.stderr.decode()
        accepted = expect if isinstance(expect, tuple) else (expect,)
        assert process.returncode in accepted, (
            f"exit status {process.returncode}, expected {expect}\n$ {' '.join(command)}\n"
            f"stdout: {process.stdout[-2000:]}\nstderr: {process.stderr[-4000:]}"
        )
        return process

    def measured(self, *arguments, expect=0, cwd=None, timeout=120):
        """Like `run`, with peak memory in MiB as `peak`; a hang is a failure."""
        command = [str(self.binary), *map(str, arguments)]
        process = measure(command, cwd=str(cwd) if cwd else None, timeout=timeout)
        accepted = expect if isinstance(expect, tuple) else (expect,)
        assert process.returncode in accepted, (
            f"exit status {process.returncode}, expected {expect}\n$ {command}\nstderr: {process.stderr[-4000:]}"
        )
        assert "panicked" not in process.stderr
        return process

    def mask(self, inputs, output, *arguments, expect=0, cwd=None):
        """Runs `goldfish mask` and returns its output."""
        inputs = [inputs] if isinstance(inputs, (str, Path)) else inputs
        process = self.run("mask", *inputs, "--output", output, *arguments, expect=expect, cwd=cwd)
        return Output(Path(output), process)

    def mask_parts(self, inputs, output, world, *arguments, expect=0):
        """Masks in so many parts; returns their folders."""
        for rank in range(world):
            self.mask(inputs, output, *arguments, "--rank", rank, "--world", world, expect=expect)
        return sorted(Path(output).iterdir())


@pytest.fixture(scope="session")
def goldfish():
    return Goldfish()


# Runs commands from a small process: the peak memory of a child is never reported below that of its parent, and the process of
# the tests is large.
MEASURE = """
import json, os, subprocess, sys, tempfile, threading
for line in sys.stdin:
    job = json.loads(line)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(job["command"], stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=job["cwd"])
        watchdog = threading.Timer(job["timeout"], child.kill)
        watchdog.start()
        _, status, usage = os.wait4(child.pid, 0)
        watchdog.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        texts = [file.read().decode(errors="replace") for file in (out, err)]
    print(json.dumps([child.returncode, *texts, usage.ru_maxrss // 1024]), flush=True)
"""
measuring = None


def measure(command, cwd, timeout):
    global measuring
    if measuring is None:
        pipe = subprocess.PIPE
        measuring = subprocess.Popen([sys.executable, "-S", "-E", "-c", MEASURE], stdin=pipe, stdout=pipe, text=True)
        atexit.register(measuring.stdin.close)
    measuring.stdin.write(json.dumps({"command": command, "cwd": cwd, "timeout": timeout}) + "\n")
    measuring.stdin.flush()
    code, stdout, stderr, peak = json.loads(measuring.stdout.readline())
    process = subprocess.CompletedProcess(command, code, stdout, stderr)
    process.peak = peak
    return process


class Output:
    """A folder that `goldfish mask` wrote."""

    def __init__(self, folder, process=None):
        self.folder = folder
        self.process = process

    @property
    def manifest(self):
        return json.loads((self.folder / "manifest.json").read_text())

    @property
    def shards(self):
        return sorted(self.folder.glob(SHARDS))

    @property
    def table(self):
        """All shards as one memory-mapped table."""
        import pyarrow as pa

        tables = [pa.ipc.open_stream(pa.memory_map(str(path))).read_all() for path in self.shards]
        assert tables, f"no {SHARDS} in {self.folder}: {sorted(p.name for p in self.folder.iterdir())}"
        return pa.concat_tables(tables)

    def column(self, name):
        return self.table.column(name).to_pylist()

    @property
    def ids(self):
        return self.column("input_ids")

    @property
    def masks(self):
        return self.column("loss_mask")

    @property
    def rejects(self):
        return read_json_lines(self.folder / "rejects.jsonl")


def read_json_lines(path):
    """Rows of JSON lines, plain or compressed with gzip or zstd."""
    content = Path(path).read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    elif path.suffix == ".zst":
        import zstandard

        content = zstandard.ZstdDecompressor().stream_reader(content).read()
    return [json.loads(line) for line in content.decode().split("\n") if line]


def write_json_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_ids(path, rows):
    return write_json_lines(path, ({"id": f"doc-{i}", "input_ids": row} for i, row in enumerate(rows)))


def write_texts(path, texts):
    """Writes JSON lines; every other one escapes non-ASCII characters."""
    rows = ({"id": f"doc-{i}", "text": text} for i, text in enumerate(texts))
    lines = (json.dumps(row, ensure_ascii=i % 2 == 1) for i, row in enumerate(rows))
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def folder_bytes(folder):
    """The content of every file below the folder, by relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_same_rows(actual, expected, what="row"):
    """Compares lists of rows; a failure shows only the first difference."""
    assert len(actual) == len(expected), f"{len(actual)} {what}s, expected {len(expected)}"
    for number, (left, right) in enumerate(zip(actual, expected)):
        if left != right:
            assert len(left) == len(right), f"{what} {number}: {len(left)} items, expected {len(right)}"
            index = next(i for i, (a, b) in enumerate(zip(left, right)) if a != b)
            around = slice(max(0, index - 3), index + 4)
            raise AssertionError(f"{what} {number}, item {index}: {left[around]}, expected {right[around]}")


def write_run_table(path, table, key=None):
    """Replaces a table of an audit's run. pyarrow does not keep the run's key in the metadata; it is that of the old table by default."""
    import pyarrow.parquet as pq

    key = key or pq.read_metadata(path).metadata[b"goldfish.run"]
    table = table.replace_schema_metadata({b"goldfish.run": key})
    pq.write_table(table, path, compression="zstd", use_compliant_nested_type=False)
