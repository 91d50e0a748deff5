"""`goldfish inspect`: every figure is recomputed from the shards."""

import json
import random
import re
from collections import Counter

import numpy
import pytest
from tokenizers import Tokenizer

from product import write_json_lines, write_texts

INDEPENDENT = 0.75  # 1 - 1/k for k = 4


def inspected(goldfish, folder, *arguments):
    process = goldfish.run("inspect", folder, "--json", *arguments)
    return json.loads(process.stdout)["inspection"], process.stderr


def words(seed, count):
    """Random words, enough for every passage to be unique."""
    source = random.Random(seed)
    syllables = ["ka", "lo", "mi", "ren", "su", "to", "vel", "na", "pri", "dor", "ash", "ing"]
    return ["".join(source.choice(syllables) for _ in range(source.randint(1, 4))) for _ in range(count)]


@pytest.fixture(scope="module")
def gpt2(fixtures):
    return fixtures / "tokenizers/gpt2.json"


@pytest.fixture(scope="module")
def masked(goldfish, gpt2, corpus_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked") / "out"
    arguments = ["--tokenizer", gpt2, "--append-eos", "--id-column", "id", "--shard-size", "100KiB"]
    return goldfish.mask(corpus_files, folder, *arguments)


class TestCounts:
    def test_gaps_and_stretches(self, goldfish, masked):
        found, _ = inspected(goldfish, masked.folder)
        gaps, kept, runs, undropped = [], 0, 0, [0, 0]
        for mask in map(numpy.array, masked.masks):
            dropped = numpy.flatnonzero(mask == 0)
            gaps += numpy.diff(dropped).tolist()
            text = "".join(map(str, mask))
            kept = max([kept, *map(len, text.split("0"))])
            runs = max([runs, *map(len, text.split("1"))])
            if not len(dropped):
                undropped = [undropped[0] + 1, undropped[1] + len(mask)]
        gaps.sort()
        measured = found["gaps"]["measured"]
        assert found["gaps"]["count"] == len(gaps)
        assert measured["mean"] == pytest.approx(numpy.mean(gaps))
        quantile = lambda q: gaps[-(-len(gaps) * q // 100) - 1]  # noqa: E731
        assert (measured["p50"], measured["p99"], measured["max"]) == (quantile(50), quantile(99), gaps[-1])
        assert (found["gaps"]["longest_kept"], found["gaps"]["longest_dropped"]) == (kept, runs)
        assert found["undropped"] == {"documents": undropped[0], "tokens": undropped[1]}
        for point in found["gaps"]["survival"]:
            share = sum(gap >= point["gap"] for gap in gaps) / len(gaps)
            assert point["measured"] == pytest.approx(share)
            assert point["law"] == pytest.approx(0.75 ** (point["gap"] - 1))

    def test_ids(self, goldfish, masked):
        found, _ = inspected(goldfish, masked.folder)
        ids = found["ids"]
        tokens, dropped = Counter(), Counter()
        for row, mask in zip(masked.ids, masked.masks):
            tokens.update(row)
            dropped.update(id for id, keep in zip(row, mask) if keep == 0)
        often = [id for id in tokens if tokens[id] >= ids["least_tokens"]]
        assert ids["distinct"] == len(tokens)
        histogram = Counter(min(19, dropped[id] * 20 // tokens[id]) for id in often)
        assert ids["histogram"] == [histogram[step] for step in range(20)]
        never = sorted((-tokens[id], id) for id in often if dropped[id] == 0)
        assert ids["never"]["count"] == len(never) > 0
        assert [(-n["tokens"], n["id"]) for n in ids["never"]["most_frequent"]] == never[:20]
        assert ids["always"]["count"] == sum(dropped[id] == tokens[id] for id in often)

    def test_groups_by_column_and_by_input(self, goldfish, gpt2, corpus_files, tmp_path):
        rows = [{"text": " ".join(words(i, 40 + i)), "source": [None, "b", "a"][i % 3]} for i in range(90)]
        files = [write_json_lines(tmp_path / f"{name}.jsonl", part) for name, part in (("x", rows[:50]), ("y", rows[50:]))]
        output = goldfish.mask(files, tmp_path / "out", "--tokenizer", gpt2, "--carry", "source")
        for column in ("source", "input"):
            found, _ = inspected(goldfish, output.folder, "--by", column, "--tokenizer", gpt2)
            values = output.column("source") if column == "source" else ["x.jsonl"] * 50 + ["y.jsonl"] * 40
            expected = {}
            for value, mask in zip(values, output.masks):
                entry = expected.setdefault(value, [0, 0, 0])
                for i, more in enumerate((1, len(mask), mask.count(0))):
                    entry[i] += more
            assert found["groups"]["column"] == column
            actual = {row["value"]: [row["documents"], row["tokens"], row["dropped"]] for row in found["groups"]["rows"]}
            assert actual == expected
            assert sum(row["decided"] for row in found["groups"]["rows"]) == found["tally"]["decided"]

    def test_why_tokens_were_kept(self, goldfish, masked, gpt2):
        """The decided tokens are the same for every seed: those that some seed drops."""
        found, _ = inspected(goldfish, masked.folder, "--tokenizer", gpt2)
        tally = found["tally"]
        assert tally["tokens"] == sum(map(len, masked.ids)) == sum(tally[k] for k in ("special", "blank", "head", "decided"))
        eos = Tokenizer.from_file(str(gpt2)).token_to_id("<|endoftext|>")
        assert tally["special"] == sum(row.count(eos) for row in masked.ids)
        assert tally["dropped"] == sum(mask.count(0) for mask in masked.masks)
        assert abs(tally["decided_drop_rate"] - 0.25) < 0.02
        without, _ = inspected(goldfish, masked.folder)
        assert without["tally"] is None


class TestDegenerateWindows:
    @pytest.fixture(scope="class")
    def prose(self, tmp_path_factory):
        texts = [" ".join(words(i, 3000)) for i in range(12)]
        return write_texts(tmp_path_factory.mktemp("prose") / "prose.jsonl", texts)

    def test_products_of_fifty_tokens_degenerate_and_hashes_do_not(self, goldfish, gpt2, prose, tmp_path):
        for rule, context, is_sound in (("hash-avalanche", 50, False), ("hash", 50, True), ("hash", 13, True)):
            arguments = ["--tokenizer", gpt2, "--rule", rule, "--context", context, "--k", 4]
            output = goldfish.mask(prose, tmp_path / f"{rule}{context}", *arguments)
            found, warned = inspected(goldfish, output.folder)
            windows = found["windows"]
            assert (windows["degenerate_share"] < 0.001) == is_sound
            assert (found["warnings"] == []) == is_sound
            for stderr in (warned, output.process.stderr):
                assert ("warning" in stderr) == (not is_sound)
                assert is_sound or ("times the 1/k" in stderr and "use the rule text" in stderr)
            seen = set()
            for row in output.ids:
                seen |= {tuple(row[i - context : i]) for i in range(context, len(row) + (rule != "hash"))}
            assert windows["distinct"] == len(seen)

    def test_text_without_letters_is_kept_and_reported(self, goldfish, gpt2, tmp_path):
        source = write_texts(tmp_path / "rules.jsonl", ["--- === ... !!! \n" * 50, "*" * 300])
        output = goldfish.mask(source, tmp_path / "out", "--tokenizer", gpt2)
        assert all(0 not in mask for mask in output.masks)
        found, warned = inspected(goldfish, output.folder, "--tokenizer", gpt2)
        assert "no letter or number" in warned and "the rule anchor" in warned
        assert found["tally"]["decided"] == 0 and found["tally"]["too_short"] == 2

    def test_short_documents_are_reported(self, goldfish, gpt2, tmp_path):
        source = write_texts(tmp_path / "short.jsonl", [" ".join(words(i, 15)) for i in range(500)])
        output = goldfish.mask(source, tmp_path / "out", "--tokenizer", gpt2, "--rule", "text-v1", "--context", 200)
        assert "by their short context" in output.process.stderr and "before the context of 200 is full" in output.process.stderr


def reformatted(text):
    """A text in five layouts, with what differs."""
    tokens = text.split(" ")
    lines = [" ".join(tokens[i : i + 9]) for i in range(0, len(tokens), 9)]
    return {
        "nothing": text,
        "line breaks": "\n".join(lines),
        "spaces": "  ".join(tokens),
        "punctuation": ", ".join(tokens),
        "case": text.upper(),
        "line breaks, punctuation": "\n# ".join(lines),
    }


class TestDuplicates:
    COUNT = 12

    @pytest.fixture(scope="class")
    def copies(self):
        """Pairs of copies and the name of their difference, short enough to be compared completely."""
        made = []
        for i in range(self.COUNT):
            text = " ".join(words(100 + i, 120))
            kinds = reformatted(text)
            kind = list(kinds)[i % len(kinds)]
            made.append((kind, text, kinds[kind]))
        return made

    @pytest.fixture(scope="class", params=["text", "hash"])
    def output(self, request, goldfish, gpt2, copies, tmp_path_factory):
        folder = tmp_path_factory.mktemp("copies")
        others = [" ".join(words(900 + i, 150)) for i in range(30)]
        texts = [text for _, text, _ in copies] + others + [text for _, _, text in copies]
        arguments = ["--tokenizer", gpt2, "--rule", request.param]
        return goldfish.mask(write_texts(folder / "copies.jsonl", texts), folder / "out", *arguments)

    def brute_force(self, output, copies, gpt2):
        """[dropped, leaked] by difference, from the characters of both copies and the offsets of Python's tokenizer."""
        tokenizer = Tokenizer.from_file(str(gpt2))
        masks, counts = output.masks, {}
        for i, (kind, *texts) in enumerate(copies):
            sides = []
            for text, mask in zip(texts, (masks[i], masks[i + len(masks) - len(copies)])):
                chars, offsets = [], tokenizer.encode(text, add_special_tokens=False).offsets
                for token, (start, end) in enumerate(offsets):
                    chars += [token for letter in text[start:end] if letter.isalnum()]
                sides.append((chars, mask))
            assert len(sides[0][0]) == len(sides[1][0])
            for (chars, mask), (other_chars, other_mask) in (sides, sides[::-1]):
                dropped = {token for token in chars if mask[token] == 0}
                leaked = {a for a, b in zip(chars, other_chars) if mask[a] == 0 and other_mask[b] == 1}
                # Layout differs from the second word on, or from the second line on.
                before = "".join(texts[0].split(" ")[: 9 if "line breaks" in kind else 1])
                equal = set(chars[: len(before)]) if kind not in ("nothing", "case") else set()
                for token in dropped:
                    difference = kind if kind in ("nothing", "case") else "nothing" if token in equal else "layout"
                    entry = counts.setdefault(difference, [0, 0])
                    entry[0] += 1
                    entry[1] += token in leaked
        return counts

    def test_every_copy_is_found_and_its_leak_is_counted(self, goldfish, output, copies, gpt2):
        found, _ = inspected(goldfish, output.folder, "--tokenizer", gpt2, "--duplicates", "--documents", 100)
        duplicates = found["duplicates"]
        assert (duplicates["pairs"], duplicates["near"]) == (self.COUNT, 0)
        assert duplicates["documents"] == duplicates["searched"] == 2 * self.COUNT + 30
        own = {row["difference"]: [row["leaks"][0]["dropped"], row["leaks"][0]["leaked"]] for row in duplicates["differences"]}
        assert own == self.brute_force(output, copies, gpt2)
        assert [row["leaks"][0]["dropped"] for row in duplicates["distances"]] == [0] * 6 + [duplicates["rules"][0]["dropped"]]
        by_rule = {row["rule"]: row for row in duplicates["rules"]}
        assert [row["own"] for row in duplicates["rules"]].count(True) == 1 and duplicates["rules"][0]["own"]
        # Both runs see the same copies: one measures its masks, the other computes them.
        assert by_rule["text-v1, context 50"]["leaked"] == 0 and by_rule["text-v1, context 50"]["dropped"] > 500
        assert by_rule["hash, context 13"]["share"] > 0.4
        assert duplicates["independent"] == INDEPENDENT
        pairs = {frozenset(copy["doc_id"] for copy in pair["copies"]) for pair in duplicates["worst"]}
        last = 2 * self.COUNT + 30
        assert pairs == {frozenset((f"copies.jsonl:{i}", f"copies.jsonl:{last - self.COUNT + i}")) for i in range(self.COUNT)}
        for pair in duplicates["worst"]:
            assert sum(token["leaked"] for copy in pair["copies"] for token in copy["tokens"]) <= pair["leak"]["leaked"]
            assert all(token["dropped"] or not token["leaked"] for copy in pair["copies"] for token in copy["tokens"])

    def test_equal_copies_never_leak_with_a_hash(self, goldfish, output, gpt2):
        found, _ = inspected(goldfish, output.folder, "--tokenizer", gpt2, "--duplicates")
        equal = next(row for row in found["duplicates"]["differences"] if row["difference"] == "nothing")
        assert all(leak["dropped"] > 0 and leak["leaked"] == 0 for leak in equal["leaks"])

    def test_passages_within_other_text_and_with_changed_words(self, goldfish, gpt2, tmp_path):
        passage = words(7, 90)
        changed = [*passage[:45], "zebra", *passage[46:]]
        texts = [
            " ".join([*words(1, 200), *passage, *words(2, 200)]),
            " ".join([*words(3, 90), *changed, *words(4, 300)]),
            " ".join(words(5, 300)),
        ]
        output = goldfish.mask(write_texts(tmp_path / "t.jsonl", texts), tmp_path / "out", "--tokenizer", gpt2)
        found, _ = inspected(goldfish, output.folder, "--tokenizer", gpt2, "--duplicates")
        duplicates = found["duplicates"]
        assert (duplicates["pairs"], duplicates["near"]) == (1, 1)
        assert duplicates["worst"][0]["kind"] == "words"
        assert duplicates["worst"][0]["characters"] == len("".join(passage)) - len(passage[45])
        leaks = {row["difference"]: row["leaks"][0] for row in duplicates["differences"]}
        assert set(leaks) == {"entry", "replaced", "ahead"}
        assert leaks["entry"]["leaked"] > 0 and leaks["replaced"]["leaked"] > 0 == leaks["ahead"]["leaked"]

    def test_the_same_for_every_number_of_threads_and_bounded_by_the_sample(self, goldfish, output, gpt2, monkeypatch):
        arguments = ["--tokenizer", gpt2, "--duplicates", "--sample", 5000, "--seed", 3]
        first, _ = inspected(goldfish, output.folder, *arguments)
        monkeypatch.setenv("RAYON_NUM_THREADS", "1")
        monkeypatch.setenv("POLARS_MAX_THREADS", "1")
        assert inspected(goldfish, output.folder, *arguments)[0] == first
        assert 0 < first["duplicates"]["documents"] < first["duplicates"]["searched"] == 2 * self.COUNT + 30
        assert first["totals"]["documents"] == 2 * self.COUNT + 30


class TestWarnings:
    """`mask` says when another rule would leak less between copies of its documents."""

    COUNT = 30

    @pytest.fixture(scope="class")
    def texts(self):
        originals = [" ".join(words(2000 + i, 150)) for i in range(self.COUNT)]
        return originals, originals + [text.replace(" ", ", ") for text in originals]

    def warning(self, output):
        found = [line for line in output.process.stderr.splitlines() if "between copies of" in line]
        assert len(found) <= 1
        return found[0] if found else None

    def test_of_the_rule_that_leaks(self, goldfish, gpt2, texts, tmp_path):
        originals, copied = texts
        corpus = write_texts(tmp_path / "copied.jsonl", copied)
        warned = [
            goldfish.mask(corpus, tmp_path / f"hash{n}", "--tokenizer", gpt2, "--rule", "hash", "--threads", n) for n in (1, 4)
        ]
        first = self.warning(warned[0])
        assert f"copies of {self.COUNT} passages" in first and first.endswith("give --rule text to leak less")
        assert self.warning(warned[1]) == first
        # A run that did not see all documents says nothing.
        arguments = ["--tokenizer", gpt2, "--rule", "hash", "--output", warned[0].folder, "--resume"]
        assert "between copies of" not in goldfish.run("mask", corpus, *arguments).stderr
        said = goldfish.run("inspect", warned[0].folder, "--tokenizer", gpt2, "--duplicates").stderr
        assert "give --rule text to leak less" in said
        # The reference is for matching a run, baselines are meant to leak, and the default does not.
        reference = goldfish.mask(corpus, tmp_path / "table", "--tokenizer", gpt2, "--rule", "hash-table")
        assert "Use hash-table only to match a run that used it; give --rule text to mask a new run" in self.warning(reference)
        for name, *arguments in (("text",), ("random", "--rule", "random"), ("static", "--rule", "static")):
            assert self.warning(goldfish.mask(corpus, tmp_path / name, "--tokenizer", gpt2, *arguments)) is None
        # Equal copies leak nothing, and neither do none.
        equal = write_texts(tmp_path / "equal.jsonl", originals * 2)
        assert self.warning(goldfish.mask(equal, tmp_path / "equal", "--tokenizer", gpt2, "--rule", "hash")) is None

    def test_of_ids_without_text(self, goldfish, gpt2, tmp_path):
        """Every tenth word differs: windows of 13 tokens forget it later than an anchor does."""
        tokenizer, rows = Tokenizer.from_file(str(gpt2)), []
        for i in range(self.COUNT):
            text = words(3000 + i, 200)
            for other in (words(5000 + i, 200), words(6000 + i, 200)):
                copy = [other[at] if at % 10 == 9 else word for at, word in enumerate(text)]
                rows.append({"input_ids": tokenizer.encode(" ".join(copy), add_special_tokens=False).ids})
        corpus = write_json_lines(tmp_path / "ids.jsonl", rows)
        warned = goldfish.mask(corpus, tmp_path / "hash", "--rule", "hash")
        assert self.warning(warned).endswith("give --rule anchor to leak less")
        assert self.warning(goldfish.mask(corpus, tmp_path / "anchor")) is None


class TestPage:
    def test_the_page_is_self_contained_and_agrees_with_json(self, goldfish, masked, gpt2, tmp_path):
        page = tmp_path / "page with 'quotes'.html"
        arguments = ["--tokenizer", gpt2, "--duplicates", "--by", "input", "--html", page]
        found, stderr = inspected(goldfish, masked.folder, *arguments)
        assert str(page) in stderr
        html = page.read_text(encoding="utf-8")
        for outside in ("http://", "https://", "src=", "@import", "url("):
            assert outside not in html
        assert html.count("<script>") == html.count("<script") == 1
        assert f"{found['totals']['tokens']:,}" in html
        assert f"{100 * found['tally']['decided_drop_rate']:.2f}%" in html
        drawings = re.findall(r"<svg[^>]*>", html)
        assert sum('role="img"' in drawing for drawing in drawings) >= 3
        assert all('role="img"' in drawing or 'aria-hidden="true"' in drawing for drawing in drawings)
        assert "goldfish inspect" in html and "--duplicates" in html
        assert [path.name for path in tmp_path.iterdir()] == [page.name]
