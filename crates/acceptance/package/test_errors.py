"""Errors name the row that can't be masked."""

import subprocess
import sys

import goldfish
import numpy
import pyarrow
import pytest

MASKER = goldfish.Masker(rule="hash")


def error_of(call, *arguments, **options):
    with pytest.raises(goldfish.GoldfishError) as caught:
        call(*arguments, **options)
    assert isinstance(caught.value, ValueError)
    return caught.value


def test_documents():
    error = error_of(MASKER.mask, pyarrow.array([[1, 2], [3, -4]]))
    assert (error.kind, error.row, error.position) == ("data", 1, 1) and "-4" in str(error)
    error = error_of(MASKER.mask, pyarrow.table({"input_ids": pyarrow.chunked_array([[[1]], [[], [2, None]]])}))
    assert (error.row, error.position, error.column) == (2, 1, "input_ids")
    assert error_of(MASKER.mask, pyarrow.array([[1], None])).row == 1
    error = error_of(MASKER.mask, pyarrow.array([[], [1, 2**31]], pyarrow.large_list(pyarrow.uint64())).slice(1))
    assert (error.row, error.position) == (0, 1)
    assert "list" in str(error_of(MASKER.mask, pyarrow.array([1, 2])))
    for wrong in ([[1], [2, -1]], [[1], ["a"]], [1, 2**31]):
        error_of(MASKER.mask, wrong)
    error_of(MASKER.mask, numpy.array([1.5]))
    error_of(MASKER.mask, numpy.array([-1]))
    for offsets in ([0, 3], [1, 2], [0, 2, 1, 2], [], [-1, 2], [0, -1, 2], [0, 1.5, 2], [0, 2**70]):
        error_of(MASKER.mask, numpy.array([1, 2]), offsets=offsets)
    error_of(MASKER.mask, 7)


def test_columns():
    table = pyarrow.table({"input_ids": [[1]], "loss_mask": [[1]], "n": [3]})
    assert error_of(MASKER.mask, table).column == "loss_mask"
    error = error_of(MASKER.mask, table.drop(["loss_mask"]), ids_column="tokens")
    assert error.column == "tokens" and "input_ids" in str(error)
    assert error_of(MASKER.mask, pyarrow.table({"n": [3]}), text_column="n").column == "n"
    assert "id_column" in str(error_of(goldfish.Masker(rule="random").mask, table.drop(["loss_mask"])))
    assert "tokenizer" in str(error_of(MASKER.mask, ["text"]))


def test_names_of_documents():
    masker = goldfish.Masker(rule="random")
    table = pyarrow.table({"input_ids": [[1, 2], [3]]})
    dictionary = pyarrow.DictionaryArray.from_arrays([0, 1], pyarrow.array(["a", None]))
    for names in (
        pyarrow.array([b"\xff\xfe", b"a"]),
        pyarrow.array([1.5, 2.0]),
        pyarrow.array([True, False]),
        pyarrow.array(["a", None]),
        dictionary,
    ):
        error = error_of(masker.mask, table.append_column("id", names), id_column="id")
        assert "give strings or integers" in str(error) or error.row == 1
    numbers = masker.mask(table.append_column("id", pyarrow.array([7, 8])), id_column="id")
    for names in (pyarrow.array(["7", "8"]), pyarrow.array(["7", "8"]).dictionary_encode()):
        named = masker.mask(table.append_column("id", names), id_column="id")
        assert named["loss_mask"] == numbers["loss_mask"]

    assert "not a table" in str(error_of(masker.mask, table, doc_ids=["a", "b"]))
    assert "not a table" in str(error_of(masker.mask, table.to_batches()[0], doc_ids=["a", "b"]))
    chunks = pyarrow.chunked_array([[[1] * 40], [], [[2] * 40, [3]], []], pyarrow.list_(pyarrow.int32()))
    whole = masker.mask(chunks.combine_chunks(), doc_ids=["a", "b", "c"])
    assert masker.mask(chunks, doc_ids=["a", "b", "c"]).to_pylist() == whole.to_pylist()
    for names in ([], ["a"], ["a", "b", "c", "d"]):
        assert f"{len(names)} doc_ids for 3 documents" in str(error_of(masker.mask, chunks, doc_ids=names))
    empty = pyarrow.chunked_array([[], []], pyarrow.list_(pyarrow.int32()))
    assert masker.mask(empty, doc_ids=[]).to_pylist() == []
    assert error_of(masker.mask, [[1], [2]], doc_ids=["a", "\ud800"]).row == 1


def test_consumed_capsules():
    class Once:
        def __init__(self, array):
            self.capsules = array.__arrow_c_array__()

        def __arrow_c_array__(self, requested_schema=None):
            return self.capsules

    once = Once(pyarrow.array([[1, 2]]))
    assert pyarrow.array(MASKER.mask(once)).to_pylist() == [[1, 1]]
    assert "taken already" in str(error_of(MASKER.mask, once))
    # pyarrow also takes the schema.
    once = Once(pyarrow.array([[1, 2]]))
    pyarrow.array(once)
    assert "taken already" in str(error_of(MASKER.mask, once))


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
        {"rule": "hash", "k": -1},
        {"rule": "hash", "k": 2**32},
        {"rule": "hash", "k": 4.0},
        {"rule": "hash", "k": None},
        {"rule": "hash", "seed": -1},
        {"rule": "hash", "seed": 2**64},
        {"rule": "hash", "context": -5},
        {"rule": "hash", "eos_id": "x"},
        {"rule": "coefficient-sum", "context": 1, "coefficients": [2**63]},
        {"rule": "coefficient-sum", "context": 1, "coefficients": [1.5]},
    ):
        assert error_of(goldfish.Masker, **options).kind == "rule"
    error = error_of(goldfish.Masker, rule="hash", tokenizer=tmp_path / "none.json")
    assert error.kind == "tokenizer" and error.file.endswith("none.json")
    error = error_of(goldfish.Masker(rule="hash", tokenizer=path).mask, [[1], [5, 10**6]])
    assert (error.row, error.position) == (1, 1)
    masker = goldfish.Masker(rule="hash", tokenizer=path)
    assert error_of(masker.mask, ["a", 7]).row == 1
    assert error_of(masker.mask, ["a", "b", "\ud800"]).row == 2


def test_shards(tmp_path, program):
    assert error_of(goldfish.open, tmp_path).kind == "shards"
    (tmp_path / "manifest.json").write_text("{}")
    assert error_of(goldfish.open, tmp_path).file.endswith("manifest.json")
    folder = program([[1, 2, 3]] * 50, "input_ids")
    shard = next(folder.glob("*.arrow"))
    whole = shard.read_bytes()
    for damaged in (whole[:40], whole[: len(whole) // 2], b"", whole[:8] + b"\xff" * 64 + whole[72:]):
        shard.write_bytes(damaged)
        error = error_of(lambda: goldfish.open(folder)[0])
        assert error.kind == "shards"


def test_nothing_heavy_is_imported():
    code = "import sys, goldfish; print(sorted({'numpy', 'pyarrow', 'torch', 'polars'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
