"""Copies with edits by `goldfish lab corrupt`, whose alignments are followed here."""

import json
import random

import pytest

WORDS = "the harbour master counted nets while Berit Corvin sold 24 lanterns in 1987 and nobody spoke".split()
EDITS = [
    "words-replaced", "words-inserted", "words-deleted", "characters", "words-split", "words-joined",
    "lines", "pages", "numbers", "names", "quotation",
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    draw = random.Random(1)
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    texts = [" ".join(draw.choices(WORDS, k=300)) + ". Ein Café für 東京の人。" for _ in range(4)]
    path.write_text("".join(json.dumps({"name": f"d{i}", "text": text}) + "\n" for i, text in enumerate(texts)))
    return path, {f"d{i}": text for i, text in enumerate(texts)}


def corrupt(goldfish, path, output, *arguments):
    arguments = ["--id-column", "name", "--output", output, "--json", *arguments]
    summary = json.loads(goldfish.run("lab", "corrupt", path, *arguments).stdout)
    return summary, [json.loads(line) for line in output.read_text().splitlines()]


@pytest.mark.parametrize("edit", EDITS + [",".join(EDITS)])
def test_alignments_lead_to_the_original(goldfish, corpus, tmp_path, edit):
    path, texts = corpus
    arguments = ["--edit", edit, "--rate", "0.3", "--copies", "2", "--page-words", "50", "--quoted-words", "200"]
    summary, copies = corrupt(goldfish, path, tmp_path / "c.jsonl", *arguments)
    assert [copy["id"] for copy in copies] == [f"d{i}/{n}" for i in range(4) for n in range(2)]
    found, equal = {}, 0
    for copy in copies:
        original, text, at = texts[copy["original"]].encode(), copy["text"].encode(), [0, 0]
        for stretch in copy["alignment"]:
            (start, end), (copied, copied_end) = stretch["original"], stretch["copy"]
            assert [start, copied] == at
            at = [end, copied_end]
            same = original[start:end] == text[copied:copied_end]
            assert same == ("edit" not in stretch)
            equal += same * (end - start)
            if not same:
                found[stretch["edit"]] = found.get(stretch["edit"], 0) + 1
        assert at == [len(original), len(text)]
    assert found == summary["edits"] and equal == summary["equal_bytes"]
    assert set(edit.split(",")) == set(found)
    # Lines are the same in every copy.
    assert (copies[0]["text"] == copies[1]["text"]) == (edit == "lines")


def test_rates_seeds_and_words(goldfish, corpus, tmp_path):
    path, _ = corpus
    words = tmp_path / "words.txt"
    words.write_text("zebra, quokka")
    arguments = ["--edit", "words-replaced,words-deleted", "--rate", "0.2,0.1", "--words", words]
    summary, first = corrupt(goldfish, path, tmp_path / "a.jsonl", *arguments)
    replaced, deleted = (summary["edits"][name] / summary["words"] for name in ("words-replaced", "words-deleted"))
    # A word that both edits draw is replaced.
    assert 0.16 < replaced < 0.24 and 0.06 < deleted < 0.1
    assert all("zebra" in copy["text"] for copy in first)
    _, again = corrupt(goldfish, path, tmp_path / "b.jsonl", *arguments)
    _, other = corrupt(goldfish, path, tmp_path / "b.jsonl", *arguments, "--seed", "1")
    assert again == first != other


def test_options_that_do_not_fit(goldfish, corpus, tmp_path):
    path, _ = corpus
    output = ["--output", tmp_path / "c.jsonl"]
    for arguments, message in [
        (["--edit", "words-replaced", "--rate", "1.5"], "a number from 0 to 1"),
        (["--edit", "words-replaced,lines", "--rate", "0.1,0.2"], "one for all of them, or one each"),
        (["--edit", "words-lost"], "words-replaced"),
        (["--edit", "lines", "--text-column", "body"], "body"),
    ]:
        process = goldfish.run("lab", "corrupt", path, *arguments, *output, expect=2)
        assert message in process.stderr, process.stderr
    assert not (tmp_path / "c.jsonl").exists()
