"""What may be read: standard input, JSON arrays, fields of columns, the first rows, nulls, and texts that spell special tokens."""

import json
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers

from product import Output, assert_same_rows, read_json_lines

END = "<|endoftext|>"


@pytest.fixture(scope="module")
def documents(fixtures):
    return read_json_lines(fixtures / "formats/docs.jsonl")


@pytest.fixture(scope="module")
def gpt2(fixtures):
    return fixtures / "tokenizers/gpt2.json"


@pytest.fixture(scope="module")
def expected(goldfish, fixtures, gpt2, tmp_path_factory):
    """The documents, read from JSONL."""
    output = tmp_path_factory.mktemp("expected") / "out"
    return goldfish.mask(fixtures / "formats/docs.jsonl", output, "--tokenizer", gpt2, "--id-column", "id")


def same(output, expected, rows=None):
    assert_same_rows(output.ids, expected.ids[:rows])
    assert_same_rows(output.masks, expected.masks[:rows])


def test_standard_input(goldfish, fixtures, gpt2, expected, tmp_path):
    output = tmp_path / "out"
    arguments = ["mask", "-", "--tokenizer", gpt2, "--id-column", "id", "--output", output]
    with open(fixtures / "formats/docs.jsonl", "rb") as file:
        text = file.read()
    process = subprocess.Popen([goldfish.binary, *arguments], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    # In pieces, as a pipe gives them.
    for start in range(0, len(text), 1009):
        process.stdin.write(text[start : start + 1009])
        process.stdin.flush()
    process.stdin.close()
    assert process.wait(timeout=60) == 0, process.stderr.read().decode()
    masked = Output(output, None)
    same(masked, expected)
    [entry] = masked.manifest["inputs"]
    assert (entry["name"], entry["format"], entry["size"]) == ("stdin", "jsonl", len(text))
    assert entry["hash"] == expected.manifest["inputs"][0]["hash"]
    goldfish.run("verify", output, "--recompute", "--tokenizer", gpt2)


def test_standard_input_is_one_text_or_refused(goldfish, gpt2, tmp_path):
    def run(*arguments, text="Call me Ishmael.\n"):
        command = [goldfish.binary, "mask", "-", "--tokenizer", gpt2, *arguments]
        return subprocess.run([*map(str, command)], input=text.encode(), capture_output=True, timeout=60)

    done = run("--format", "text", "--output", tmp_path / "text")
    assert done.returncode == 0, done.stderr.decode()
    assert Output(tmp_path / "text", None).column("doc_id") == ["stdin:0"]
    for arguments, said in [
        (["--format", "parquet", "--output", tmp_path / "a"], "parquet can't be read from standard input"),
        (["--resume", "--output", tmp_path / "a"], "standard input can be read only once"),
        (["--dry-run"], "standard input can be read only once"),
        (["--rank", "0", "--world", "2", "--output", tmp_path / "a"], "standard input can be read only once"),
    ]:
        refused = run(*arguments)
        assert refused.returncode == 2 and said in refused.stderr.decode(), refused.stderr.decode()
    assert not (tmp_path / "a").exists()
    refused = goldfish.run("audit", "-", "--plan", expect=2, cwd=tmp_path)
    assert "-" in refused.stderr


@pytest.mark.parametrize("indent", [None, 1])
def test_json_array(goldfish, gpt2, documents, expected, tmp_path, indent):
    path = tmp_path / "docs.json"
    path.write_text(json.dumps(documents, indent=indent))
    masked = goldfish.mask(path, tmp_path / "out", "--tokenizer", gpt2, "--id-column", "id")
    same(masked, expected)
    assert masked.manifest["inputs"][0]["format"] == "json"
    # Objects one after the other, over several lines.
    path.write_text("\n".join(json.dumps(document, indent=indent) for document in documents))
    same(goldfish.mask(path, tmp_path / "again", "--tokenizer", gpt2, "--id-column", "id"), expected)


def test_json_that_breaks_off(goldfish, gpt2, documents, tmp_path):
    path = tmp_path / "docs.json"
    whole = json.dumps(documents)
    path.write_text(whole[:-1])
    failed = goldfish.mask(path, tmp_path / "out", "--tokenizer", gpt2, expect=2).process.stderr
    assert f"the file ends in the array at byte {len(whole) - 1}" in failed.replace("\n", " "), failed
    kept = goldfish.mask(path, tmp_path / "kept", "--tokenizer", gpt2, "--on-error", "skip", expect=1)
    totals = kept.manifest["totals"]
    assert (totals["documents_out"], totals["documents_rejected"]) == (len(documents), 1)
    path.write_text('[{"text": "a"}, 7, {"text": [1]}, {"text": "b"}]')
    bad = goldfish.mask(path, tmp_path / "bad", "--tokenizer", gpt2, "--on-error", "skip", expect=1)
    assert bad.column("doc_id") == ["docs.json:0", "docs.json:3"]
    rejects = read_json_lines(tmp_path / "bad/rejects.jsonl")
    assert [(reject["row"], reject["offset"]) for reject in rejects] == [(1, 16), (2, 19)]
    assert rejects[0]["reason"].startswith("object 2: "), rejects


def test_json_in_a_folder_is_not_read(goldfish, gpt2, documents, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "a.jsonl").write_text(json.dumps(documents[0]))
    masked = goldfish.mask(folder, tmp_path / "out", "--tokenizer", gpt2)
    assert len(masked.ids) == 1
    assert "tokenizer_config.json is not read" in masked.process.stderr


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_fields_of_columns(goldfish, gpt2, documents, expected, tmp_path, format):
    nested = [{"doc": {"name": row["id"], "body": {"text": row["text"]}}, "other": 1} for row in documents]
    path = tmp_path / f"nested.{format}"
    if format == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in nested))
    else:
        pq.write_table(pa.Table.from_pylist(nested), path)
    columns = ["--text-column", "doc.body.text", "--id-column", "doc.name"]
    masked = goldfish.mask(path, tmp_path / "out", "--tokenizer", gpt2, *columns)
    same(masked, expected)
    assert masked.column("doc_id") == expected.column("doc_id")


