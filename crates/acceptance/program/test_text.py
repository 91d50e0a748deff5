"""The rules over text: the same words in every layout, with every tokenizer, from text and from ids."""

import json
import unicodedata

import pytest
import xxhash

from product import assert_same_rows, read_json_lines, write_ids, write_texts
from program.strings import adversarial_strings, random_strings

FAMILIES = ["gpt2", "neox", "llama3", "qwen2", "o200k", "sentencepiece"]
RULES = ["text", "text-v1"]
OPTIONS = ["--head", "short", "--context", 12, "--k", 3]


@pytest.fixture(scope="module")
def texts(corpus_files):
    return [row["text"] for path in corpus_files for row in read_json_lines(path)]


@pytest.fixture(params=FAMILIES)
def tokenizer(request, fixtures):
    return fixtures / f"tokenizers/{request.param}.json"


@pytest.mark.parametrize("rule, unit", [("text", "word"), ("text", "token"), ("text-v1", "word")])
def test_ids_give_the_mask_of_their_text(goldfish, tokenizer, texts, tmp_path, rule, unit):
    strange = [text for text in random_strings(2000, seed=5) + adversarial_strings() if len(text) < 5000]
    source = write_texts(tmp_path / "texts.jsonl", texts + strange)
    arguments = ["--rule", rule, *OPTIONS, "--unit", unit, "--tokenizer", tokenizer, "--id-column", "id"]
    ends = ["--append-eos"] if "qwen2" not in tokenizer.name else []
    raw = goldfish.mask(source, tmp_path / "raw", *arguments, *ends)
    ids = write_ids(tmp_path / "ids.jsonl", raw.ids)
    again = goldfish.mask(ids, tmp_path / "again", *arguments, "--ids-column", "input_ids")
    assert_same_rows(again.ids, raw.ids)
    wrong = [i for i, (a, b) in enumerate(zip(again.masks, raw.masks)) if a != b]
    shown = [(texts + strange)[i][:200] for i in wrong[:5]]
    assert not wrong, f"{len(wrong)} documents, the first of them {shown!r}"
    for output in (raw, again):
        goldfish.run("verify", output.folder, "--recompute", "--tokenizer", tokenizer)


@pytest.mark.parametrize("rule", RULES)
def test_characters_that_join_a_preceding_special_token(goldfish, fixtures, tmp_path, rule):
    """In the text of ids, a special token is a space, with which U+0345 and vowel jamo combine in normalization."""
    special = {"gpt2": "<|endoftext|>", "sentencepiece": "</s>"}
    for family, token in special.items():
        tokenizer = fixtures / f"tokenizers/{family}.json"
        texts = [f"ab {a}{token}{b}c" for a in "abcdefgh" for b in "\u0345\u1161ㅠ\u0301\U00016d67"]
        source = write_texts(tmp_path / f"{family}.jsonl", texts)
        arguments = ["--tokenizer", tokenizer, "--rule", rule, "--head", "short", "--context", 1, "--k", 2]
        raw = goldfish.mask(source, tmp_path / family, *arguments)
        ids = write_ids(tmp_path / f"{family}.ids.jsonl", raw.ids)
        again = goldfish.mask(ids, tmp_path / f"{family}-ids", *arguments, "--ids-column", "input_ids")
        assert again.masks == raw.masks
        goldfish.run("verify", raw.folder, "--recompute", "--tokenizer", tokenizer)


def test_the_letters_before_decide_with_text_v1(goldfish, fixtures, tmp_path):
    words = [f"w{i * i}" for i in range(400)]
    source = write_texts(tmp_path / "t.jsonl", [" ".join(words), "\n# ".join(words).upper() + "!"])
    for seed in (0, 7):
        arguments = ["--rule", "text-v1", "--seed", seed, "--columns", "labels"]
        output = goldfish.mask(source, tmp_path / str(seed), "--tokenizer", fixtures / "tokenizers/gpt2.json", *arguments)
        stream, dropped = "", []
        for word in words:
            digest = xxhash.xxh3_64_intdigest(stream[-50:].encode(), seed=seed)
            dropped.append(len(stream) >= 50 and digest * 4 >> 64 == 0)
            stream += word
        vocabulary = json.loads((fixtures / "tokenizers/gpt2.json").read_text())["model"]["vocab"]
        strings = {number: token for token, number in vocabulary.items()}
        for ids, mask in zip(output.ids, output.masks):
            seen, word = [], -1
            for number, bit in zip(ids, mask):
                for letter in strings[number].replace("Ġ", "").replace("Ċ", "").lower():
                    if letter == "w":
                        word += 1
                    if letter.isalnum():
                        seen.append((word, 1 - bit))
            # A token contains the end of at most one word.
            assert all(bit == dropped[word] for word, bit in seen)


