"""No data is lost, read twice, or replaced without an option."""

import gzip
import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from conftest import REPOSITORY

FIXTURES = REPOSITORY / "fixtures"
FORMATS = FIXTURES / "formats"
IDS = FORMATS / "ids-list-i32.parquet"


def listing(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def write_ids(path, rows):
    pq.write_table(pa.table({"input_ids": pa.array(rows, pa.list_(pa.int32()))}), path)


def write_stream(path, rows):
    table = pa.table({"input_ids": pa.array(rows, pa.list_(pa.int32()))})
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def test_joined_streams_are_refused(goldfish, tmp_path):
    write_stream(tmp_path / "one.arrow", [[1, 2, 3]])
    joined = tmp_path / "joined.arrow"
    joined.write_bytes((tmp_path / "one.arrow").read_bytes() * 2)
    process = goldfish.run("mask", joined, "--output", tmp_path / "out", expect=2)
    assert "joined.arrow" in process.stderr and "before the file does" in process.stderr
    assert not (tmp_path / "out").exists()


def test_a_damaged_stream_never_ends_a_run_early(goldfish, tmp_path):
    """Flipped bytes in the second of three inputs: an error or a reject, never a shorter output that looks complete."""
    first, damaged, last = (tmp_path / f"{i}.arrow" for i in range(3))
    write_stream(first, [list(range(1000))] * 400)
    write_stream(last, [list(range(50))] * 10)
    write_stream(damaged, [list(range(30))] * 20)
    sound = bytearray(damaged.read_bytes())
    random = np.random.default_rng(5)
    outcomes = set()
    for turn in range(60):
        bytes_ = bytearray(sound)
        for _ in range(1 + turn % 4):
            bytes_[random.integers(0, 700)] ^= 1 << random.integers(0, 8)
        damaged.write_bytes(bytes_)
        process = goldfish.run("mask", first, damaged, last, "--output", tmp_path / "out", "--overwrite", "--json", expect=(0, 2))
        if process.returncode == 0:
            summary = json.loads(process.stdout)
            assert summary["documents"] >= 410
            manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
            assert [entry["documents"] for entry in manifest["inputs"]][::2] == [400, 10]
        outcomes.add(process.returncode)
    assert 2 in outcomes, "no flip did any damage"


def test_a_foreign_dataset_is_left_alone(goldfish, tmp_path):
    folder = tmp_path / "dataset"
    Dataset.from_dict({"input_ids": [[1, 2]]}).save_to_disk(folder)
    before = listing(folder)
    for extra in ([], ["--overwrite"]):
        process = goldfish.run("mask", IDS, "--output", folder, *extra, expect=2)
        assert "choose an empty or new folder" in process.stderr
    assert listing(folder) == before


def test_a_stray_file_named_like_a_shard_is_refused_early(goldfish, tmp_path):
    output = tmp_path / "out"
    goldfish.run("mask", IDS, "--output", output)
    (output / "rejects.jsonl").mkdir()
    before = listing(output)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"input_ids": [1, 2]}\n{"input_ids": [-1]}\n')
    mask = ["mask", bad, "--output", output, "--on-error", "skip"]
    process = goldfish.run(*mask, "--overwrite", expect=2)
    assert "rejects.jsonl" in process.stderr and "move it away" in process.stderr
    assert listing(output) == before
    (output / "rejects.jsonl").rmdir()
    goldfish.run(*mask, "--overwrite", expect=1)
    goldfish.run("verify", output)
    assert not (output / ".partial").exists()
    goldfish.run(*mask[:2], "--output", tmp_path / "fresh", *mask[4:], expect=1)
    assert listing(output) == listing(tmp_path / "fresh")


def test_rows_before_a_truncation_are_kept(goldfish, tmp_path):
    path = tmp_path / "cut.jsonl.gz"
    lines = "".join(json.dumps({"input_ids": [i, i + 1]}) + "\n" for i in range(20_000))
    path.write_bytes(gzip.compress(lines.encode())[:-200])
    output = goldfish.mask(path, tmp_path / "out", "--on-error", "skip", expect=1)
    totals = output.manifest["totals"]
    assert totals["documents_out"] > 15_000 and totals["documents_rejected"] == 1
    assert output.rejects[0]["row"] == totals["documents_out"]
    assert output.manifest["inputs"][0]["broken"] is True