def test_a_column_counts_before_a_field(goldfish, gpt2, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"a": {"b": "the field"}, "a.b": "the column"}\n{"a": {"b": "the field"}}\n')
    masked = goldfish.mask(path, tmp_path / "out", "--tokenizer", gpt2, "--text-column", "a.b")
    tokenizer = tokenizers.Tokenizer.from_file(str(gpt2))
    assert [tokenizer.decode(ids) for ids in masked.ids] == ["the column", "the field"]


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet", "arrow", "stdin"])
def test_limit(goldfish, fixtures, gpt2, documents, expected, tmp_path, form):
    rows = len(documents) - 3
    arguments = ["--tokenizer", gpt2, "--id-column", "id", "--limit", rows]
    path = fixtures / f"formats/docs.{form}"
    if form in ("json", "arrow"):
        path = tmp_path / f"docs.{form}"
        table = pa.Table.from_pylist([{key: row[key] for key in ("id", "text")} for row in documents])
        if form == "json":
            path.write_text(json.dumps(documents))
        else:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=2)
    if form == "stdin":
        command = [goldfish.binary, "mask", "-", "--output", tmp_path / "out", *arguments]
        text = (fixtures / "formats/docs.jsonl").read_bytes()
        # The rest isn't read, however long it is.
        subprocess.run([*map(str, command)], input=text + b"no JSON\n", check=True, capture_output=True, timeout=60)
        masked = Output(tmp_path / "out", None)
    else:
        masked = goldfish.mask(path, tmp_path / "out", *arguments)
    same(masked, expected, rows)
    totals = masked.manifest["totals"]
    assert (totals["documents_in"], totals["documents_out"], masked.manifest["source"]["limit"]) == (rows, rows, rows)
    assert len(masked.manifest["inputs"]) == 1
    goldfish.run("verify", tmp_path / "out")


