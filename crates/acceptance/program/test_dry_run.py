"""`mask --dry-run` says beforehand what a run finds."""

import gzip
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from product import folder_bytes, read_json_lines, write_json_lines
from program.faults import make_id_corpus


def dry_run(goldfish, inputs, *arguments, expect=0):
    process = goldfish.run("mask", *inputs, *arguments, "--dry-run", "--json", expect=expect)
    return json.loads(process.stdout)["estimate"]


def check(estimate, output, share):
    """The estimate is within a share of what a run counts."""
    totals = output.manifest["totals"]
    size = sum(path.stat().st_size for path in output.folder.glob("data-*"))
    pairs = {
        "documents": (estimate["documents"], totals["documents_out"]),
        "tokens": (estimate["tokens"], totals["tokens"]),
        "dropped": (estimate["dropped"], totals["dropped"]),
        "bytes": (estimate["output_bytes"], size),
    }
    off = {name: (said, is_) for name, (said, is_) in pairs.items() if abs(said - is_) > share * is_}
    assert not off, off
    assert all(estimate[f"{stage}_seconds"] > 0 for stage in ("read", "work", "write"))


@pytest.mark.parametrize("output_format", ["arrow-stream", "arrow-file", "parquet"])
def test_inputs_that_are_read_whole(goldfish, fixtures, tmp_path, output_format):
    common = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--append-eos", "--output-format", output_format]
    source = fixtures / "corpus"
    estimate = dry_run(goldfish, [source], *common)
    output = goldfish.mask(source, tmp_path / "out", *common)
    assert estimate["sampled_bytes"] == estimate["bytes"] == sum(path.stat().st_size for path in source.iterdir())
    totals = output.manifest["totals"]
    assert [estimate[name] for name in ("documents", "tokens", "dropped")] == [
        totals["documents_out"], totals["tokens"], totals["dropped"],
    ]  # fmt: skip
    check(estimate, output, 0.05)


def test_a_sample_of_large_inputs(goldfish, fixtures, tmp_path):
    """Files of text, compressed and in Parquet, of which the starts are read."""
    texts = [row["text"] for row in read_json_lines(fixtures / "corpus/prose.jsonl")]
    draw = random.Random(3)
    (tmp_path / "corpus").mkdir()
    for number in range(3):
        rows = [{"text": " ".join(draw.choices(texts, k=draw.randrange(1, 20)))} for _ in range(1500)]
        write_json_lines(tmp_path / "corpus" / f"{number}.jsonl", rows)
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "corpus" / f"{number}.parquet", row_group_size=200)
    common = ["--tokenizer", fixtures / "tokenizers/gpt2.json"]
    estimate = dry_run(goldfish, [tmp_path / "corpus"], *common)
    assert 20 << 20 < estimate["sampled_bytes"] < 0.9 * estimate["bytes"]
    check(estimate, goldfish.mask(tmp_path / "corpus", tmp_path / "out", *common), 0.1)


def test_compressed_text_is_not_held_in_memory(goldfish, fixtures, tmp_path):
    line = json.dumps({"text": "The same words over and over. " * 30}).encode() + b"\n"
    with gzip.open(tmp_path / "long.jsonl.gz", "wb") as file:
        for _ in range(300):
            file.write(line * 1000)
    command = ["mask", tmp_path / "long.jsonl.gz", "--tokenizer", fixtures / "tokenizers/gpt2.json", "--dry-run"]
    process = goldfish.measured(*command)
    assert process.peak < 200 and "nothing was written" in process.stdout


def test_every_format_of_ids_and_rejects(goldfish, tmp_path):
    corpus = make_id_corpus(tmp_path / "corpus")
    common = ["--rule", "hash", "--eos-id", "0", "--on-error", "skip"]
    before = folder_bytes(tmp_path)
    estimate = dry_run(goldfish, [corpus], *common, expect=1)
    assert folder_bytes(tmp_path) == before, "nothing is written"
    output = goldfish.mask(corpus, tmp_path / "out", *common, expect=1)
    assert estimate["rejected"] == output.manifest["totals"]["documents_rejected"] > 0
    assert estimate["first_reject"].startswith("a.jsonl: row 3: ")
    check(estimate, output, 0.05)


def test_what_is_said(goldfish, fixtures, tmp_path):
    common = ["mask", fixtures / "corpus", "--tokenizer", fixtures / "tokenizers/gpt2.json", "--dry-run"]
    said = goldfish.run(*common, "--threads", 3).stdout
    for expected in ("nothing was written", "about ", "3 threads: ", "6 threads: ", "--world 8, 3 threads each", "a second, with 3"):
        assert expected in said, said
    # What stops a run stops the estimate.
    assert "no such file" in goldfish.run("mask", tmp_path / "missing", "--dry-run", expect=2).stderr
    assert "cannot be used with" in goldfish.run(*common, "--resume", expect=2).stderr
    assert "cannot be used with" in goldfish.run(*common, "--world", 4, expect=2).stderr
    # Without an output, whatever folders the inputs are in.
    write_json_lines(tmp_path / "more.jsonl", [{"text": "More."}])
    two = ["mask", "more.jsonl", fixtures / "corpus/prose.jsonl", *common[2:]]
    assert "nothing was written" in goldfish.run(*two, cwd=tmp_path).stdout
    assert "no input has a column" in goldfish.run(*common, "--carry", "missing", expect=2).stderr
    # Works that are only looked for, and existing masks.
    write_json_lines(tmp_path / "works.jsonl", [{"id": "w", "text": "some words of a work that nobody copies here or anywhere at all"}])
    (tmp_path / "policy.toml").write_text('[default]\nrule = "none"\n[protect]\nworks = "works.jsonl"\n')
    only = ["--policy", tmp_path / "policy.toml", "--protect-only", "--dry-run"]
    assert "0 tokens" in goldfish.run("mask", fixtures / "corpus", *only).stdout
