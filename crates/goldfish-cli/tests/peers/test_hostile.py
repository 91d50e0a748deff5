"""What can't lie in a repository: pipes, devices, links, odd names, bombs; and manifests, shards, tokenizers and tables
that somebody else wrote. Each ends with a message, in little memory and time, and leaves nothing behind."""

import gzip
import io
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
import zstandard

from conftest import REPOSITORY
from helpers import read_json_lines

FIXTURES = REPOSITORY / "fixtures"
GPT2 = FIXTURES / "tokenizers/gpt2.json"
IDS = FIXTURES / "formats/ids.jsonl"

# What docs/limits.md says: of small files, and of a batch of columns.
PEAK_MIB = 256
PEAK_BATCH_MIB = 1024


def refused(goldfish, words, *arguments, peak=PEAK_MIB, cwd=None):
    """The run stops with these words, in this memory."""
    process = goldfish.measured(*arguments, expect=2, cwd=cwd)
    for word in words:
        assert word.lower() in process.stderr.lower(), f"{word!r} is not in: {process.stderr}"
    assert process.peak < peak, f"{process.peak} MiB"
    return process


# --- paths


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
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "a.jsonl")[-100:] if len(str(folder)) < 90 else "/tmp/goldfish-test-socket")
    return "a.jsonl", [], ["not a regular file"]


def folder_named_like_a_file(folder):
    (folder / "a.jsonl").mkdir()
    return "a.jsonl", [], ["no corpus file found there"]


def empty_folder(folder):
    return ".", [], ["no corpus file found there"]


def nothing_there(folder):
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
    fifo, fifo_among_others, endless_device, terminal, folder_named_like_a_file, empty_folder, nothing_there,
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
    """Root may read everything, so that root's tests run the program as nobody."""
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


def test_archives_that_unpack_to_much_take_little(goldfish, tmp_path):
    """Lines are read in pieces: 500 MB of them cost no more than the pieces."""
    plain = (b'{"unread":"' + b"a" * 100_000 + b'","input_ids":[1]}\n') * 2600
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.ZstdCompressor(level=3).compress(plain))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(plain, 1))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < len(plain) // 100
    process = goldfish.measured("mask", tmp_path / "a.jsonl.zst", tmp_path / "b.jsonl.gz", "--output", tmp_path / "out")
    assert process.peak < PEAK_MIB
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["totals"]["documents_out"] == 5200


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl", "a.txt.gz"])
def test_a_line_without_an_end_is_given_up(goldfish, name, tmp_path):
    """A line of 2 GB: no more of it is read than a document may have."""
    head, piece = b'{"text": "', b"a" * (1 << 20)
    openers = {
        "gz": lambda path: gzip.open(path, "wb", compresslevel=1),
        "zst": lambda path: zstandard.open(path, "wb"),
        "jsonl": lambda path: open(path, "wb"),
    }
    with openers[name.split(".")[-1]](tmp_path / name) as file:
        file.write(head)
        # What is not packed need not be longer than the limit to pass it.
        for _ in range(200 if name == "a.jsonl" else 2000):
            file.write(piece)
    arguments = ["--tokenizer", GPT2, "--output", tmp_path / "out"]
    words = [name, "longer than 67108864 bytes", "--max-document"]
    process = refused(goldfish, words, "mask", tmp_path / name, *arguments, peak=PEAK_MIB + 3 * 64)
    assert "line 1" in process.stderr or name == "a.txt.gz"


@pytest.mark.parametrize("form", ["jsonl", "txt", "parquet", "ids.jsonl", "ids.parquet", "npy"])
def test_documents_over_the_limit_are_rejected_alone(goldfish, form, tmp_path):
    """Where the format tells where the next document starts, the others come through."""
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


def sparse(path, size):
    with open(path, "wb") as file:
        file.truncate(size)
    return path


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


def test_an_arrow_claim_is_not_believed(goldfish, tmp_path):
    """The buffers of this file say that they need 2^50 bytes; taking them at their word ends the process."""
    refused(goldfish, ["damaged"], "mask", FIXTURES / "malformed/arrow-lz4-huge.arrow", "--output", tmp_path / "out")


def test_a_parquet_dictionary_is_not_believed(goldfish, tmp_path):
    """Found by fuzzing: a dictionary of 28 bytes that announces two billion values took 7.5 GB."""
    path = REPOSITORY / "crates/fuzz/seeds/parquet/dictionary-of-billions.parquet"
    refused(goldfish, ["dictionary", "1959788543 values in 28 bytes"], "mask", path, "--output", tmp_path / "out")