def test_limit_ends_between_inputs(goldfish, gpt2, documents, tmp_path):
    for name, row in zip("abc", documents):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    masked = goldfish.mask(tmp_path, tmp_path / "out", "--tokenizer", gpt2, "--limit", 4)
    assert masked.column("doc_id") == ["a.jsonl:0", "a.jsonl:1", "b.jsonl:0", "b.jsonl:1"]


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_nulls(goldfish, gpt2, tmp_path, format):
    rows = [{"text": text} for text in ["one", None, "two", None, None]]
    path = tmp_path / f"in.{format}"
    if format == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)

    def mask(name, *arguments, expect):
        return goldfish.mask(path, tmp_path / name, "--tokenizer", gpt2, *arguments, expect=expect)

    refused = mask("refused", expect=2).process.stderr
    assert "is null" in refused and "--on-null skip" in refused, refused
    rejected = mask("rejected", "--on-error", "skip", expect=1)
    assert "documents_null" not in rejected.manifest["totals"]
    skipped = mask("skipped", "--on-null", "skip", expect=0)
    totals = skipped.manifest["totals"]
    assert [totals[f"documents_{key}"] for key in ("in", "out", "rejected", "null")] == [5, 2, 3, 3]
    assert "of which 3 are null and skipped" in skipped.process.stdout
    assert [reject["row"] for reject in read_json_lines(tmp_path / "skipped/rejects.jsonl")] == [1, 3, 4]
    goldfish.run("verify", tmp_path / "skipped")
    if format == "jsonl":
        path.write_text(path.read_text() + "7\n")
        both = mask("both", "--on-null", "skip", "--on-error", "skip", expect=1)
        assert both.manifest["totals"]["documents_null"] == 3


def test_reasons_of_rejects_are_grouped(goldfish, gpt2, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "good"}\n' + '{"text": 1}\n' * 3 + '{"body": "x"}\n')
    masked = goldfish.mask(path, tmp_path / "out", "--tokenizer", gpt2, "--on-error", "skip", expect=1)
    lines = masked.process.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if "rejected" in line)
    assert "4 rows of 5" in lines[at]
    assert lines[at + 1].strip().startswith("3: such as in.jsonl row 1: "), lines
    assert lines[at + 2].strip().startswith("1: in.jsonl row 4: "), lines
    arguments = ["--tokenizer", gpt2, "--on-error", "skip", "--output", tmp_path / "json", "--json"]
    summary = json.loads(goldfish.run("mask", path, *arguments, expect=1).stdout)
    assert [reason["rows"] for reason in summary["reject_reasons"]] == [3, 1]


# Byte-level BPE, WordPiece, BPE with `▁`.
@pytest.mark.parametrize("name", ["gpt2", "llama3", "qwen2", "wordpiece", "sentencepiece"])
def test_special_tokens_in_text(goldfish, fixtures, tmp_path, name):
    path = fixtures / f"tokenizers/{name}.json"
    reference = tokenizers.Tokenizer.from_file(str(path))
    reference.no_padding()
    reference.no_truncation()
    added = reference.get_added_tokens_decoder()
    unknown = {"<unk>", "[UNK]"}
    special = {id: token.content for id, token in added.items() if token.special and token.content not in unknown}
    texts = ["no such token"]
    for content in list(special.values())[:3]:
        texts += [f"before {content} after", f"{content}", f"{content}{content}x {content[:-1]}"]
    rows = tmp_path / "in.jsonl"
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    def encoded(as_text):
        reference.encode_special_tokens = as_text
        return [reference.encode(text, add_special_tokens=False).ids for text in texts]

    spelled = encoded(False)
    count = sum(id in special for ids in spelled for id in ids)
    assert count > 0
    token = goldfish.mask(rows, tmp_path / "token", "--tokenizer", path)
    assert token.ids == spelled
    assert token.manifest["totals"]["special_in_text"] == count
    assert "special_in_text" not in token.manifest["tokenizer"]
    assert "spell" in token.process.stdout

    skip = ["--tokenizer", path, "--on-error", "skip"]
    as_text = encoded(True)
    kept = [ids for ids in as_text if not any(id in special for id in ids)]
    code = 0 if len(kept) == len(texts) else 1
    text = goldfish.mask(rows, tmp_path / "text", *skip, "--special-in-text", "text", expect=code)
    assert text.ids == kept
    assert "special_in_text" not in text.manifest["totals"]
    assert text.manifest["tokenizer"]["special_in_text"] == "text"

    rejected = goldfish.mask(rows, tmp_path / "reject", *skip, "--special-in-text", "reject", expect=1)
    assert rejected.ids == [ids for ids in spelled if not any(id in special for id in ids)]
    reasons = [reject["reason"] for reject in read_json_lines(tmp_path / "reject/rejects.jsonl")]
    assert all("spells the special token" in reason for reason in reasons), reasons
    assert "at byte 7" in reasons[0]


