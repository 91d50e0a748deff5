"""Masks of every kind of input equal those of the program."""

import pickle

import goldfish
import numpy
import polars
import pyarrow
import pytest

RULES = {
    "anchor": ({}, []),
    "anchor-short": (
        {"rule": "anchor", "longest_run": 7, "head": "short", "k": 3, "context": 4, "seed": 9, "eos_id": 0},
        ["--rule", "anchor", "--longest-run", "7", "--head", "short", "--k", "3", "--context", "4", "--seed", "9", "--eos-id", "0"],
    ),
    "hash": ({}, []),
    "hash-inclusive-short": (
        {"rule": "hash", "window": "inclusive", "head": "short", "k": 3, "context": 4, "seed": 9},
        ["--rule", "hash", "--window", "inclusive", "--head", "short", "--k", "3", "--context", "4", "--seed", "9"],
    ),
    "static": ({"start": 2, "k": 5}, ["--start", "2", "--k", "5"]),
    "random": ({"seed": 3}, ["--seed", "3"]),
    "hash-table": ({"context": 5}, ["--context", "5"]),
    "hash-avalanche": ({}, []),
    "ends": ({"rule": "hash", "eos_id": 0}, ["--rule", "hash", "--eos-id", "0"]),
    "exempt": ({"rule": "hash", "eos_id": 0, "exempt_special": True}, ["--rule", "hash", "--eos-id", "0", "--exempt-special"]),
}


def stored(folder):
    """Names, ids and masks of a folder, by pyarrow."""
    table = goldfish.open(folder).table()
    return table["doc_id"].to_pylist(), table["input_ids"].to_pylist(), table["loss_mask"].to_pylist()


@pytest.mark.parametrize("name", RULES)
def test_ids(name, rows, program):
    options, arguments = RULES[name]
    options = {"rule": name, **options}
    arguments = arguments if "--rule" in arguments else ["--rule", name, *arguments]
    names, ids, expected = stored(program(rows, "input_ids", *arguments))
    assert ids == rows and 0 in {bit for mask in expected for bit in mask}
    masker = goldfish.Masker(**options)

    for kind in (pyarrow.list_(pyarrow.int32()), pyarrow.large_list(pyarrow.int64()), pyarrow.list_(pyarrow.uint32())):
        array = pyarrow.array(rows, kind)
        batch = pyarrow.record_batch({"id": names, "input_ids": array})
        made = masker.mask(batch, id_column="id")
        assert made.column_names == ["id", "input_ids", "loss_mask"]
        assert made["loss_mask"].to_pylist() == expected
        assert made["input_ids"] is not None and made["input_ids"].equals(array)
        # Slices share buffers but have offsets.
        assert masker.mask(batch.slice(3, 9), id_column="id")["loss_mask"].to_pylist() == expected[3:12]
        made = masker.mask(array, doc_ids=names)
        assert made.to_pylist() == expected
        is_large = pyarrow.types.is_large_list(kind)
        assert made.type == (pyarrow.large_list if is_large else pyarrow.list_)(pyarrow.uint8())

    table = pyarrow.table({"id": names, "input_ids": pyarrow.array(rows, pyarrow.large_list(pyarrow.int32()))})
    table = pyarrow.concat_tables([table.slice(0, 4), table.slice(4, 1), table.slice(5)])
    made = masker.mask(table, id_column="id", labels=True)
    assert made["loss_mask"].to_pylist() == expected
    labels = [[i if m else -100 for i, m in zip(*pair, strict=True)] for pair in zip(rows, expected, strict=True)]
    assert made["labels"].to_pylist() == labels
    chunked = masker.mask(table["input_ids"], doc_ids=names)
    assert isinstance(chunked, pyarrow.ChunkedArray) and chunked.to_pylist() == expected

    frame = polars.DataFrame({"id": names, "input_ids": rows}, schema={"id": polars.String, "input_ids": polars.List(polars.Int64)})
    made = masker.mask(frame, id_column="id")
    assert isinstance(made, polars.DataFrame) and made["loss_mask"].to_list() == expected
    series = masker.mask(frame["input_ids"], doc_ids=names)
    assert isinstance(series, polars.Series) and series.to_list() == expected

    assert masker.mask(rows, doc_ids=names) == expected
    assert masker.mask(rows[9], doc_ids=names[9:10]) == expected[9]
    flat = numpy.concatenate([numpy.array(row, numpy.uint32) for row in rows])
    ends = numpy.cumsum([0, *map(len, rows)])
    mask = masker.mask(flat, offsets=ends, doc_ids=names)
    assert mask.dtype == numpy.uint8 and mask.tolist() == sum(expected, [])
    assert masker.mask(numpy.array(rows[9], numpy.uint16), doc_ids=names[9:10]).tolist() == expected[9]
    square = numpy.array([rows[10], rows[11]], numpy.int64)
    assert masker.mask(square, doc_ids=names[10:12]).tolist() == expected[10:12]

    again = pickle.loads(pickle.dumps(masker))
    assert again.rule == masker.rule and again.mask(rows, doc_ids=names) == expected