class TestDefault:
    def chosen(self, goldfish, source, output, *arguments):
        output = goldfish.mask(source, output, "--json", *arguments)
        because = json.loads(output.process.stdout)["rule_chosen_because"]
        return output.manifest["rule"]["name"], because

    def test_depends_on_input_and_tokenizer(self, goldfish, fixtures, tmp_path):
        docs, ids = fixtures / "formats/docs.jsonl", fixtures / "formats/ids.jsonl"
        tokenizers = fixtures / "tokenizers"
        column = ["--ids-column", "input_ids"]
        name, why = self.chosen(goldfish, docs, tmp_path / "a", "--tokenizer", tokenizers / "wordpiece.json")
        assert name == "text-v2" and "raw text" in why
        name, why = self.chosen(goldfish, ids, tmp_path / "b", *column)
        assert name == "anchor" and "without" in why
        name, why = self.chosen(goldfish, ids, tmp_path / "c", *column, "--tokenizer", tokenizers / "llama3.json")
        assert name == "text-v2" and "ids" in why
        refused = [*column, "--tokenizer", tokenizers / "wordpiece.json"]
        small = write_ids(tmp_path / "small.jsonl", [[5, 6, 7]])
        name, why = self.chosen(goldfish, small, tmp_path / "d", *refused)
        assert name == "anchor" and "accents" in why
        process = goldfish.run(
            "mask", small, "--output", tmp_path / "e", *refused, "--rule", "text", expect=2
        )
        assert "accents" in process.stderr and "--rule anchor" in process.stderr

    def test_recompute_needs_the_tokenizer(self, goldfish, fixtures, tmp_path):
        tokenizers = fixtures / "tokenizers"
        made = ["--tokenizer", tokenizers / "gpt2.json"]
        output = goldfish.mask(fixtures / "formats/docs.jsonl", tmp_path / "out", *made)
        process = goldfish.run("verify", output.folder, "--recompute", expect=2)
        assert "--tokenizer" in process.stderr
        other = ["--tokenizer", tokenizers / "neox.json"]
        process = goldfish.run("verify", output.folder, "--recompute", *other, expect=2)
        assert "another tokenizer" in process.stderr
        goldfish.run("verify", output.folder, "--recompute", *made)

    def test_sequences_have_no_text(self, goldfish, fixtures, tmp_path):
        sequence = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--scope", "sequence", "--sequence-length", 64]
        docs = fixtures / "formats/docs.jsonl"
        assert self.chosen(goldfish, docs, tmp_path / "a", *sequence)[0] == "hash"
        process = goldfish.run("mask", docs, "--output", tmp_path / "b", *sequence, "--rule", "text", expect=2)
        assert "packed sequences" in process.stderr


NORMALIZERS = {
    "NFKC": {"type": "NFKC"},
    "NFD": {"type": "NFD"},
    "lower case": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
    "prepended space": {"type": "Prepend", "prepend": " "},
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", [*FAMILIES, "wordpiece", *NORMALIZERS])
def test_tokens_are_dropped_by_the_offsets_that_python_gives(goldfish, fixtures, byte_tokenizer, texts, family, rule, tmp_path):
    """A token is dropped if one of its characters, by the offsets of Python's `tokenizers`, is in a dropped word."""
    from tokenizers import Tokenizer

    path = fixtures / f"tokenizers/{'gpt2' if family in NORMALIZERS else family}.json"
    if family in NORMALIZERS:
        described = json.loads(path.read_text()) | {"normalizer": NORMALIZERS[family]}
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps(described))
    special = {token["content"] for token in json.loads(path.read_text())["added_tokens"]}
    made = random_strings(2000, seed=11) + [text for text in adversarial_strings() if len(text) < 5000]
    chosen = texts + [text for text in made if not any(token in text for token in special)]
    if family == "lower case":
        # A letter newer than the rule's tables has no text, but its lower case may be in them.
        chosen = [text for text in chosen if all(unicodedata.category(letter) != "Cn" for letter in text)]
    source = write_texts(tmp_path / "texts.jsonl", chosen)
    options = ["--rule", rule, *OPTIONS]
    whole = goldfish.mask(source, tmp_path / "bytes", *options, "--tokenizer", byte_tokenizer)
    output = goldfish.mask(source, tmp_path / "out", *options, "--tokenizer", path)
    tokenizer = Tokenizer.from_file(str(path))
    encodings = tokenizer.encode_batch(chosen, add_special_tokens=False)
    wrong = []
    for text, encoding, bits, ids, mask in zip(chosen, encodings, whole.masks, output.ids, output.masks):
        assert ids == encoding.ids
        if any(token in special for token in encoding.tokens):
            continue  # A word unknown to WordPiece becomes a special token, which has no text.
        ends = [0]
        for letter in text:
            ends.append(ends[-1] + len(letter.encode()))
        expected = [
            # A prefix that a normalizer adds has the offsets of the first letter, but not its text.
            int(i == 0 and token in ("▁", "Ġ") or 0 not in bits[ends[start] : ends[end]])
            for i, (token, (start, end)) in enumerate(zip(encoding.tokens, encoding.offsets))
        ]
        if mask != expected:
            wrong.append((text[:200], [i for i, pair in enumerate(zip(mask, expected)) if pair[0] != pair[1]][:5]))
    assert not wrong, f"{len(wrong)} of {len(chosen)} texts, the first of them {wrong[:3]}"
