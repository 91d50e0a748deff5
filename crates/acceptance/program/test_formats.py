"""Every source format gives the same ids and the same masks."""

import json

import pytest

from product import assert_same_rows, read_json_lines
from program.reference import hash_mask, window_digests

IDS = ["--ids-column", "input_ids"]
WITH_ID = [*IDS, "--id-column", "id"]

# Input below fixtures/formats, arguments, prefix of document ids (None: the id column).
TOKEN_FILES = [
    ("ids.jsonl", WITH_ID, None),
    ("ids-list-i32.parquet", WITH_ID, None),
    ("ids-large-list-i64.parquet", WITH_ID, None),
    ("ids-stream.arrow", WITH_ID, None),
    ("ids-file.arrow", WITH_ID, None),
    ("ids.feather", WITH_ID, None),
    ("ids-stream.arrow", IDS, "ids-stream.arrow"),
    ("megatron/ids-u16.bin", [], "ids-u16.bin"),
    ("megatron/ids-i32.bin", [], "ids-i32.bin"),
    ("olmo/part-0-00000.npy", [], "part-0-00000.npy"),
    ("olmo-bare/part-0-00000.npy", [], "part-0-00000.npy"),
    ("datatrove/00000_u16.ds", ["--ids-dtype", "uint16"], "00000_u16.ds"),
    ("datatrove/00001_u32.ds", ["--ids-dtype", "uint32"], "00001_u32.ds"),
]
TEXT_FILES = ["docs.jsonl", "docs.jsonl.gz", "docs.jsonl.zst", "docs.parquet", "docs-text"]


@pytest.fixture(scope="module")
def end_id(fixtures):
    return json.loads((fixtures / "formats/facts.json").read_text())["end_id"]


@pytest.fixture(scope="module")
def names(fixtures):
    return [row["id"] for row in read_json_lines(fixtures / "formats/ids.jsonl")]


@pytest.fixture(scope="module")
def masks(rows):
    return [hash_mask(window_digests(row, 13, "preceding", "keep", 0), 4) for row in rows]


@pytest.mark.parametrize("path, arguments, named", TOKEN_FILES, ids=[f"{p}-{n or 'id'}" for p, _, n in TOKEN_FILES])
def test_token_files(goldfish, fixtures, rows, masks, names, end_id, tmp_path, path, arguments, named):
    ends = ["--rule", "hash", "--eos-id", end_id, "--exempt-special", "false"]
    output = goldfish.mask(fixtures / "formats" / path, tmp_path / "out", *arguments, *ends)
    assert_same_rows(output.ids, rows)
    assert_same_rows(output.masks, masks)
    assert output.column("doc_id") == (names if named is None else [f"{named}:{i}" for i in range(len(rows))])
    totals = output.manifest["totals"]
    assert (totals["documents_in"], totals["documents_out"], totals["documents_rejected"]) == (len(rows), len(rows), 0)
    assert totals["tokens"] == sum(map(len, rows))
    assert totals["dropped"] == sum(mask.count(0) for mask in masks)


@pytest.mark.parametrize("path", TEXT_FILES)
def test_text_files(goldfish, fixtures, rows, masks, end_id, tmp_path, path):
    tokenizer = fixtures / "tokenizers/gpt2.json"
    arguments = ["--tokenizer", tokenizer, "--append-eos", "--eos-id", end_id, "--exempt-special", "false"]
    output = goldfish.mask(fixtures / "formats" / path, tmp_path / "out", *arguments, "--rule", "hash")
    assert_same_rows(output.ids, rows)
    assert_same_rows(output.masks, masks)


def test_names_of_text_files(goldfish, fixtures, tmp_path):
    folder = fixtures / "formats/docs-text"
    output = goldfish.mask(folder, tmp_path / "out", "--tokenizer", fixtures / "tokenizers/gpt2.json")
    assert output.column("doc_id") == [f"{path.name}:0" for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("path", ["packed-u16.parquet", "packed-u16.arrow", "packed.jsonl"])
def test_fixed_length_rows(goldfish, fixtures, tmp_path, path):
    expected = [row["input_ids"] for row in read_json_lines(fixtures / "formats/packed.jsonl")]
    output = goldfish.mask(fixtures / "formats" / path, tmp_path / "out", *IDS, "--rule", "hash")
    assert_same_rows(output.ids, expected)
    digests = [window_digests(row, 13, "preceding", "keep", 0) for row in expected]
    assert_same_rows(output.masks, [hash_mask(row, 4) for row in digests])


def test_a_forced_format(goldfish, fixtures, rows, tmp_path):
    odd = tmp_path / "shard.data"
    odd.write_bytes((fixtures / "formats/ids.jsonl").read_bytes())
    output = goldfish.mask(odd, tmp_path / "out", *IDS, "--format", "jsonl")
    assert_same_rows(output.ids, rows)


def test_several_inputs_keep_their_order(goldfish, fixtures, rows, tmp_path):
    files = [fixtures / "formats" / name for name in ("ids.jsonl", "ids-stream.arrow", "ids-list-i32.parquet")]
    output = goldfish.mask(files, tmp_path / "out", *IDS, "--threads", 3)
    assert_same_rows(output.ids, rows * 3)
    inputs = output.manifest["inputs"]
    assert [entry["name"] for entry in inputs] == [path.name for path in files]
    assert [entry["format"] for entry in inputs] == ["jsonl", "arrow", "parquet"]
    assert [entry["size"] for entry in inputs] == [path.stat().st_size for path in files]
    assert [entry["documents"] for entry in inputs] == [len(rows)] * 3
