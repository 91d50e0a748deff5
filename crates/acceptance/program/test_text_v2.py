"""The rules text and anchor again, by the Python of docs/masks.md, and the bound on what they keep in a row."""

import random
import re
from functools import cache
from itertools import product
from unicodedata import category, combining, normalize

import pytest
from xxhash import xxh3_64_intdigest

from product import assert_same_rows, read_json_lines, write_ids, write_texts
from program.strings import adversarial_strings, random_strings

KS = [2, 3, 4, 8, 50]
BOUNDS = [lambda k: 2 * k - 2, lambda k: 4 * k - 2, lambda k: 8 * k - 2, lambda k: "none"]
IDS = ["--ids-column", "input_ids"]


@pytest.fixture(scope="module")
def page(repository):
    """What the Python of docs/masks.md defines."""
    section = (repository / "docs/masks.md").read_text(encoding="utf-8").split("\n### Recomputing a mask in Python\n")[1]
    names = {}
    for code in re.findall(r"^```python\n(.*?)^```$", section.split("\n## ")[0].split("\n### ")[0], re.DOTALL | re.MULTILINE):
        exec(compile(code, "docs/masks.md", "exec"), names)
    # The words of a text are the same for all parameters.
    words = names["words"]
    names["words"] = cache(lambda text: tuple(words(text)))
    return names


def spaceless_texts(source):
    """Thai, Lao, Khmer and Burmese: letters with marks, without spaces between words."""
    scripts = [("กขคงจชดตนบปมยรลวสหอาเแโไ", "ิีุู่้"), ("ກຂຄງຈຊຍດຕນບປມຢຣລວ", "ິີຸູ່້"), ("កខគងចឆជដតនបពមយរលវសហ", "ាិីុូ្"), ("ကခဂငစဆညတနပဖမယရလဝသဟ", "ာိီုူ်")]  # fmt: skip
    for letters, marks in scripts:
        syllables = [
            source.choice(letters) + "".join(source.sample(marks, source.choice((0, 0, 1, 2)))) for _ in range(60)
        ]
        for length in (3, 40, 400):
            between = ["", "", "", "", "", "", " ", " abc", "日", "12 "]
            yield "".join(source.choice(syllables) + source.choice(between) for _ in range(length))
        yield letters[0] * 90 + " " + (letters[0] + marks[0] * 30) * 9


@pytest.fixture(scope="module")
def texts(corpus_files):
    """Documents, and whatever is hard to cut into words, of characters that Python's tables know."""
    documents = [row["text"] for path in corpus_files for row in read_json_lines(path)[::4]]
    source = random.Random(17)
    strange = random_strings(400, seed=23)
    joined = [source.choice(("", " ")).join(strange[i : i + 16]) for i in range(0, len(strange), 16)]
    periodic = ["0 " * 500, "ab cd " * 300, "".join(f"{i % 7} {i % 3}, " for i in range(500)), "漢" * 900, "a" * 3000]
    no_letters = ["", " \n", "… — !", "\u0301\u0e34 \u0301"]
    hostile = [text for text in adversarial_strings() if len(text) < 5000]
    made = [*documents, *spaceless_texts(source), *strange[:100], *joined, *hostile, *periodic, *no_letters]
    known = [text for text in made if all(category(c) not in ("Cn", "Cs") for c in text)]
    assert len(known) > len(made) / 2
    return known


