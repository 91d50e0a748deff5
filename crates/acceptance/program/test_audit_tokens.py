"""The corpus's tokenizer and the model's: a corpus that was tokenized for another model is refused."""

import hashlib
import json
import shutil
from types import SimpleNamespace

import pyarrow
import pyarrow.parquet
import pytest
from product import Goldfish, read_json_lines
from tokenizers import Tokenizer

PROBES = ["--prefix", 24, "--suffix", 24, "--metrics", "exact-match"]
SIZES = ["--layers", 1, "--width", 48, "--heads", 4, "--mlp-width", 128, "--batch", 4, "--sequence-length", 96]
MEMORIZED = ["--epochs", 40, "--lr", 8e-3, "--warmup", 10, "--weight-decay", 0, "--ignore-mask"]


def goldfish(*arguments, code=0):
    return Goldfish().run(*arguments, expect=code)


def summary(*arguments):
    return json.loads(goldfish(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def recited(fixtures, tmp_path_factory):
    """A model that recites passages in the ids of one tokenizer, and these passages in those of another one."""
    folder = tmp_path_factory.mktemp("recited")
    tokenizers = {name: fixtures / f"tokenizers/{name}.json" for name in ("gpt2", "neox", "qwen2")}
    texts = [row["text"] for row in read_json_lines(fixtures / "corpus/prose.jsonl")]
    passages = [text[at : at + 400] for text in texts for at in range(0, len(text) - 400, 400)][:12]
    with open(folder / "text.jsonl", "w") as file:
        for number, text in enumerate(passages):
            print(json.dumps({"id": f"d{number}", "text": text}), file=file)
    for name, tokenizer in tokenizers.items():
        given = ["--tokenizer", tokenizer, "--id-column", "id", "--rule", "hash"]
        goldfish("mask", folder / "text.jsonl", *given, "--output", folder / name)
    given = ["--tokenizer", tokenizers["gpt2"], *SIZES, *MEMORIZED]
    goldfish("lab", "train", folder / "gpt2", *given, "--output", folder / "model")
    return SimpleNamespace(folder=folder, tokenizers=tokenizers, passages=passages, model=folder / "model")


def audit(recited, corpus, output, *more):
    return ["audit", corpus, "--model", recited.model, "--output", output, *PROBES, *more]


def sha256(tokenizer):
    return hashlib.sha256(tokenizer.read_bytes()).hexdigest()


def tokens(run):
    return json.loads((run / "config.json").read_text())["tokens"]


@pytest.mark.parametrize("other", ["neox", "qwen2"])
def test_shards_of_another_tokenizer_are_refused(recited, tmp_path, other):
    own = summary(*audit(recited, recited.folder / "gpt2", tmp_path / "own"))
    assert own["exact_match"]["rate"] > 0.9 and tokens(tmp_path / "own")["outcome"] == "same_file"
    names = [sha256(recited.tokenizers[name]) for name in (other, "gpt2")]
    shards = recited.folder / other
    refused = goldfish(*audit(recited, shards, tmp_path / "run"), code=2).stderr
    assert all(name in refused for name in names) and "--tokenizer" in refused and "(2457 ids)" in refused
    # With its file, they are compared by their text. The tokens of neox are also tokens of gpt2, which makes fewer of the same text.
    refused = goldfish(*audit(recited, shards, tmp_path / "run", "--tokenizer", recited.tokenizers[other]), code=2).stderr
    assert all(name in refused for name in names) and 'document "d' in refused
    assert ("ids come back" if other == "neox" else "by the corpus's tokenizer") in refused
    assert not (tmp_path / "run").exists()
    allowed = audit(recited, shards, tmp_path / "run", "--allow-tokenizer-mismatch")
    found = summary(*allowed)
    assert found["exact_match"]["rate"] < own["exact_match"]["rate"] / 2
    assert all(name in found["notes"][0] for name in names) and "allowed" in found["notes"][0]
    assert (tokens(tmp_path / "run")["outcome"], tokens(tmp_path / "run")["corpus"]) == ("mismatch_allowed", names[0])
    goldfish(*allowed, "--resume")


def write_ids(path, recited, name):
    tokenizer = Tokenizer.from_file(str(recited.tokenizers[name]))
    with open(path, "w") as file:
        for number, text in enumerate(recited.passages):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            print(json.dumps({"id": f"d{number}", "input_ids": ids}), file=file)
    return path


def test_ids_that_name_no_tokenizer_must_come_back(recited, tmp_path):
    right = write_ids(tmp_path / "right.jsonl", recited, "gpt2")
    given = ["--id-column", "id"]
    found = summary(*audit(recited, right, tmp_path / "right", *given))
    assert found["exact_match"]["rate"] > 0.9 and not any("token ids" in note for note in found["notes"])
    assert tokens(tmp_path / "right")["outcome"] == "round_trip"
    for name in ("neox", "qwen2", "sentencepiece", "wordpiece"):
        recited.tokenizers[name] = recited.tokenizers["gpt2"].with_name(f"{name}.json")
        wrong = write_ids(tmp_path / f"{name}.jsonl", recited, name)
        refused = goldfish(*audit(recited, wrong, tmp_path / "wrong", *given), code=2).stderr
        assert "not the model's" in refused and sha256(recited.tokenizers["gpt2"]) in refused
        # Nor does it help to say that the model's tokenizer made them, or to mask them so.
        said = ["--tokenizer", recited.tokenizers["gpt2"]]
        assert "not the model's" in goldfish(*audit(recited, wrong, tmp_path / "wrong", *given, *said), code=2).stderr
        goldfish("mask", wrong, *said, "--ids-column", "input_ids", "--rule", "hash", "--output", tmp_path / name, code=(0, 2))
        if (tmp_path / name).exists():
            assert "not the model's" in goldfish(*audit(recited, tmp_path / name, tmp_path / "wrong"), code=2).stderr
    # A control of another tokenizer makes any corpus look recited.
    control = audit(recited, right, tmp_path / "wrong", *given, "--control", tmp_path / "qwen2.jsonl")
    assert "not the model's" in goldfish(*control, code=2).stderr
    assert not (tmp_path / "wrong").exists()


def test_without_the_models_tokenizer_a_note_says_so(recited, tmp_path):
    bare = shutil.copytree(recited.model, tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    found = summary("audit", recited.folder / "neox", "--model", bare, "--output", tmp_path / "run", *PROBES)
    assert "was not checked" in found["notes"][0] and tokens(tmp_path / "run")["outcome"] == "not_compared"


def probes(run):
    """What was asked and scored, without the names of documents."""
    kept = ("offset", "prefix_tokens", "suffix_tokens", "exact_match", "match_length", "ranks", "log_probs", "loss")
    table = pyarrow.parquet.read_table(run / "results.parquet").to_pylist()
    return sorted(([row[name] for name in kept] for row in table), key=repr)


def test_raw_text_scores_like_its_shards(recited, tmp_path):
    """Columns of text, text files and a book, tokenized by the checkpoint's tokenizer or a named one."""
    text, sha = recited.folder / "text.jsonl", sha256(recited.tokenizers["gpt2"])
    goldfish(*audit(recited, recited.folder / "gpt2", tmp_path / "shards"))
    expected = probes(tmp_path / "shards")
    assert len(expected) == len(recited.passages)
    files = tmp_path / "files"
    files.mkdir()
    rows = [{"body": passage, "input_ids": [1, 2, 3]} for passage in recited.passages]
    for number, passage in enumerate(recited.passages):
        (files / f"{number}.txt").write_text(passage)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "columns.parquet")
    named = ["--tokenizer", recited.tokenizers["gpt2"]]
    columns = [tmp_path / "columns.parquet", "--text-column", "body"]
    for name, corpus in [("json", [text]), ("named", [text, *named]), ("txt", [files]), ("columns", columns)]:
        found = summary(*audit(recited, corpus[0], tmp_path / name, *corpus[1:]))
        assert probes(tmp_path / name) == expected and found["exact_match"]["rate"] > 0.9, name
        assert tokens(tmp_path / name)["outcome"] == "same_file"
        origin = json.loads((tmp_path / name / "origin.json").read_text())
        assert origin["corpus"][0]["tokenized_by"] == sha == origin["tokenizer"]
    # The model's tokenizer must encode as the named one does.
    other = audit(recited, text, tmp_path / "other", "--tokenizer", recited.tokenizers["qwen2"])
    assert "not the model's" in goldfish(*other, code=2).stderr
    assert "raw text needs the model's tokenizer; give --tokenizer" in goldfish(
        "audit", text, "--server", "http://127.0.0.1:9", "--output", tmp_path / "other", code=2
    ).stderr
    assert not (tmp_path / "other").exists()


def test_a_book_is_probed_with_a_stride(recited, fixtures, tmp_path):
    book, control = tmp_path / "book.txt", tmp_path / "control.txt"
    book.write_text("\n".join(recited.passages))
    control.write_text("\n".join(row["text"] for row in read_json_lines(fixtures / "corpus/notes.jsonl")[:20]))
    one = goldfish(*audit(recited, book, tmp_path / "one"))
    assert "only 1 start" in one.stderr and "--stride 48" in one.stderr
    found = summary(*audit(recited, book, tmp_path / "all", "--stride", 48, "--control", control))
    assert found["exact_match"]["n"] > 20 and found["control"]["exact_match"]["n"] > 5
    book.write_bytes(b"caf\xe9 " * 100)
    assert "book.txt" in goldfish(*audit(recited, book, tmp_path / "bad"), code=2).stderr
