"""Token ids equal those of Python's `tokenizers`, for every family and adversarial text."""

import os
import zlib

import pytest
from tokenizers import Tokenizer

from product import assert_same_rows, read_json_lines, write_texts
from program.strings import adversarial_strings, random_strings

FAMILIES = ["gpt2", "neox", "llama3", "qwen2", "o200k", "sentencepiece", "wordpiece"]
STRINGS = int(os.environ.get("GOLDFISH_PEER_STRINGS", "100000"))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def tokenizer_file(fixtures, family):
    return fixtures / f"tokenizers/{family}.json"


@pytest.fixture(scope="module")
def encode(tokenizer_file):
    tokenizer = Tokenizer.from_file(str(tokenizer_file))

    def encode(texts, portion=5000):
        rows = []
        for start in range(0, len(texts), portion):
            encodings = tokenizer.encode_batch_fast(texts[start : start + portion], add_special_tokens=False)
            rows += [encoding.ids for encoding in encodings]
        return rows

    return encode


def assert_same_ids(output, texts, expected):
    actual = output.ids
    assert len(actual) == len(expected)
    wrong = [i for i, (left, right) in enumerate(zip(actual, expected)) if left != right]
    shown = "\n".join(f"{texts[i][:300]!r}:\n  {actual[i][:60]}\n  {expected[i][:60]}" for i in wrong[:5])
    assert not wrong, f"{len(wrong)} of {len(texts)} texts differ (ours, then expected), the first of them:\n{shown}"


def test_corpus(goldfish, encode, tokenizer_file, corpus_files, tmp_path):
    output = goldfish.mask(corpus_files, tmp_path / "out", "--tokenizer", tokenizer_file, "--id-column", "id")
    documents = [row for path in corpus_files for row in read_json_lines(path)]
    assert output.column("doc_id") == [row["id"] for row in documents]
    texts = [row["text"] for row in documents]
    assert_same_ids(output, texts, encode(texts))


def test_adversarial_strings(goldfish, encode, tokenizer_file, tmp_path):
    texts = adversarial_strings()
    source = write_texts(tmp_path / "adversarial.jsonl", texts)
    output = goldfish.mask(source, tmp_path / "out", "--tokenizer", tokenizer_file)
    assert_same_ids(output, texts, encode(texts))


def test_random_strings(goldfish, encode, tokenizer_file, family, tmp_path):
    texts = random_strings(STRINGS, seed=zlib.crc32(family.encode()))
    source = write_texts(tmp_path / "random.jsonl", texts)
    output = goldfish.mask(source, tmp_path / "out", "--tokenizer", tokenizer_file)
    assert_same_ids(output, texts, encode(texts))


def test_a_document_of_ten_megabytes(goldfish, encode, tokenizer_file, corpus_files, tmp_path):
    base = "\n".join(row["text"] for path in corpus_files for row in read_json_lines(path))
    parts, size = [], 0
    while size < 10_000_000:
        parts.append(f"{len(parts)}: {base[len(parts) * 7 :]}")
        size += len(parts[-1].encode())
    texts = ["before", "".join(parts), "after"]
    source = write_texts(tmp_path / "large.jsonl", texts)
    output = goldfish.mask(source, tmp_path / "out", "--tokenizer", tokenizer_file)
    assert_same_rows(output.ids, encode(texts))


def test_lone_surrogates_are_rejected(goldfish, encode, tokenizer_file, tmp_path):
    """JSON can escape a lone surrogate, which UTF-8 can't represent."""
    halves = [r"\ud800", r"a\udfff", r"\ude00\ud83d", r"\ud83d \ude00"]
    whole = r"\ud83d\ude00"
    lines = [f'{{"text": "{text}"}}' for text in ("first", *halves, whole, "last")]
    source = tmp_path / "halves.jsonl"
    source.write_text("\n".join(lines) + "\n", encoding="ascii")
    arguments = ["--tokenizer", tokenizer_file]

    process = goldfish.run("mask", source, "--output", tmp_path / "fail", *arguments, expect=2)
    assert "row 1" in process.stderr and "surrogate" in process.stderr.lower()

    output = goldfish.mask(source, tmp_path / "skip", *arguments, "--on-error", "skip", expect=1)
    texts = ["first", "\U0001f600", "last"]
    assert_same_ids(output, texts, encode(texts))
    assert len(output.rejects) == len(halves)


def test_end_and_begin_tokens_by_number(goldfish, encode, tokenizer_file, tmp_path):
    texts = ["one", "", "two words"]
    source = write_texts(tmp_path / "texts.jsonl", texts)
    ends = ["--append-eos", "--eos-id", 3, "--prepend-bos", "--bos-id", 4]
    output = goldfish.mask(source, tmp_path / "out", "--tokenizer", tokenizer_file, *ends)
    assert output.ids == [[4, *ids, 3] for ids in encode(texts)]
