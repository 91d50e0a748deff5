"""`goldfish.trace` finds in Arrow tables what the program finds in files."""

import json

import goldfish as package
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="module")
def documents(fixtures):
    lines = (fixtures / "corpus/prose.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    rows = {"id": [f"doc {n}" for n in range(len(texts))], "text": texts, "source": ["a", "b"] * (len(texts) // 2) + ["a"] * (len(texts) % 2)}
    return pa.table(rows)


@pytest.fixture(scope="module")
def quotes(documents):
    """Parts of documents in other words."""
    parts = {}
    for number, text in enumerate(documents["text"].to_pylist()[::7]):
        words = text.split()[3:40]
        parts[f"text {number}"] = f"somebody {number} said " + "\n".join(words).upper() + f" and then {number}"
    return parts


def test_same_as_the_program(tmp_path, goldfish, documents, quotes):
    control = {"other": "nothing of this appears in any document of that table since nobody wrote it anywhere"}
    for name, rows in {"texts": quotes, "control": control}.items():
        pq.write_table(pa.table({"id": list(rows), "text": list(rows.values())}), tmp_path / f"{name}.parquet")
    pq.write_table(documents, tmp_path / "corpus.parquet")
    goldfish.run(
        "trace", tmp_path / "texts.parquet", "--control", tmp_path / "control.parquet", "--corpus", tmp_path / "corpus.parquet",
        "--id-column", "id", "--source-column", "source", "--min-words", 8, "--output", tmp_path / "out",
    )
    found = package.trace(
        quotes, documents, control=control, id_column="id", source_column="source", min_words=8
    )
    assert found.spans.equals(pq.read_table(tmp_path / "out/spans.parquet")) and found.spans.num_rows >= len(quotes)
    assert found.texts.equals(pq.read_table(tmp_path / "out/texts.parquet"))
    written = json.loads((tmp_path / "out/summary.json").read_text())
    for part in ["texts", "control", "excess", "sources", "documents", "least"]:
        assert found.summary[part] == written[part]


def test_texts_without_ids_and_characters(documents, quotes):
    found = package.trace(list(quotes.values()), documents, min_characters=50)
    assert found.texts["text_id"].to_pylist() == [str(n) for n in range(len(quotes))]
    assert found.summary["least"] == {"characters": 50}
    assert set(found.spans["doc_id"].to_pylist()) <= {str(n) for n in range(documents.num_rows)}


def test_clear_errors(documents):
    with pytest.raises(package.GoldfishError, match="no column 'body'|no column \"body\""):
        package.trace(["a " * 20], documents, text_column="body")
    with pytest.raises(package.GoldfishError, match="12 words"):
        package.trace(["too short"], documents)
    with pytest.raises(package.GoldfishError, match="not one text"):
        package.trace("a text", documents)
    with pytest.raises(package.GoldfishError, match="table of an Arrow library"):
        package.trace(["a " * 20], ["a text"])
