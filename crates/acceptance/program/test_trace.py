"""Traces: which parts of texts appear in a corpus, in every format, after kills, by parts; texts of an audit."""

import json
import random
import signal
import subprocess
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from product import read_json_lines, write_json_lines

from program.spans import LEAST, expected_spans, found_spans, words_of


@pytest.fixture(scope="module")
def corpus(fixtures):
    """Documents of real text."""
    rows = read_json_lines(fixtures / "corpus/prose.jsonl")
    texts = [row["text"].encode("ascii", "ignore").decode() for row in rows]
    return [{"id": f"doc {n}", "text": text, "source": "ab"[n % 2]} for n, text in enumerate(texts)]


@pytest.fixture(scope="module")
def texts(corpus):
    """Texts of other words, with parts of documents in another layout; the last one is as the first."""
    draw = random.Random(5)
    made = []
    for number in range(30):
        words = [f"filler{draw.randrange(10**6)}" for _ in range(20)]
        for _ in range(number % 3):
            document = [word for word, _ in words_of(draw.choice(corpus)["text"])]
            length = min(draw.choice([5, 7, 8, 9, 30]), len(document))
            start = draw.randrange(len(document) - length + 1)
            words += document[start : start + length] + [f"filler{draw.randrange(10**6)}" for _ in range(9)]
        made.append({"id": f"text {number}", "text": " - ".join(words).upper()})
    return [*made, {"id": "again", "text": made[2]["text"].replace(" - ", "\n")}]


def test_spans_in_every_format(goldfish, fixtures, tmp_path, corpus, texts):
    write_json_lines(tmp_path / "texts.jsonl", texts)
    pq.write_table(pa.Table.from_pylist(texts), tmp_path / "texts.parquet")
    write_json_lines(tmp_path / "corpus.jsonl", corpus)
    pq.write_table(pa.Table.from_pylist(corpus), tmp_path / "corpus.parquet")
    tokenizer = fixtures / "tokenizers/gpt2.json"
    goldfish.run("mask", tmp_path / "corpus.jsonl", "--tokenizer", tokenizer, "--id-column", "id", "--append-eos", "--output", tmp_path / "masked")

    least = ["--min-words", LEAST]
    by_id = ["--id-column", "id", "--source-column", "source"]
    jsonl = goldfish.run("trace", tmp_path / "texts.jsonl", "--corpus", tmp_path / "corpus.jsonl", *by_id, *least, "--output", tmp_path / "jsonl", "--json")
    expected = {row["id"]: expected_spans(row["text"], corpus) for row in texts}
    assert sum(map(len, expected.values())) > 15
    assert found_spans(tmp_path / "jsonl") == {text: spans for text, spans in expected.items() if spans}

    documents = {row["id"]: row for row in corpus}
    for row in pq.read_table(tmp_path / "jsonl/spans.parquet").to_pylist():
        document = documents[row["doc_id"]]
        place = document["text"][row["doc_start"] : row["doc_end"]]
        assert row["doc_text"] == place and row["source"] == document["source"]
        if row["edits"] == 0:
            text = next(text["text"] for text in texts if text["id"] == row["text_id"])
            span = text[row["text_start"] : row["text_end"]]
            assert [word for word, _ in words_of(span)] == [word for word, _ in words_of(place)]

    summary = json.loads(jsonl.stdout)["summary"]
    assert summary == json.loads((tmp_path / "jsonl/summary.json").read_text())
    assert summary["texts"]["with_span"]["positives"] == sum(map(bool, expected.values()))
    assert summary["texts"]["places"] == sum(count for spans in expected.values() for count in spans.values())
    assert summary["corpus"]["documents"] == len(corpus) and {s["source"] for s in summary["sources"]} <= {"a", "b"}

    goldfish.run("trace", tmp_path / "texts.parquet", "--corpus", tmp_path / "corpus.parquet", *by_id, *least, "--output", tmp_path / "parquet")
    for name in ["spans.parquet", "texts.parquet"]:
        tables = [pq.read_table(tmp_path / folder / name) for folder in ["jsonl", "parquet"]]
        assert tables[0].equals(tables[1])
    shards = ["--corpus", tmp_path / "masked", "--ids-column", "input_ids", "--id-column", "doc_id", "--tokenizer", tokenizer]
    goldfish.run("trace", tmp_path / "texts.jsonl", *shards, *least, "--output", tmp_path / "shards")
    assert found_spans(tmp_path / "shards") == found_spans(tmp_path / "jsonl")


