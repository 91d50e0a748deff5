"""Hugging Face datasets opens the output without a copy, and pyarrow opens every output format."""

import json

import datasets
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from datasets.table import ConcatenationTable, MemoryMappedTable

from product import assert_same_rows, write_ids

IDS = ["--ids-column", "input_ids"]
ALL_COLUMNS = "labels,attention_mask,assistant_masks"
TYPES = {
    "doc_id": pa.string(),
    "input_ids": pa.list_(pa.int32()),
    "loss_mask": pa.list_(pa.uint8()),
    "labels": pa.list_(pa.int32()),
    "attention_mask": pa.list_(pa.uint8()),
    "assistant_masks": pa.list_(pa.uint8()),
}


def leaves(table):
    """The blocks of a datasets table."""
    if isinstance(table, ConcatenationTable):
        return [leaf for row in table.blocks for block in row for leaf in leaves(block)]
    return [table]


def types_of(schema):
    """Column name -> type, without the names of list items."""
    plain = {}
    for field in schema:
        is_list = pa.types.is_list(field.type)
        plain[field.name] = pa.list_(field.type.value_type) if is_list else field.type
    return plain


@pytest.fixture(scope="module")
def large(goldfish, rows, tmp_path_factory):
    """An output of about ten megabytes, in several shards."""
    folder = tmp_path_factory.mktemp("large")
    source = write_ids(folder / "large.jsonl", rows * 30)
    return goldfish.mask(source, folder / "out", *IDS, "--columns", ALL_COLUMNS, "--shard-size", "1MiB")


def test_columns_and_rows(large, rows):
    dataset = datasets.load_from_disk(str(large.folder))
    assert dataset.column_names == list(TYPES)
    assert types_of(dataset.data.schema) == TYPES
    assert len(dataset) == 30 * len(rows)
    table = large.table
    for index in (0, 1, len(rows), len(dataset) - 1):
        assert dataset[index] == {name: table.column(name)[index].as_py() for name in TYPES}
    assert_same_rows([row.tolist() for row in dataset.with_format("numpy")[: len(rows)]["input_ids"]], rows)


def test_features_name_the_types(large):
    features = datasets.load_from_disk(str(large.folder)).features
    assert features.arrow_schema.field("doc_id").type == pa.string()
    assert {name: feature.feature.dtype for name, feature in features.items() if name != "doc_id"} == {
        name: str(kind.value_type) for name, kind in TYPES.items() if name != "doc_id"
    }


def test_loading_maps_the_files(large):
    assert len(large.shards) > 3
    before = pa.total_allocated_bytes()
    dataset = datasets.load_from_disk(str(large.folder))
    blocks = leaves(dataset.data)
    assert len(blocks) >= len(large.shards)
    assert all(isinstance(block, MemoryMappedTable) for block in blocks)
    total = sum(len(value) for value in dataset.with_format("numpy")[::500]["input_ids"])
    assert total > 0
    size = sum(path.stat().st_size for path in large.shards)
    assert dataset.data.nbytes > 0.8 * size
    assert pa.total_allocated_bytes() - before < 0.05 * size
    assert {entry["filename"] for entry in dataset.cache_files} == {str(path) for path in large.shards}


def test_batches_can_be_read_in_arrow_format(large, rows):
    dataset = datasets.load_from_disk(str(large.folder)).with_format("arrow")
    count = sum(batch.num_rows for batch in dataset.iter(batch_size=100))
    assert count == 30 * len(rows)


def test_map_and_shuffle_work(large):
    dataset = datasets.load_from_disk(str(large.folder)).select(range(50)).shuffle(seed=1)
    counted = dataset.map(lambda row: {"kept": sum(row["loss_mask"])})
    assert [row["kept"] for row in counted] == [sum(row["loss_mask"]) for row in dataset]


def test_side_files(large):
    state = json.loads((large.folder / "state.json").read_text())
    assert [entry["filename"] for entry in state["_data_files"]] == [path.name for path in large.shards]
    count = len(large.shards)
    assert [path.name for path in large.shards] == [f"data-{i:05d}-of-{count:05d}.arrow" for i in range(count)]
    for name in ("_fingerprint", "_format_columns", "_format_kwargs", "_format_type", "_output_all_columns", "_split"):
        assert name in state
    info = datasets.DatasetInfo.from_directory(str(large.folder))
    assert info.features in (None, datasets.load_from_disk(str(large.folder)).features)


def test_fingerprints_differ_between_outputs(goldfish, fixtures, tmp_path):
    source = fixtures / "formats/ids.jsonl"
    fingerprints = set()
    for k in (3, 4):
        output = goldfish.mask(source, tmp_path / str(k), *IDS, "--k", k)
        fingerprints.add(datasets.load_from_disk(str(output.folder))._fingerprint)
    assert len(fingerprints) == 2


@pytest.mark.parametrize("kind", ["arrow-stream", "arrow-file", "parquet"])
def test_output_formats_are_equal(goldfish, fixtures, tmp_path, kind):
    source = fixtures / "formats/ids.jsonl"
    columns = ["--columns", ALL_COLUMNS, "--carry", "source", "--id-column", "id"]
    plain = goldfish.mask(source, tmp_path / "plain", *IDS, *columns)
    output = goldfish.mask(source, tmp_path / "out", *IDS, *columns, "--output-format", kind, "--shard-size", "64KiB")
    names = [shard["name"] for shard in output.manifest["shards"]]
    assert len(names) > 1
    readers = {
        "arrow-stream": lambda path: pa.ipc.open_stream(pa.memory_map(path)).read_all(),
        "arrow-file": lambda path: pa.ipc.open_file(pa.memory_map(path)).read_all(),
        "parquet": parquet.read_table,
    }
    table = pa.concat_tables([readers[kind](str(output.folder / name)) for name in names])
    assert types_of(table.schema) == TYPES | {"source": pa.string()}
    assert table.to_pydict() == plain.table.to_pydict()


def test_parquet_output_opens_in_datasets(goldfish, fixtures, rows, tmp_path):
    output = goldfish.mask(fixtures / "formats/ids.jsonl", tmp_path / "out", *IDS, "--output-format", "parquet")
    files = sorted(map(str, output.folder.glob("*.parquet")))
    dataset = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert_same_rows(dataset["input_ids"][:], rows)