@pytest.fixture(scope="module")
def texts_file(texts, tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts") / "texts.jsonl", texts)


def byte_offsets(text):
    """Where each character starts in UTF-8, and where the last one ends."""
    ends = [0]
    for c in text:
        ends.append(ends[-1] + len(c.encode()))
    return ends


def kept_by_python(page, text, rule):
    """The mask of the bytes of a text."""
    offsets = byte_offsets(text)
    mask = [1] * offsets[-1]
    for start, end in page["dropped_text"](text, rule):
        mask[offsets[start] : offsets[end]] = [0] * (offsets[end] - offsets[start])
    return mask


def parameters():
    """Each k with each bound; heads, seeds and contexts in turn."""
    for number, (k, bound) in enumerate(product(KS, BOUNDS)):
        head, seed = ("keep", "short")[number % 2], (0, 7, 2**63 + 5)[number % 3]
        yield ["--k", k, "--longest-run", bound(k), "--head", head, "--seed", seed], (None, 1, 5, 24)[number // 2 % 4]


@pytest.mark.parametrize("options, context", list(parameters()), ids=str)
def test_text_is_what_python_recomputes(goldfish, page, byte_tokenizer, texts, texts_file, tmp_path, options, context):
    options = [*options, *(["--context", context] if context else [])]
    output = goldfish.mask(texts_file, tmp_path / "out", "--rule", "text", "--tokenizer", byte_tokenizer, *options)
    rule = output.manifest["rule"]
    assert (rule["name"], rule["version"], rule["unit"]) == ("text-v2", 1, "word")
    assert any(0 in mask for mask in output.masks)
    assert_same_rows(output.masks, [kept_by_python(page, text, rule) for text in texts])


@pytest.mark.parametrize("family", ["gpt2", "neox", "llama3", "qwen2", "o200k"])
def test_tokenizers_drop_what_overlaps_these_words(goldfish, page, fixtures, texts, tmp_path, family):
    from tokenizers import Tokenizer

    path = fixtures / f"tokenizers/{family}.json"
    tokenizer = Tokenizer.from_file(str(path))
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    chosen = [text for text in texts if not any(token in text for token in special)]
    source = write_texts(tmp_path / "texts.jsonl", chosen)
    output = goldfish.mask(source, tmp_path / "out", "--rule", "text", "--tokenizer", path)
    expected = []
    for text, encoding in zip(chosen, tokenizer.encode_batch(chosen, add_special_tokens=False)):
        kept = [1] * len(text)
        for start, end in page["dropped_text"](text, output.manifest["rule"]):
            kept[start:end] = [0] * (end - start)
        expected.append([int(0 not in kept[start:end]) for start, end in encoding.offsets])
    assert_same_rows(output.masks, expected)


def kept_tokens(page, text, offsets, rule):
    """The mask of tokens with these places in a text whose characters contribute one each."""
    words = page["words"](text)
    contexts = page["contexts"](words, rule)
    keys = {}
    for (word, start, _), context in zip(words[len(words) - len(contexts) :], contexts):
        keys |= {start + i: xxh3_64_intdigest(context + word[:i].encode(), rule["seed"]) for i in range(len(word))}
    in_words = {i for _, start, end in words for i in range(start, end)}
    firsts = [next((i for i in range(*offset) if i in in_words), None) for offset in offsets]
    units = sorted({first for first in firsts if first in keys})
    dropped = {units[i] for i in page["selected"]([keys[unit] for unit in units], rule)}
    return [int(first not in dropped) for first in firsts]


@pytest.mark.parametrize("options, context", list(parameters())[::4], ids=str)
def test_tokens_of_text_are_what_python_recomputes(goldfish, page, fixtures, texts, tmp_path, options, context):
    from tokenizers import Tokenizer

    def contribute_one_each(text):
        firsts = [normalize("NFKD", c)[0] for c in text]
        joined = any(combining(c) or c in page["SECONDS"] for c in firsts)
        return not joined and all(len(word) == end - start for word, start, end in page["words"](text))

    path = fixtures / "tokenizers/gpt2.json"
    chosen = [text for text in texts if contribute_one_each(text) and "<|endoftext|>" not in text]
    assert len(chosen) > len(texts) / 2
    options = [*options, "--unit", "token", *(["--context", context] if context else [])]
    source = write_texts(tmp_path / "texts.jsonl", chosen)
    output = goldfish.mask(source, tmp_path / "out", "--rule", "text", "--tokenizer", path, *options)
    assert output.manifest["rule"]["unit"] == "token"
    assert any(0 in mask for mask in output.masks)
    encodings = Tokenizer.from_file(str(path)).encode_batch(chosen, add_special_tokens=False)
    expected = [
        kept_tokens(page, text, encoding.offsets, output.manifest["rule"]) for text, encoding in zip(chosen, encodings)
    ]
    assert_same_rows(output.masks, expected)


@pytest.mark.parametrize("options, context", list(parameters()), ids=str)
def test_anchor_is_what_python_recomputes(goldfish, page, edge_rows, edge_input, tmp_path, options, context):
    options = [*options, "--rule", "anchor", "--eos-id", 7, *(["--context", context] if context else [])]
    output = goldfish.mask(edge_input, tmp_path / "out", *IDS, *options)
    rule = output.manifest["rule"]
    assert (rule["name"], rule["version"]) == ("anchor", 1)
    assert sum(7 in row for row in edge_rows) > 1
    expected = []
    for ids in edge_rows:
        dropped = page["dropped_anchor"](ids, rule, special={7})
        expected.append([int(i not in dropped) for i in range(len(ids))])
    assert any(0 in mask for mask in expected)
    assert_same_rows(output.masks, expected)


def hostile_texts():
    """Texts of words of ASCII letters and digits, with few different keys."""
    source = random.Random(29)
    yield "zero " * 3000
    for period in (2, 3, 5, 8, 9, 14, 15, 40, 198, 199, 400):
        words = [f"{source.choice('abcdef')}{source.randrange(period)}" for _ in range(period)]
        yield " ".join(words * (2000 // period))
        yield "\n".join(" ".join(words) for _ in range(1500 // period)) + " end of it, " * 3
    for few in (2, 3, 4):
        yield " ".join(source.choice(("0", "and", "or", "none")[:few]) for _ in range(3000))


@pytest.mark.parametrize("k", KS)
def test_no_longer_run_of_words_is_kept(goldfish, byte_tokenizer, corpus_files, tmp_path, k):
    """From masks alone, with words found by a regular expression."""
    prose = [row["text"] for path in corpus_files if path.name != "multilingual.jsonl.gz" for row in read_json_lines(path)]
    plain = [text for text in prose if text.isascii() and not re.search("[A-Za-z0-9]{25}", text)]
    texts = [*plain, *hostile_texts()]
    assert len(plain) > 20
    source = write_texts(tmp_path / "texts.jsonl", texts)
    for bound in (2 * k - 2, 4 * k - 2, 8 * k - 2):
        arguments = ["--rule", "text", "--tokenizer", byte_tokenizer, "--k", k, "--longest-run", bound]
        output = goldfish.mask(source, tmp_path / str(bound), *arguments)
        context, longest = output.manifest["rule"]["context"], 0
        for text, mask in zip(texts, output.masks):
            run = 0
            for word in list(re.finditer("[A-Za-z0-9]+", text))[context:]:
                bits = mask[word.start() : word.end()]
                assert len(set(bits)) == 1, "a word is kept in part"
                run = run + 1 if bits[0] else 0
                longest = max(longest, run)
        assert longest == output.manifest["longest_kept_run"]["decided"]["length"]
        # These texts have runs as long as may be.
        assert longest == bound


@pytest.mark.parametrize("k", KS)
def test_no_longer_run_of_ids_is_kept(goldfish, tmp_path, k):
    source = random.Random(31)
    rows = [[9] * 2000, *([(i % period) * 300 for i in range(2000)] for period in (2, 3, 8, 9, 13, 15, 199))]
    rows += [[source.randrange(few) for _ in range(3000)] for few in (2, 5, 1000, 50_000)]
    path = write_ids(tmp_path / "ids.jsonl", rows)
    for bound in (2 * k - 2, 4 * k - 2, 8 * k - 2):
        output = goldfish.mask(path, tmp_path / str(bound), *IDS, "--rule", "anchor", "--k", k, "--longest-run", bound)
        context = output.manifest["rule"]["context"]
        runs = [map(len, "".join(map(str, mask[context:])).split("0")) for mask in output.masks]
        assert max(max(run) for run in runs) == bound
