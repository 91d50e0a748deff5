"""What can't be masked is refused, with its place."""

import subprocess
import sys

import goldfish
import numpy
import pyarrow
import pytest

MASKER = goldfish.Masker(rule="hash")


def fault(call, *arguments, **options):
    with pytest.raises(goldfish.GoldfishError) as caught:
        call(*arguments, **options)
    assert isinstance(caught.value, ValueError)
    return caught.value


def test_documents():
    error = fault(MASKER.mask, pyarrow.array([[1, 2], [3, -4]]))
    assert (error.kind, error.row, error.position) == ("data", 1, 1) and "-4" in str(error)
    error = fault(MASKER.mask, pyarrow.table({"input_ids": pyarrow.chunked_array([[[1]], [[], [2, None]]])}))
    assert (error.row, error.position, error.column) == (2, 1, "input_ids")
    assert fault(MASKER.mask, pyarrow.array([[1], None])).row == 1
    error = fault(MASKER.mask, pyarrow.array([[], [1, 2**31]], pyarrow.large_list(pyarrow.uint64())).slice(1))
    assert (error.row, error.position) == (0, 1)
    assert "list" in str(fault(MASKER.mask, pyarrow.array([1, 2])))
    for wrong in ([[1], [2, -1]], [[1], ["a"]], [1, 2**31]):
        fault(MASKER.mask, wrong)
    fault(MASKER.mask, numpy.array([1.5]))
    fault(MASKER.mask, numpy.array([-1]))
    for offsets in ([0, 3], [1, 2], [0, 2, 1, 2], [], [-1, 2]):
        fault(MASKER.mask, numpy.array([1, 2]), offsets=offsets)
    fault(MASKER.mask, 7)


def test_columns():
    table = pyarrow.table({"input_ids": [[1]], "loss_mask": [[1]], "n": [3]})
    assert fault(MASKER.mask, table).column == "loss_mask"
    error = fault(MASKER.mask, table.drop(["loss_mask"]), ids_column="tokens")
    assert error.column == "tokens" and "input_ids" in str(error)
    assert fault(MASKER.mask, pyarrow.table({"n": [3]}), text_column="n").column == "n"
    assert "id_column" in str(fault(goldfish.Masker(rule="random").mask, table.drop(["loss_mask"])))
    assert "tokenizer" in str(fault(MASKER.mask, ["text"]))


def test_options(fixtures, tmp_path):
    path = fixtures / "tokenizers/gpt2.json"
    for options in (
        {"rule": "hash", "k": 1},
        {"rule": "hash", "context": 0},
        {"rule": "nothing"},
        {"rule": "static", "unit": "word"},
        {"rule": "hash", "append_eos": True},
        {"rule": "text"},
        {"rule": "coefficient-sum", "context": 3, "coefficients": [1]},
        {"rule": "hash-table", "table": numpy.zeros(3)},
        {"rule": "hash", "tokenizer": path, "eos_id": 10**6},
        {"rule": "hash", "exempt_special": True},
    ):
        assert fault(goldfish.Masker, **options).kind == "rule"
    error = fault(goldfish.Masker, rule="hash", tokenizer=tmp_path / "none.json")
    assert error.kind == "tokenizer" and error.file.endswith("none.json")
    error = fault(goldfish.Masker(rule="hash", tokenizer=path).mask, [[1], [5, 10**6]])
    assert (error.row, error.position) == (1, 1)


def test_shards(tmp_path, program):
    assert fault(goldfish.open, tmp_path).kind == "shards"
    (tmp_path / "manifest.json").write_text("{}")
    assert fault(goldfish.open, tmp_path).file.endswith("manifest.json")
    folder = program([[1, 2, 3]] * 50, "input_ids")
    shard = next(folder.glob("*.arrow"))
    whole = shard.read_bytes()
    for damaged in (whole[:40], whole[: len(whole) // 2], b"", whole[:8] + b"\xff" * 64 + whole[72:]):
        shard.write_bytes(damaged)
        error = fault(lambda: goldfish.open(folder)[0])
        assert error.kind == "shards"


def test_nothing_heavy_is_imported():
    code = "import sys, goldfish; print(sorted({'numpy', 'pyarrow', 'torch', 'polars'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
