"""Untrusted tokenizers and tables: errors in little memory."""

import io
import json
import random
import shutil

import numpy as np
import pytest

from program.hostile import FIXTURES, GPT2, IDS, refused


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
    "id-largest": (lambda: json.dumps(bpe(vocab={"a": 0, "b": 1, "ab": 2**32 - 1})), "must be below"),
    "added-id-largest": (lambda: json.dumps(bpe() | {"added_tokens": [{"id": 2**32 - 1, "content": "<s>", "single_word": False,
        "lstrip": False, "rstrip": False, "normalized": False, "special": True}]}), "must be below"),
    "merge-unknown": (lambda: json.dumps(bpe(merges=[["x", "y"]])), "x"),
    "dropout": (lambda: json.dumps(bpe(dropout=0.5)), "dropout"),
    "bad-regex": (lambda: json.dumps(bpe() | {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"},
        "behavior": "Isolated", "invert": False}}), "regular expression"),
    "unknown-normalizer": (lambda: json.dumps(bpe() | {"normalizer": {"type": "Nope"}}), "Nope"),
    "nested-sequences": (lambda: '{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "normalizer": '
        + '{"type": "Sequence", "normalizers": [' * 5000 + "]}" * 5000 + "}", "recursion limit"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOKENIZERS)
def test_hostile_tokenizers(goldfish, name, tmp_path):
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
def test_hostile_tables(goldfish, name, tmp_path):
    path = tmp_path / "table.npy"
    path.write_bytes(ARRAYS[name])
    command = ["mask", IDS, "--rule", "hash-table", "--table", path, "--output", tmp_path / "out"]
    refused(goldfish, ["table.npy"], *command)


@pytest.mark.parametrize("name", ["empty", "magic-only", "doubles", "two-dimensions", "cut", "too-short"])
def test_hostile_coefficients(goldfish, name, tmp_path):
    path = tmp_path / "coefficients.npy"
    path.write_bytes(ARRAYS[name] if name != "too-short" else saved(np.arange(3)))
    command = ["mask", IDS, "--rule", "coefficient-sum", "--context", "4", "--coefficients", path]
    refused(goldfish, ["coefficients"], *command, "--output", tmp_path / "out")