@pytest.mark.parametrize("tokenizer", ["gpt2", "llama3", "sentencepiece", "wordpiece"])
@pytest.mark.parametrize("ends", [{}, {"append_eos": True}])
@pytest.mark.parametrize("rule", ["text", "text-v1", "hash"])
def test_text(tokenizer, ends, rule, texts, program, fixtures):
    path = fixtures / f"tokenizers/{tokenizer}.json"
    arguments = ["--append-eos"] if ends else []
    names, ids, expected = stored(program(texts, "text", "--tokenizer", path, "--rule", rule, *arguments))
    masker = goldfish.Masker(rule=rule, tokenizer=path, **ends)
    table = pyarrow.table({"name": names, "text": texts})
    made = masker.mask(table, text_column="text")
    assert made.column_names == ["name", "text", "input_ids", "loss_mask"]
    assert made["input_ids"].to_pylist() == ids and made["loss_mask"].to_pylist() == expected
    assert made.schema.field("input_ids").type == pyarrow.list_(pyarrow.int32())
    made = masker.mask(polars.DataFrame({"text": texts}), text_column="text")
    assert made["input_ids"].to_list() == ids and made["loss_mask"].to_list() == expected
    assert masker.mask(texts) == {"input_ids": ids, "loss_mask": expected}
    assert masker.mask(texts[0]) == {"input_ids": ids[0], "loss_mask": expected[0]}
    again = pickle.loads(pickle.dumps(masker))
    assert again.exempt_ids == masker.exempt_ids and again.mask(texts)["loss_mask"] == expected


@pytest.mark.parametrize("tokenizer", ["gpt2", "sentencepiece"])
@pytest.mark.parametrize("rule", ["text", "text-v1"])
def test_text_of_ids(tokenizer, rule, texts, program, fixtures):
    """The rules over text on ids alone."""
    path = fixtures / f"tokenizers/{tokenizer}.json"
    _, ids, _ = stored(program(texts, "text", "--tokenizer", path, "--append-eos"))
    folder = program(ids, "input_ids", "--tokenizer", path, "--rule", rule, "--unit", "token", "--context", "20")
    names, _, expected = stored(folder)
    masker = goldfish.Masker(rule=rule, tokenizer=path, unit="token", context=20)
    assert masker.mask(ids) == expected
    assert masker.mask(pyarrow.array(ids)).to_pylist() == expected
    assert goldfish.Masker.of_shards(folder, tokenizer=path).mask(ids) == expected


def test_coefficients_and_tables(rows, program, tmp_path):
    factors = [3, 1, 4, 1, 5]
    numpy.save(tmp_path / "factors.npy", numpy.array(factors))
    table = numpy.random.default_rng(0).random(1_000_003, dtype=numpy.float32)
    numpy.save(tmp_path / "table.npy", table)
    arguments = ["--rule", "coefficient-sum", "--context", "5", "--coefficients", tmp_path / "factors.npy"]
    folder = program(rows, "input_ids", *arguments, "--table", tmp_path / "table.npy")
    _, _, expected = stored(folder)
    for given in (table, tmp_path / "table.npy"):
        masker = goldfish.Masker(rule="coefficient-sum", context=5, coefficients=factors, table=given)
        assert masker.mask(rows) == expected
    assert pickle.loads(pickle.dumps(masker)).mask(rows) == expected
    assert goldfish.Masker.of_shards(folder, table=table).mask(rows) == expected
