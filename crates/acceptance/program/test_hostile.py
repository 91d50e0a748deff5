"""Inputs that can't be in a repository: pipes, devices, links, odd names and bombs. Each fails with a message in little memory
and time, and leaves no files."""

import contextlib
import gzip
import io
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from product import read_json_lines

from conftest import REPOSITORY
from program.hostile import FIXTURES, GPT2, IDS, PEAK_BATCH_MIB, PEAK_MIB, refused, sparse


def fifo(folder):
    os.mkfifo(folder / "a.jsonl")
    return "a.jsonl", [], ["a.jsonl", "not a regular file"]


def fifo_among_others(folder):
    os.mkfifo(folder / "b.jsonl")
    shutil.copy(IDS, folder / "a.jsonl")
    return ".", [], ["b.jsonl", "not a regular file"]


def endless_device(folder):
    return "/dev/zero", ["--format", "jsonl"], ["/dev/zero", "not a regular file"]


def terminal(folder):
    return "/dev/null", ["--format", "text", "--tokenizer", str(GPT2)], ["/dev/null", "not a regular file"]


def socket_file(folder):
    # Paths of sockets are limited in length, so bind from within the folder.
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(folder):
        server.bind("a.jsonl")
    return "a.jsonl", [], ["not a regular file"]


def folder_named_like_a_file(folder):
    (folder / "a.jsonl").mkdir()
    return "a.jsonl", [], ["no corpus file found there"]


def empty_folder(folder):
    return ".", [], ["no corpus file found there"]


def missing_file(folder):
    return "a.jsonl", [], ["a.jsonl", "no such file"]


def dangling_link(folder):
    os.symlink("gone", folder / "a.jsonl")
    return "a.jsonl", [], ["a.jsonl", "No such file"]


def dangling_link_in_a_folder(folder):
    os.symlink("gone", folder / "a.jsonl")
    return ".", [], ["a.jsonl", "No such file"]


def link_to_itself(folder):
    os.symlink("a.jsonl", folder / "a.jsonl")
    return "a.jsonl", [], ["a.jsonl", "too many levels"]


def links_in_a_ring(folder):
    os.symlink("b.jsonl", folder / "a.jsonl")
    os.symlink("a.jsonl", folder / "b.jsonl")
    return "*.jsonl", [], ["a.jsonl"]


def the_same_file_by_a_link(folder):
    shutil.copy(IDS, folder / "a.jsonl")
    os.symlink("a.jsonl", folder / "b.jsonl")
    return ".", [], ["given twice"]


def broken_glob(folder):
    return "a[.jsonl", [], ["a[.jsonl"]


def name_without_a_format(folder):
    (folder / "data").write_bytes(b"{}")
    return "data", [], ["--format"]


def escape_in_a_name(folder):
    (folder / "\x1b]0;owned\x07.jsonl").write_text("{}\n")
    return ".", [], ["owned", "input_ids"]


def fifo_for_an_index(folder):
    (folder / "a.bin").write_bytes(b"\0\0")
    os.mkfifo(folder / "a.idx")
    return "a.bin", [], ["a.idx", "not a regular file"]


def fifo_for_a_sidecar(folder):
    (folder / "a.npy").write_bytes(b"\0\0")
    os.mkfifo(folder / "a.csv.gz")
    return "a.npy", ["--eos-id", "0"], ["a.csv.gz", "not a regular file"]


def fifo_for_ends(folder):
    (folder / "a.ds").write_bytes(b"\0\0")
    os.mkfifo(folder / "a.ds.index")
    return "a.ds", [], ["a.ds.index", "not a regular file"]


def fifo_for_a_tokenizer(folder):
    os.mkfifo(folder / "tokenizer.json")
    return str(IDS), ["--tokenizer", "tokenizer.json", "--ids-column", "input_ids"], ["tokenizer.json", "not a regular file"]


def device_for_a_tokenizer(folder):
    return str(IDS), ["--tokenizer", "/dev/zero"], ["/dev/zero", "not a regular file"]


def fifo_beside_a_tokenizer(folder):
    shutil.copy(GPT2, folder / "tokenizer.json")
    os.mkfifo(folder / "tokenizer_config.json")
    return str(IDS), ["--tokenizer", "tokenizer.json"], ["tokenizer_config.json", "not a regular file"]


def fifo_for_a_table(folder):
    os.mkfifo(folder / "table.npy")
    return str(IDS), ["--rule", "hash-table", "--table", "table.npy"], ["table.npy", "not a regular file"]


PATHS = [
    fifo, fifo_among_others, endless_device, terminal, folder_named_like_a_file, empty_folder, missing_file,
    dangling_link, dangling_link_in_a_folder, link_to_itself, links_in_a_ring, the_same_file_by_a_link, broken_glob,
    name_without_a_format, escape_in_a_name, fifo_for_an_index, fifo_for_a_sidecar, fifo_for_ends, fifo_for_a_tokenizer,
    device_for_a_tokenizer, fifo_beside_a_tokenizer, fifo_for_a_table, socket_file,
]  # fmt: skip