def test_a_parquet_row_of_equal_ids_is_not_believed(goldfish, tmp_path):
    values = pa.array(np.zeros(70_000_000, np.int8))
    row = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"input_ids": row}), path, compression="zstd", data_page_size=1 << 30)
    assert path.stat().st_size < 1 << 18
    refused(goldfish, ["input_ids", "announces"], "mask", path, "--output", tmp_path / "out")


def shared_value(kind, rows, size):
    """`rows` strings of `size` bytes that lie in the file once."""
    value = "word " * (size // 5)
    if kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.table({"text": [value] * rows}), sink, compression="none", use_dictionary=True)
        return sink.getvalue()
    if kind == "dictionary":
        column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))
    else:
        # A view: length, first four bytes, number of the buffer, place in it.
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
    """4,000 rows of one value of a mebibyte: a file of a mebibyte, and 4 GiB as a plain column."""
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


# --- manifests and shards


@pytest.fixture(scope="module")
def masked(goldfish, tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked") / "out"
    goldfish.run("mask", IDS, "--output", folder, "--columns", "labels")
    return folder


def reseal(folder, change=lambda manifest: None):
    """Changes the manifest and gives it the checksum that makes it look sound."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    manifest["checksum"] = ""
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    digest = xxhash.xxh3_128_hexdigest(text.encode())
    path.write_text(text.replace('"checksum": ""', f'"checksum": "xxh3_128:{digest}"'))


def set_at(*keys, value):
    def change(manifest):
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return change


MOST = 2**64 - 1
MANIFESTS = {
    "name-above": (set_at("shards", 0, "name", value="../data-00000-of-00001.arrow"), 2, "plain file name"),
    "name-absolute": (set_at("shards", 0, "name", value="/etc/passwd"), 2, "plain file name"),
    "name-below": (set_at("shards", 0, "name", value="a/b.arrow"), 2, "plain file name"),
    "name-backslash": (set_at("shards", 0, "name", value="a\\b.arrow"), 2, "plain file name"),
    "name-dots": (set_at("shards", 0, "name", value=".."), 2, "plain file name"),
    "name-empty": (set_at("shards", 0, "name", value=""), 2, "plain file name"),
    "name-nul": (set_at("shards", 0, "name", value="a\0b"), 1, "missing"),
    "name-of-the-manifest": (set_at("shards", 0, "name", value="manifest.json"), 1, "hash"),
    "format-of-the-future": (set_at("format_version", value=99), 2, "use a newer goldfish"),
    "format-negative": (set_at("format_version", value=-1), 2, "not a manifest"),
    "rule-unknown": (set_at("rule", "name", value="magic"), 2, "not a manifest"),
    "rule-of-the-future": (set_at("rule", "version", value=7), 2, "version"),
    "k-zero": (set_at("rule", "k", value=0), 2, "k"),
    "k-one": (set_at("rule", "k", value=1), 2, "k"),
    "context-zero": (set_at("rule", "context", value=0), 2, "context"),
    "context-huge": (set_at("rule", "context", value=2**32 - 1), 2, "context"),
    "sequence-of-nothing": (set_at("scope", value={"name": "sequence", "length": 0}), 2, "length"),
    "counts-negative": (set_at("totals", "tokens", value=-5), 2, "not a manifest"),
    "counts-fraction": (set_at("totals", "tokens", value=1.5), 2, "not a manifest"),
    "counts-over-u64": (set_at("totals", "tokens", value=2**64), 2, "not a manifest"),
    "counts-overflow": (set_at("totals", value=dict.fromkeys(
        ("documents_in", "documents_out", "documents_rejected", "tokens", "dropped"), MOST)), 1, "expected"),
    "shard-counts-huge": (set_at("shards", 0, "documents", value=MOST), 1, "documents"),
    "shard-size-huge": (set_at("shards", 0, "size", value=MOST), 1, "bytes with hash"),
    "shards-none": (set_at("shards", value=[]), 1, "not in the manifest"),
    "shards-missing": (lambda manifest: manifest.pop("shards"), 2, "not a manifest"),
    "key-unknown": (set_at("surprise", value=1), 2, "surprise"),
    "columns-unknown": (set_at("output", "columns", value=["loss"]), 2, "not a manifest"),
    "columns-others": (set_at("output", "columns", value=["attention_mask"]), 1, "expected"),
    "output-other-format": (set_at("output", "format", value="parquet"), 1, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_of_others(goldfish, masked, name, tmp_path):
    change, code, words = MANIFESTS[name]
    folder = tmp_path / "out"
    shutil.copytree(masked, folder)
    reseal(folder, change)
    process = goldfish.measured("verify", folder, "--recompute", expect=code)
    assert words in process.stdout + process.stderr, process.stdout + process.stderr
    assert process.peak < PEAK_MIB
    assert goldfish.measured("inspect", folder, expect=(0, 2)).peak < PEAK_MIB


def test_two_entries_of_one_shard(goldfish, masked, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(masked, folder)
    reseal(folder, lambda manifest: manifest["shards"].append(manifest["shards"][0]))
    assert "twice" in goldfish.measured("verify", folder, expect=1).stdout


RAW_MANIFESTS = {
    "empty": b"",
    "nothing": b"null",
    "list": b"[]",
    "cut": b'{"format_version": 1, "tool"',
    "not-utf8": b'{"format_version": 1, "tool": "\xff"}',
    "mark": b'\xef\xbb\xbf{"format_version": 1}',
    "deep": b'{"format_version": 1, "tool": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "key-twice": b'{"format_version": 1, "format_version": 1}',
    "number-huge": b'{"format_version": 1e999}',
}


@pytest.mark.parametrize("name", RAW_MANIFESTS)
def test_manifests_that_are_none(goldfish, name, tmp_path):
    (tmp_path / "manifest.json").write_bytes(RAW_MANIFESTS[name])
    for verb in ("verify", "inspect"):
        refused(goldfish, ["manifest.json", "not a manifest"], verb, tmp_path)


@pytest.mark.parametrize("kind", ["fifo", "folder", "ring", "sparse"])
def test_manifests_that_are_no_files(goldfish, kind, tmp_path):
    path = tmp_path / "manifest.json"
    make = {
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "ring": lambda: os.symlink("manifest.json", path),
        "sparse": lambda: sparse(path, 1 << 40),
    }
    make[kind]()
    for verb in ("verify", "inspect"):
        refused(goldfish, ["manifest.json"], verb, tmp_path)


@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "dangling"])
def test_shards_that_are_no_files(goldfish, masked, kind, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(masked, folder)
    path = next(folder.glob("data-*.arrow"))
    path.unlink()
    make = {
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "device": lambda: os.symlink("/dev/zero", path),
        "dangling": lambda: os.symlink("gone", path),
    }
    make[kind]()
    assert path.name in goldfish.measured("verify", folder, expect=1).stdout
    refused(goldfish, [path.name], "inspect", folder)


@pytest.mark.parametrize("form", ["arrow-stream", "arrow-file", "parquet"])
def test_damaged_shards_whose_checksum_is_right(goldfish, form, tmp_path):
    """Whoever can write a shard can write its checksum: what then is read must be as harmless."""
    folder = tmp_path / "out"
    rows = tmp_path / "few.jsonl"
    rows.write_text("".join(json.dumps({"input_ids": [7, 8, 9] * n}) + "\n" for n in range(1, 9)))
    goldfish.run("mask", rows, "--output", folder, "--output-format", form)
    shard = next(folder.glob("data-*"))
    sound = shard.read_bytes()
    source = random.Random(form)
    codes = set()
    for turn in range(60):
        damaged = bytearray(sound)
        for _ in range(1 + turn % 3):
            value = source.choice([0, 1, 127, 128, 255, source.randrange(256)])
            damaged[source.randrange(len(damaged))] = value
        if turn % 10 == 9:
            damaged = damaged[: source.randrange(len(damaged))]
        shard.write_bytes(damaged)
        digest = f"xxh3_128:{xxhash.xxh3_128_hexdigest(bytes(damaged))}"

        def change(manifest):
            manifest["shards"][0] |= {"size": len(damaged), "hash": digest}

        reseal(folder, change)
        verified = goldfish.measured("verify", folder, "--recompute", expect=(0, 1))
        shown = goldfish.measured("inspect", folder, expect=(0, 2))
        assert max(verified.peak, shown.peak) < PEAK_MIB
        codes.add(verified.returncode)
    assert 1 in codes, "no change did any damage"


# --- tokenizers and tables


def bpe(**changes):
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
    return {"version": "1.0", "added_tokens": [], "model": model | changes}


def replaced(old, new):
    text = GPT2.read_text()
    assert old in text
    return text.replace(old, new, 1)


TOKENIZERS = {
    "empty": (lambda: "", "empty"),
    "not-json": (lambda: "PK\3\4", "expected value"),
    "a-list": (lambda: "[1, 2]", "invalid type"),
    "a-config": (lambda: '{"bos_token": "<s>"}', "missing field"),
    "cut": (lambda: GPT2.read_text()[:5000], "cut short"),
    "mark": (lambda: "\ufeff" + GPT2.read_text(), "byte order mark"),
    "deep": (lambda: '{"model": ' + "[" * 100_000, "invalid type"),
    "unknown-model": (lambda: json.dumps(bpe(type="Magic")), "Magic"),
    "no-vocabulary": (lambda: json.dumps(bpe(vocab={})), "no tokens"),
    "negative-id": (lambda: json.dumps(bpe(vocab={"a": -1})), "invalid value"),
    "id-twice": (lambda: json.dumps(bpe(vocab={"a": 0, "b": 0})), "gives the id 0"),
    "token-twice": (lambda: json.dumps(bpe()).replace('"b": 1', '"a": 1', 1), "twice"),
    "id-largest": (lambda: json.dumps(bpe(vocab={"a": 0, "b": 1, "ab": 2**32 - 1})), "must lie below"),
    "added-id-largest": (lambda: json.dumps(bpe() | {"added_tokens": [{"id": 2**32 - 1, "content": "<s>", "single_word": False,
        "lstrip": False, "rstrip": False, "normalized": False, "special": True}]}), "must lie below"),
    "merge-unknown": (lambda: json.dumps(bpe(merges=[["x", "y"]])), "x"),
    "dropout": (lambda: json.dumps(bpe(dropout=0.5)), "dropout"),
    "bad-regex": (lambda: json.dumps(bpe() | {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"},
        "behavior": "Isolated", "invert": False}}), "regular expression"),
    "unknown-normalizer": (lambda: json.dumps(bpe() | {"normalizer": {"type": "Nope"}}), "Nope"),
    "nested-sequences": (lambda: '{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "normalizer": '
        + '{"type": "Sequence", "normalizers": [' * 5000 + "]}" * 5000 + "}", "recursion limit"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers_of_others(goldfish, name, tmp_path):
    make, words = TOKENIZERS[name]
    path = tmp_path / "tokenizer.json"
    path.write_text(make())
    for arguments in (["--text-column", "text"], ["--ids-column", "input_ids", "--rule", "text"]):
        command = ["mask", FIXTURES / "formats/docs.jsonl", "--tokenizer", path, *arguments, "--output", tmp_path / "out"]
        refused(goldfish, [str(path), words, ";"], *command)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("token", ['{"bos_token": "<nope>"}', "[", '{"eos_token": {"content": "<nope>"}}'])
def test_files_beside_a_tokenizer(goldfish, token, tmp_path):
    shutil.copy(GPT2, tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer_config.json").write_text(token)
    command = ["mask", FIXTURES / "formats/docs.jsonl", "--tokenizer", tmp_path / "tokenizer.json"]
    refused(goldfish, ["tokenizer_config.json"], *command, "--output", tmp_path / "out")


def saved(array, version=None):
    sink = io.BytesIO()
    np.lib.format.write_array(sink, array, version=version)
    return sink.getvalue()


TABLE = np.random.default_rng(1).random(1_000_003, np.float32)
ARRAYS = {
    "empty": b"",
    "text": b"0.5, 0.25",
    "magic-only": b"\x93NUMPY",
    "header-past-end": b"\x93NUMPY\x01\x00\xff\xff{}",
    "header-huge": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}",
    "doubles": saved(TABLE.astype(np.float64)),
    "big-endian": saved(TABLE.astype(">f4")),
    "integers": saved(np.zeros(1_000_003, np.int32)),
    "two-dimensions": saved(TABLE.reshape(1, -1)),
    "too-short": saved(TABLE[:-1]),
    "too-long": saved(np.append(TABLE, np.float32(0))),
    "cut": saved(TABLE)[:-1],
    "more": saved(TABLE) + b"\0\0\0\0",
    "objects": saved(np.array([1, "a"], dtype=object)),
    "not-a-number": saved(np.where(np.arange(1_000_003) == 5, np.float32("nan"), TABLE)),
    "over-one": saved(TABLE + np.float32(1)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_tables_of_others(goldfish, name, tmp_path):
    path = tmp_path / "table.npy"
    path.write_bytes(ARRAYS[name])
    command = ["mask", IDS, "--rule", "hash-table", "--table", path, "--output", tmp_path / "out"]
    refused(goldfish, ["table.npy"], *command)


@pytest.mark.parametrize("name", ["empty", "magic-only", "doubles", "two-dimensions", "cut", "too-short"])
def test_coefficients_of_others(goldfish, name, tmp_path):
    path = tmp_path / "coefficients.npy"
    path.write_bytes(ARRAYS[name] if name != "too-short" else saved(np.arange(3)))
    command = ["mask", IDS, "--rule", "coefficient-sum", "--context", "4", "--coefficients", path]
    refused(goldfish, ["coefficients"], *command, "--output", tmp_path / "out")
