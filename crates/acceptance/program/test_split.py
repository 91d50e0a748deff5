"""Parts of a divided run: each can be killed and resumed, and merged they equal the whole run."""

import json
import os
import random
import re
import shutil
import subprocess

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import REPOSITORY
from program.faults import ID_OPTIONS, TEXT_OPTIONS, Paused, make_id_corpus, make_text_corpus
from product import Output, folder_bytes

IDS = REPOSITORY / "fixtures/formats/ids-list-i32.parquet"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_id_corpus(tmp_path_factory.mktemp("split") / "corpus", 250)


@pytest.fixture(scope="module")
def whole(goldfish, corpus, tmp_path_factory):
    return goldfish.mask(corpus, tmp_path_factory.mktemp("split") / "whole", *ID_OPTIONS, expect=1)


@pytest.fixture(scope="module")
def three(goldfish, corpus, tmp_path_factory):
    return goldfish.mask_parts([corpus], tmp_path_factory.mktemp("three") / "parts", 3, *ID_OPTIONS, expect=(0, 1))


@pytest.fixture
def parts(three, tmp_path):
    return [shutil.copytree(part, tmp_path / "copies" / part.name) for part in three]


def assert_same(merged, whole):
    assert merged.table.to_pydict() == whole.table.to_pydict()
    ours, theirs = (dict(output.manifest, shards=[], checksum="") for output in (merged, whole))
    assert ours == theirs
    assert (merged.folder / "rejects.jsonl").read_bytes() == (whole.folder / "rejects.jsonl").read_bytes()


@pytest.mark.parametrize("world", [1, 2, 5, 31])
def test_parts_make_the_whole(goldfish, corpus, whole, tmp_path, world):
    """Every format, divided at many points; of 31 parts, some are empty."""
    parts = goldfish.mask_parts([corpus], tmp_path / "parts", world, *ID_OPTIONS, expect=(0, 1))
    assert [part.name for part in parts] == [f"rank-{rank:05}-of-{world:05}" for rank in range(world)]
    for part in parts:
        goldfish.run("verify", part, "--recompute")
    random.Random(world).shuffle(parts)
    goldfish.run("merge", *parts, "--output", tmp_path / "merged", expect=1)
    merged = Output(tmp_path / "merged")
    goldfish.run("verify", merged.folder, "--recompute")
    assert_same(merged, whole)
    assert len(datasets.load_from_disk(merged.folder)) == whole.manifest["totals"]["documents_out"]


def test_parts_are_balanced(goldfish, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"input_ids": [i % 99] * 60}) + "\n" for i in range(5000)))
    parts = goldfish.mask_parts([path], tmp_path / "parts", 8, expect=(0, 1))
    documents = [Output(part).manifest["totals"]["documents_out"] for part in parts]
    assert sum(documents) == 5000 and max(documents) - min(documents) <= 25


def test_parts_of_raw_text(goldfish, tmp_path):
    corpus = make_text_corpus(tmp_path / "corpus")
    whole = goldfish.mask(corpus, tmp_path / "whole", *TEXT_OPTIONS, expect=1)
    parts = goldfish.mask_parts([corpus], tmp_path / "parts", 4, *TEXT_OPTIONS, expect=(0, 1))
    goldfish.run("merge", *parts, "--output", tmp_path / "merged", expect=1)
    assert_same(Output(tmp_path / "merged"), whole)


def test_a_killed_part_is_resumed(goldfish, corpus, three, tmp_path):
    command = [goldfish.binary, "mask", corpus, *ID_OPTIONS, "--output", tmp_path, "--rank", 1, "--world", 3]
    command = list(map(str, [*command, "--resume", "--threads", "1"]))
    output = tmp_path / three[1].name
    for _ in range(20):
        for shards in (1, 2):
            # A run that finished before it was stopped has nothing to pause.
            if not output.exists() or (output / ".partial/journal").exists():
                with Paused(command, output, shards) as process:
                    process.kill()
        done = subprocess.run(command, capture_output=True)
        assert folder_bytes(output) == folder_bytes(three[1])
        if b"resuming after" in done.stderr:
            return
        shutil.rmtree(output)
    pytest.fail("each of 20 runs was through before it could be killed")


def test_columns_are_the_same_where_a_part_is_empty(goldfish, tmp_path):
    """Only the inputs give the types of carried columns."""
    table = pa.table({"input_ids": [[1, 2]] * 3, "score": [0.5, None, 2.0], "n": pa.array([1, 2, 3], pa.int16())})
    pq.write_table(table, tmp_path / "a.parquet")
    options = ["--carry", "score,n"]
    parts = goldfish.mask_parts([tmp_path / "a.parquet"], tmp_path / "parts", 3, *options, expect=(0, 1))
    assert len({str(Output(part).table.schema) for part in parts}) == 1
    goldfish.run("merge", *parts, "--output", tmp_path / "merged")
    merged = datasets.load_from_disk(tmp_path / "merged")
    assert merged["score"][:] == [0.5, None, 2.0] and merged["n"][:] == [1, 2, 3]