@pytest.mark.parametrize("make", PATHS, ids=lambda make: make.__name__)
def test_paths(goldfish, make, tmp_path):
    (tmp_path / "in").mkdir()
    name, arguments, words = make(tmp_path / "in")
    process = refused(goldfish, words, "mask", name, *arguments, "--output", tmp_path / "out", cwd=tmp_path / "in")
    assert "\x1b]" not in process.stderr, "a name reached the terminal as it is"
    assert not (tmp_path / "out").exists()


def test_unreadable_files(goldfish, tmp_path):
    """Root can read everything, so root's tests run the program as nobody."""
    with tempfile.TemporaryDirectory() as folder:
        program = shutil.copy(goldfish.binary, f"{folder}/goldfish")
        path = shutil.copy(IDS, f"{folder}/a.jsonl")
        os.chmod(folder, 0o777)
        os.chmod(path, 0)
        command = [program, "mask", path, "--output", f"{folder}/out"]
        user = {"user": 65534} if os.geteuid() == 0 else {}
        process = subprocess.run(command, capture_output=True, text=True, timeout=60, **user)
        assert process.returncode == 2
        assert "a.jsonl" in process.stderr and "denied" in process.stderr.lower()


@pytest.mark.parametrize(
    "name",
    [b"line\nend.jsonl", b"-rf.jsonl", b"\xff\xfe.jsonl", b"n" * 249 + b".jsonl", b" .jsonl", b"*.jsonl", b"a\\b.jsonl"],
    ids=["newline", "dash", "not-utf8", "long", "space", "star", "backslash"],
)
def test_odd_names_are_read(goldfish, name, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(IDS, os.fsencode(folder) + b"/" + name)
    goldfish.measured("mask", folder, "--output", tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["totals"]["documents_out"] == 41
    goldfish.measured("verify", tmp_path / "out")


def test_control_characters_of_the_corpus_stay_off_the_terminal(goldfish, tmp_path):
    texts = [row["text"] for row in read_json_lines(FIXTURES / "formats/docs.jsonl")[:3]]
    rows = [{"id": "\x1b]0;owned\x07\x9b2J", "text": text.replace(" ", "\x1b[2J ")} for text in texts]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--tokenizer", GPT2, "--id-column", "id", "--output", tmp_path / "out"]
    summary = goldfish.measured("mask", tmp_path / "a.jsonl", *arguments).stdout
    shown = goldfish.measured("inspect", tmp_path / "out", "--tokenizer", GPT2).stdout
    for text in (summary, shown):
        assert "owned" in text
        assert not any(ord(c) < 32 and c != "\n" or 127 <= ord(c) < 160 for c in text)


# --- bombs and huge files


def test_archive_bombs_take_little_memory(goldfish, tmp_path):
    """Lines are read in chunks: 500 MB of them take no more memory than a chunk."""
    plain = (b'{"unread":"' + b"a" * 100_000 + b'","input_ids":[1]}\n') * 2600
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.ZstdCompressor(level=3).compress(plain))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(plain, 1))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < len(plain) // 100
    process = goldfish.measured("mask", tmp_path / "a.jsonl.zst", tmp_path / "b.jsonl.gz", "--output", tmp_path / "out")
    assert process.peak < PEAK_MIB
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["totals"]["documents_out"] == 5200


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl", "a.txt.gz"])
def test_an_endless_line_is_rejected(goldfish, name, tmp_path):
    """A line of 2 GB is read only up to the limit of a document."""
    head, piece = b'{"text": "', b"a" * (1 << 20)
    openers = {
        "gz": lambda path: gzip.open(path, "wb", compresslevel=1),
        "zst": lambda path: zstandard.open(path, "wb"),
        "jsonl": lambda path: open(path, "wb"),
    }
    with openers[name.split(".")[-1]](tmp_path / name) as file:
        file.write(head)
        # Uncompressed input just above the limit suffices.
        for _ in range(200 if name == "a.jsonl" else 2000):
            file.write(piece)
    arguments = ["--tokenizer", GPT2, "--output", tmp_path / "out"]
    words = [name, "longer than 67108864 bytes", "--max-document"]
    process = refused(goldfish, words, "mask", tmp_path / name, *arguments, peak=PEAK_MIB + 3 * 64)
    assert "line 1" in process.stderr or name == "a.txt.gz"


