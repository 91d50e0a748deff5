"""The same inputs and options give the same bytes for any number of threads."""

import pytest

from product import folder_bytes

TINY = ["--shard-size", "64KiB"]


@pytest.fixture(params=["text", "ids", "sequence", "many-files", "parquet-output", "rejects"])
def task(request, fixtures, corpus_files):
    """(inputs, arguments, exit status)"""
    tokenizer = ["--tokenizer", fixtures / "tokenizers/llama3.json"]
    ids = ["--ids-column", "input_ids"]
    formats = fixtures / "formats"
    return {
        "text": (corpus_files, [*tokenizer, "--id-column", "id", "--carry", "source,lang", *TINY], 0),
        "ids": ([formats / "ids-list-i32.parquet"], [*ids, "--columns", "labels", *TINY], 0),
        "sequence": (
            [formats / "ids-stream.arrow"],
            [*ids, "--rule", "hash-table", "--scope", "sequence", "--sequence-length", 512, *TINY],
            0,
        ),
        "many-files": ([formats / "docs-text"], [*tokenizer, *TINY], 0),
        "parquet-output": (corpus_files, [*tokenizer, "--output-format", "parquet", *TINY], 0),
        "rejects": (
            [fixtures / "malformed/two-faults.jsonl", *corpus_files, fixtures / "malformed/invalid-json.jsonl"],
            [*tokenizer, "--on-error", "skip", *TINY],
            1,
        ),
    }[request.param]


def test_threads_and_reruns_change_nothing(goldfish, task, tmp_path):
    inputs, arguments, status = task
    contents = {}
    for name, threads in {"1": 1, "2": 2, "5": 5, "5 again": 5}.items():
        output = goldfish.mask(inputs, tmp_path / name, *arguments, "--threads", threads, expect=status)
        contents[name] = folder_bytes(output.folder)
    first = contents["1"]
    assert len([name for name in first if name.startswith("data-")]) > 1
    for name, content in contents.items():
        assert content.keys() == first.keys(), f"threads {name}: other files"
        different = [path for path in first if content[path] != first[path]]
        assert not different, f"threads {name}: {different} differ from the run with one thread"


def test_shard_size_changes_no_row(goldfish, fixtures, tmp_path):
    arguments = ["--ids-column", "input_ids", "--id-column", "id"]
    source = fixtures / "formats/ids.jsonl"
    whole = goldfish.mask(source, tmp_path / "whole", *arguments)
    cut = goldfish.mask(source, tmp_path / "cut", *arguments, *TINY)
    assert len(whole.shards) == 1
    assert len(cut.shards) > 1
    assert cut.table.to_pydict() == whole.table.to_pydict()
    shards = cut.manifest["shards"]
    assert [shard["name"] for shard in shards] == [path.name for path in cut.shards]
    assert [shard["size"] for shard in shards] == [path.stat().st_size for path in cut.shards]
    for key in ("documents", "tokens", "dropped"):
        total = cut.manifest["totals"]["documents_out" if key == "documents" else key]
        assert sum(shard[key] for shard in shards) == total


def test_the_path_of_the_output_is_not_recorded(goldfish, fixtures, tmp_path):
    source = fixtures / "formats/ids.jsonl"
    near = goldfish.mask(source, tmp_path / "near", "--ids-column", "input_ids")
    far = goldfish.mask(source, tmp_path / "a/b/far", "--ids-column", "input_ids", cwd=tmp_path)
    assert folder_bytes(near.folder) == folder_bytes(far.folder)