def test_control_and_excess(goldfish, tmp_path, corpus, texts):
    quoting = [row for row in texts if expected_spans(row["text"], corpus)]
    plain = [row for row in texts if not expected_spans(row["text"], corpus)]
    write_json_lines(tmp_path / "texts.jsonl", quoting)
    write_json_lines(tmp_path / "control.jsonl", plain)
    write_json_lines(tmp_path / "corpus.jsonl", corpus)
    traced = goldfish.run(
        "trace", tmp_path / "texts.jsonl", "--control", tmp_path / "control.jsonl", "--corpus", tmp_path / "corpus.jsonl",
        "--min-words", LEAST, "--output", tmp_path / "traced", "--json",
    )
    summary = json.loads(traced.stdout)["summary"]
    assert (summary["texts"]["with_span"]["rate"], summary["control"]["with_span"]["rate"]) == (1, 0)
    excess = summary["excess"]["with_span"]
    assert excess["difference"] == 1 and 0 < excess["lower"] < 1


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_traces_resume_and_parts_merge(goldfish, tmp_path, corpus, texts):
    write_json_lines(tmp_path / "texts.jsonl", texts)
    # Some work items, so that a kill leaves some of them.
    copies = [{"id": f"{row['id']} {copy}", "text": row["text"]} for copy in range(60) for row in corpus]
    write_json_lines(tmp_path / "corpus.jsonl", copies)
    command = ["trace", tmp_path / "texts.jsonl", "--corpus", tmp_path / "corpus.jsonl", "--id-column", "id", "--min-words", LEAST]
    goldfish.run(*command, "--output", tmp_path / "whole")
    whole = contents(tmp_path / "whole")

    killed = [*map(str, [goldfish.binary, *command]), "--save-every", "0", "--output", str(tmp_path / "killed")]
    process = subprocess.Popen(killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "killed/found.json").exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    goldfish.run(*command, "--resume", "--output", tmp_path / "killed")
    assert {name: data for name, data in contents(tmp_path / "killed").items() if name != ".lock"} == whole
    assert "sound" in goldfish.run("verify", tmp_path / "killed").stdout
    assert "already complete" in goldfish.run(*command, "--resume", "--output", tmp_path / "killed").stdout

    for rank in range(3):
        goldfish.run(*command, "--rank", rank, "--world", 3, "--output", tmp_path / "parts")
    goldfish.run("merge", *sorted((tmp_path / "parts").iterdir()), "--output", tmp_path / "merged")
    assert contents(tmp_path / "merged") == whole


def test_clear_errors(goldfish, tmp_path, corpus):
    write_json_lines(tmp_path / "corpus.jsonl", corpus)
    write_json_lines(tmp_path / "twice.jsonl", [{"id": "a", "text": "b"}, {"id": "a", "text": "c"}])
    write_json_lines(tmp_path / "short.jsonl", [{"id": "a", "text": "only five words are here"}])
    write_json_lines(tmp_path / "bad.jsonl", [{"id": "a", "text": "b"}, {"id": "c"}])
    for name, said in {"twice": 'two texts have the id "a"', "short": "has 12 words", "bad": "row 1"}.items():
        failed = goldfish.run("trace", tmp_path / f"{name}.jsonl", "--corpus", tmp_path / "corpus.jsonl", "--output", tmp_path / name, expect=2)
        assert said in failed.stderr and not (tmp_path / name / "SHA256SUMS").exists()
    goldfish.run("trace", tmp_path / "short.jsonl", "--min-words", 4, "--corpus", tmp_path / "corpus.jsonl", "--output", tmp_path / "changed")
    (tmp_path / "changed/spans.parquet").write_bytes(b"PAR1")
    assert "spans.parquet" in goldfish.run("verify", tmp_path / "changed", expect=1).stdout