@pytest.mark.parametrize("form", ["jsonl", "txt", "parquet", "ids.jsonl", "ids.parquet", "npy"])
def test_documents_over_the_limit_are_rejected_alone(goldfish, form, tmp_path):
    """If the format gives the start of the next document, the others are read."""
    path, arguments = tmp_path / f"a.{form}", []
    if form.startswith("ids"):
        rows = [[1] * 100, [1] * 300, [1] * 100]
        path = tmp_path / f"a.{form.split('.')[1]}"
        if form == "ids.jsonl":
            path.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in rows))
        else:
            pq.write_table(pa.table({"input_ids": pa.array(rows, pa.list_(pa.int32()))}), path)
    elif form == "npy":
        path.write_bytes(np.array([1] * 99 + [0] + [1] * 299 + [0] + [1] * 99 + [0], "<u2").tobytes())
        arguments = ["--eos-id", "0"]
    else:
        texts = ["a " * 100, "a " * 500, "b " * 100]
        arguments = ["--tokenizer", GPT2]
        if form == "jsonl":
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        elif form == "txt":
            path.write_text(texts[1])
        else:
            pq.write_table(pa.table({"text": texts}), path)
    command = ["mask", path, *arguments, "--max-document", "800", "--output", tmp_path / "out"]
    refused(goldfish, ["--max-document"], *command)
    goldfish.measured(*command, "--on-error", "skip", expect=1)
    totals = json.loads((tmp_path / "out/manifest.json").read_text())["totals"]
    kept = 0 if form == "txt" else 2
    assert (totals["documents_out"], totals["documents_rejected"]) == (kept, 1)


@pytest.mark.parametrize(
    ("name", "size", "arguments", "words"),
    [
        ("a.parquet", 1 << 40, [], ["a.parquet", "not a readable parquet file"]),
        ("a.arrow", 1 << 40, [], ["a.arrow", "no end marker"]),
        ("a.npy", (1 << 40) + 1, ["--eos-id", "0"], ["a.npy", "whole number"]),
        ("tokenizer.json", 1 << 40, None, ["tokenizer.json", "more than"]),
        ("table.npy", 1 << 40, None, ["table.npy", "more than"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_huge_sparse_files(goldfish, name, size, arguments, words, tmp_path):
    path = sparse(tmp_path / name, size)
    if arguments is None:
        option = ["--tokenizer", path] if name == "tokenizer.json" else ["--rule", "hash-table", "--table", path]
        command = [IDS, "--ids-column", "input_ids", *option]
    else:
        command = [path, *arguments]
    refused(goldfish, words, "mask", *command, "--output", tmp_path / "out")


def test_a_size_claimed_by_arrow_is_checked(goldfish, tmp_path):
    """The buffers of this file claim 2^50 bytes; allocating them would abort the process."""
    refused(goldfish, ["damaged"], "mask", FIXTURES / "malformed/arrow-lz4-huge.arrow", "--output", tmp_path / "out")


def test_the_size_of_a_parquet_dictionary_is_checked(goldfish, tmp_path):
    """Found by fuzzing: a dictionary of 28 bytes that claims two billion values took 7.5 GB."""
    path = REPOSITORY / "crates/fuzz/seeds/parquet/dictionary-of-billions.parquet"
    refused(goldfish, ["dictionary", "1959788543 values in 28 bytes"], "mask", path, "--output", tmp_path / "out")


def test_the_size_of_a_parquet_row_of_equal_ids_is_checked(goldfish, tmp_path):
    values = pa.array(np.zeros(70_000_000, np.int8))
    row = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"input_ids": row}), path, compression="zstd", data_page_size=1 << 30)
    assert path.stat().st_size < 1 << 18
    refused(goldfish, ["input_ids", "announces"], "mask", path, "--output", tmp_path / "out")


def shared_value(kind, rows, size):
    """`rows` strings of `size` bytes that the file stores once."""
    value = "word " * (size // 5)
    if kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.table({"text": [value] * rows}), sink, compression="none", use_dictionary=True)
        return sink.getvalue()
    if kind == "dictionary":
        column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))
    else:
        # A view: length, first four bytes, index of the buffer, offset in it.
        view = struct.pack("<i4sii", len(value), value[:4].encode(), 0, 0)
        buffers = [None, pa.py_buffer(view * rows), pa.py_buffer(value.encode())]
        column = pa.Array.from_buffers(pa.string_view(), rows, buffers)
    table = pa.table({"text": column})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize("kind", ["dictionary", "view"])
def test_values_shared_by_many_rows_are_counted(goldfish, kind, tmp_path):
    """4,000 rows share a value of 1 MiB: the file has 1 MiB, a plain column would have 4 GiB."""
    content = shared_value(kind, 4000, 1 << 20)
    assert len(content) < 2 << 20
    (tmp_path / "a.arrow").write_bytes(content)
    arguments = ["--tokenizer", GPT2, "--output", tmp_path / "out"]
    refused(goldfish, ["a.arrow", "text", "smaller batches"], "mask", tmp_path / "a.arrow", *arguments)


def test_values_shared_by_many_parquet_rows_come_in_small_batches(goldfish, tmp_path):
    content = shared_value("parquet", 150, 900_000)
    assert len(content) < 2 << 20
    (tmp_path / "a.parquet").write_bytes(content)
    arguments = ["--tokenizer", GPT2, "--output", tmp_path / "out", "--threads", "2"]
    assert goldfish.measured("mask", tmp_path / "a.parquet", *arguments).peak < PEAK_BATCH_MIB
