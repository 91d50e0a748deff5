"""Memory-mapped shards equal what pyarrow reads."""

import pickle
import threading
import time

import goldfish
import numpy
import pyarrow
import pytest
from arro3.core import Array, ChunkedArray, RecordBatch, RecordBatchReader, Table


@pytest.mark.parametrize("form", ["arrow-stream", "arrow-file"])
def test_open(form, rows, program):
    folder = program(rows * 3, "input_ids", "--output-format", form, "--shard-size", "64KiB", "--columns", "labels")
    shards = goldfish.open(folder)
    table = shards.table()
    assert len(list(folder.glob("*.arrow"))) > 1
    assert len(shards) == table.num_rows == 3 * len(rows) and shards.tokens == 3 * sum(map(len, rows))
    assert shards.manifest["rule"]["name"] == "anchor"
    for copy in (shards, pickle.loads(pickle.dumps(shards))):
        for index, document in enumerate(copy):
            row = {name: table[name][index].as_py() for name in table.column_names}
            assert document.doc_id == row["doc_id"] and document.input_ids.tolist() == row["input_ids"]
            assert document.loss_mask.tolist() == row["loss_mask"] and document.labels.tolist() == row["labels"]
            assert document.input_ids.dtype == numpy.int32 and not document.input_ids.flags.owndata
    assert shards[-1].doc_id == "doc-50" and shards[numpy.int64(3)].doc_id == "doc-3"
    for index in (len(shards), -len(shards) - 1):
        with pytest.raises(IndexError):
            shards[index]


def test_parquet_is_refused(rows, program):
    folder = program(rows, "input_ids", "--output-format", "parquet")
    with pytest.raises(goldfish.GoldfishError, match="pyarrow.parquet"):
        goldfish.open(folder)


def test_no_documents(tmp_path, program):
    assert list(goldfish.open(program([[]], "input_ids"))) != []


def test_any_arrow_library(rows):
    """An object with only the Arrow PyCapsule protocol."""

    class Foreign:
        def __init__(self, inner):
            self.__arrow_c_array__ = inner.__arrow_c_array__

    masker = goldfish.Masker(rule="hash")
    array = pyarrow.array(rows, pyarrow.list_(pyarrow.int32()))
    made = masker.mask(Foreign(array))
    assert isinstance(made, goldfish.ArrowArray) and len(made) == len(rows)
    assert pyarrow.array(made).to_pylist() == masker.mask(rows)


def test_arro3(rows, program):
    """A library other than pyarrow on both sides."""
    folder = program(rows, "input_ids", "--rule", "random", "--columns", "labels")
    stored = goldfish.open(folder).table()
    names, expected = stored["doc_id"].to_pylist(), stored["loss_mask"].to_pylist()
    masker = goldfish.Masker(rule="random")
    ids = pyarrow.array(rows, pyarrow.list_(pyarrow.int32()))
    batch = pyarrow.record_batch({"id": names, "input_ids": ids})

    given = Array.from_arrow(ids)
    made = masker.mask(given, doc_ids=names)
    assert isinstance(made, goldfish.ArrowArray) and Array.from_arrow(made).to_pylist() == expected
    made = masker.mask(given.slice(3, 9), doc_ids=names[3:12])
    assert Array.from_arrow(made).to_pylist() == expected[3:12]
    chunks = ChunkedArray.from_arrow(pyarrow.chunked_array([ids[:4], ids[4:]]))
    made = masker.mask(chunks, doc_ids=names)
    assert isinstance(made, goldfish.ArrowArray) and Array.from_arrow(made).to_pylist() == expected

    table = Table.from_batches([RecordBatch.from_arrow(part) for part in (batch[:5], batch[5:])])
    reader = RecordBatchReader.from_batches(table.schema, table.to_batches())
    for data in (RecordBatch.from_arrow(batch), table, reader):
        made = Table.from_arrow(masker.mask(data, id_column="id", labels=True))
        assert made.column_names == ["id", "input_ids", "loss_mask", "labels"]
        for name, column in (("input_ids", rows), ("loss_mask", expected), ("labels", stored["labels"].to_pylist())):
            assert [row.as_py() for row in made[name]] == column


def test_releases_the_gil():
    """Another thread keeps counting while a batch is masked."""
    masker = goldfish.Masker(rule="hash", context=2000)
    ids = numpy.arange(1_500_000, dtype=numpy.int32)
    array = pyarrow.array([ids])
    counts, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counts[0] += 1
            time.sleep(0)

    counter = threading.Thread(target=count)
    counter.start()
    try:
        time.sleep(0.05)
        before = counts[0]
        masker.mask(array)
        # With the GIL held it would count once or twice.
        assert counts[0] > before + 20
    finally:
        stop.set()
        counter.join()