def test_nothing_but_empty_files(goldfish, tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    (tmp_path / "b.jsonl").write_text("\n")
    inputs = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    whole = goldfish.mask(inputs, tmp_path / "whole")
    parts = goldfish.mask_parts(inputs, tmp_path / "parts", 3, expect=(0, 1))
    goldfish.run("merge", *parts, "--output", tmp_path / "merged")
    assert folder_bytes(tmp_path / "merged") == folder_bytes(whole.folder)


def test_shards_are_not_copied(goldfish, parts, tmp_path):
    goldfish.run("merge", *parts, "--output", tmp_path / "merged", expect=1)
    linked = {os.stat(path).st_ino for part in parts for path in Output(part).shards}
    assert {os.stat(path).st_ino for path in Output(tmp_path / "merged").shards} <= linked


def test_moving_removes_the_parts(goldfish, parts, whole, tmp_path):
    (parts[0] / "notes.txt").write_text("mine")
    goldfish.run("merge", *parts, "--output", tmp_path / "merged", "--move", expect=1)
    assert_same(Output(tmp_path / "merged"), whole)
    assert [path.name for path in parts[0].iterdir()] == ["notes.txt"]
    assert not parts[1].exists() and not parts[2].exists()


def refused(goldfish, folders, output, *words):
    process = goldfish.run("merge", *folders, "--output", output, expect=2)
    for word in words:
        assert word in process.stderr, process.stderr
    assert not output.exists() or not (output / "manifest.json").exists()


def test_parts_that_do_not_fit(goldfish, corpus, parts, three, tmp_path):
    output = tmp_path / "merged"
    refused(goldfish, parts[:2], output, "missing: 2")
    refused(goldfish, [*parts, three[1]], output, "rank 1 is there already")
    refused(goldfish, [*parts[:2], tmp_path], output, "not finished")
    (whole := tmp_path / "whole").mkdir()
    goldfish.mask(IDS, whole)
    refused(goldfish, [*parts[:2], whole], output, "not a part of a divided run")
    two = goldfish.mask_parts([corpus], tmp_path / "two", 2, *ID_OPTIONS, expect=(0, 1))
    refused(goldfish, [two[0], parts[1]], output, "one of 3 parts")
    other = goldfish.mask_parts([corpus], tmp_path / "other", 3, *ID_OPTIONS, "--k", "5", expect=(0, 1))
    refused(goldfish, [*parts[:2], other[2]], output, "the rules differ")
    fewer = goldfish.mask_parts([corpus / "a.jsonl"], tmp_path / "fewer", 3, *ID_OPTIONS, expect=(0, 1))
    refused(goldfish, [*parts[:2], fewer[2]], output, "other inputs")
    assert not output.exists()


def test_parts_of_changed_inputs(goldfish, corpus, tmp_path):
    """The file keeps its size, so only its hash differs."""
    copy = shutil.copytree(corpus, tmp_path / "corpus")
    for path in copy.iterdir():
        if path.name != "a.jsonl":
            path.unlink()
    for rank in range(2):
        part = ["--rank", rank, "--world", 2]
        goldfish.run("mask", copy, *ID_OPTIONS, "--output", tmp_path / "parts", *part, expect=(0, 1))
        path = copy / "a.jsonl"
        path.write_bytes(path.read_bytes().replace(b"3", b"4", 1))
    refused(goldfish, (tmp_path / "parts").iterdir(), tmp_path / "merged", "a.jsonl", "size or hash differ")


def test_a_part_that_was_changed(goldfish, parts, tmp_path):
    manifest = parts[1] / "manifest.json"
    good = manifest.read_text()
    manifest.write_text(re.sub(r'"documents_out": \d', '"documents_out": 9', good))
    refused(goldfish, parts, tmp_path / "merged", "edited")
    manifest.write_text(good)
    shard = Output(parts[2]).shards[0]
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    refused(goldfish, parts, tmp_path / "merged", shard.name, "verify this part")
    assert not (tmp_path / "merged").exists()
    shard.unlink()
    refused(goldfish, parts, tmp_path / "merged", shard.name)
    shard.write_bytes(content)
    (parts[2] / "rejects.jsonl").write_bytes(b"")
    refused(goldfish, parts, tmp_path / "merged", "rejects.jsonl")


def test_the_output_is_neither_a_part_nor_in_use(goldfish, parts, tmp_path):
    process = goldfish.run("merge", *parts, "--output", parts[0], "--overwrite", expect=2)
    assert "is one of the parts" in process.stderr
    goldfish.mask(IDS, tmp_path / "used")
    before = folder_bytes(tmp_path / "used")
    goldfish.run("merge", *parts, "--output", tmp_path / "used", expect=2)
    assert folder_bytes(tmp_path / "used") == before
    goldfish.run("merge", *parts, "--output", tmp_path / "used", "--overwrite", expect=1)
    goldfish.run("verify", tmp_path / "used")