def test_special_tokens_in_text_are_part_of_the_job(goldfish, gpt2, tmp_path):
    rows = tmp_path / "in.jsonl"
    rows.write_text(json.dumps({"text": f"a {END} b"}) + "\n")
    arguments = ["--tokenizer", gpt2, "--append-eos"]
    goldfish.mask(rows, tmp_path / "out", *arguments, "--special-in-text", "text")
    goldfish.run("verify", tmp_path / "out", "--recompute", "--tokenizer", gpt2)
    other = goldfish.mask(rows, tmp_path / "out", *arguments, "--resume", expect=2)
    assert "--special-in-text" in other.process.stderr, other.process.stderr
    again = goldfish.mask(rows, tmp_path / "out", *arguments, "--special-in-text", "text", "--resume")
    assert "already complete" in again.process.stdout


def test_several_folders(goldfish, fixtures, gpt2, tmp_path):
    for name in ("a", "b"):
        goldfish.mask(fixtures / "formats/docs.jsonl", tmp_path / name, "--tokenizer", gpt2)
    folders = [tmp_path / "a", tmp_path / "b"]
    shown = goldfish.run("inspect", *folders).stdout
    assert shown.count(str(folders[0])) == shown.count(str(folders[1])) == 1
    objects = json.loads(goldfish.run("inspect", *folders, "--json").stdout)
    assert [item["folder"] for item in objects] == [str(folder) for folder in folders]
    assert json.loads(goldfish.run("inspect", folders[0], "--json").stdout)["drop_rate"] == objects[0]["drop_rate"]
    assert "one folder" in goldfish.run("inspect", *folders, "--html", tmp_path / "x.html", expect=2).stderr
    goldfish.run("export", *folders, "--to", "olmo", "--output", tmp_path / "exports")
    goldfish.run("export", folders[0], "--to", "olmo", "--output", tmp_path / "one")
    for file in (tmp_path / "one").rglob("*.npy"):
        for name in ("a", "b"):
            other = tmp_path / "exports" / name / file.relative_to(tmp_path / "one")
            assert other.read_bytes() == file.read_bytes()
    refused = goldfish.run("export", folders[0], folders[0], "--to", "olmo", "--output", tmp_path / "c", expect=2)
    assert "two folders would be exported" in refused.stderr
    assert not (tmp_path / "c").exists()


def test_limit_counts_what_was_read_of_a_broken_file(goldfish, gpt2, tmp_path):
    (tmp_path / "a.json").write_text('[{"text": "one"}, {"text": "two"}')
    (tmp_path / "b.jsonl").write_text('{"text": "three"}\n' * 5)
    inputs = [tmp_path / "a.json", tmp_path / "b.jsonl"]
    arguments = ["--tokenizer", gpt2, "--on-error", "skip", "--limit", 3]
    masked = goldfish.mask(inputs, tmp_path / "out", *arguments, expect=1)
    assert masked.column("doc_id") == ["a.json:0", "a.json:1", "b.jsonl:0"]
    assert len(read_json_lines(tmp_path / "out/rejects.jsonl")) == 1