def test_links_to_a_parent_folder_terminate(goldfish, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_ids(corpus / "a.parquet", [[1, 2, 3]])
    os.symlink(".", corpus / "again")
    os.symlink("..", corpus / "above")
    output = goldfish.mask(corpus, tmp_path / "elsewhere" / "out")
    assert output.manifest["totals"]["documents_in"] == 1


def test_a_megatron_pair_is_one_input_in_any_order(goldfish, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    source = sorted((FORMATS / "megatron").glob("*.idx"))[0]
    shutil.copy(source, corpus / "a.idx")
    shutil.copy(source.with_suffix(".bin"), corpus / "a.bin")
    shutil.copy(FORMATS / "ids.jsonl", corpus / "a.extra.jsonl")
    output = goldfish.mask(corpus, tmp_path / "out")
    assert [entry["name"] for entry in output.manifest["inputs"]] == ["a.bin", "a.extra.jsonl"]


def test_globs_skip_hidden_files_and_companions(goldfish, tmp_path):
    shutil.copytree(FORMATS / "datatrove", tmp_path / "corpus")
    (tmp_path / "corpus" / "._hidden.ds").write_bytes(b"x")
    by_glob = goldfish.mask(f"{tmp_path}/corpus/*", tmp_path / "by-glob")
    by_folder = goldfish.mask(tmp_path / "corpus", tmp_path / "by-folder")
    assert by_glob.manifest == by_folder.manifest


def test_endings_in_upper_case(goldfish, tmp_path):
    path = tmp_path / "DOCS.JSONL.GZ"
    shutil.copy(FORMATS / "docs.jsonl.gz", path)
    goldfish.mask(path, tmp_path / "out", "--tokenizer", FIXTURES / "tokenizers" / "gpt2.json")


def test_wide_carried_columns_stay_in_small_batches(goldfish, tmp_path):
    table = pa.table({"input_ids": [[1]] * 300, "wide": ["x" * 1_000_000] * 300})
    pq.write_table(table, tmp_path / "wide.parquet")
    output = goldfish.mask(tmp_path / "wide.parquet", tmp_path / "out", "--carry", "wide")
    shard = next(output.folder.glob("data-*.arrow"))
    rows = [batch.num_rows for batch in pa.ipc.open_stream(pa.memory_map(str(shard)))]
    assert sum(rows) <= 300 and max(rows) <= 2


def test_ids_of_four_bytes_without_a_type(goldfish, tmp_path):
    ids = np.arange(5000, dtype="<u4") * 7919 % 50_000 + 1
    ids[::20] = 0
    ids.tofile(tmp_path / "wide.npy")
    said = "wide.npy: nothing tells the type of its ids"
    eos = ["--eos-id", "0", "--json"]
    output = goldfish.mask(tmp_path / "wide.npy", tmp_path / "unsaid", *eos)
    assert said in output.process.stderr
    assert any(said in warning for warning in json.loads(output.process.stdout)["warnings"])
    for dtype in ("uint16", "uint32"):
        output = goldfish.mask(tmp_path / "wide.npy", tmp_path / dtype, *eos, "--ids-dtype", dtype)
        assert said not in output.process.stderr


def test_names_that_are_not_utf8(goldfish, tmp_path):
    (tmp_path / "corpus").mkdir()
    for byte in b"\xfe\xff":
        path = os.fsencode(tmp_path / "corpus") + b"/a" + bytes([byte]) + b".npy"
        with open(path, "wb") as file:
            file.write(np.array([5, byte, 0], "<u2").tobytes())
    output = goldfish.mask(tmp_path / "corpus", tmp_path / "out", "--eos-id", "0")
    assert [entry["name"] for entry in output.manifest["inputs"]] == ["a%FE.npy", "a%FF.npy"]
    assert output.ids == [[5, 0xFE, 0], [5, 0xFF, 0]]
    process = goldfish.run("mask", tmp_path / "corpus", "--masks-only", "--eos-id", "0", expect=2)
    assert "its name is not UTF-8" in process.stderr and "rename it" in process.stderr
    assert len(os.listdir(tmp_path / "corpus")) == 2
