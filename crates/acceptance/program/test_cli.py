"""Options for the output, exit statuses, and refusals."""

import hashlib
import json

import pytest
from tokenizers import Tokenizer

from product import assert_same_rows, folder_bytes, read_json_lines, write_texts
from program.reference import hash_avalanche_mask, hash_mask, window_digests

IDS = ["--ids-column", "input_ids"]


@pytest.fixture(scope="module")
def source(fixtures):
    return fixtures / "formats/ids.jsonl"


class TestColumns:
    def test_derived_columns(self, goldfish, source, tmp_path):
        output = goldfish.mask(source, tmp_path / "out", *IDS, "--columns", "labels,attention_mask,assistant_masks")
        assert output.table.column_names == [
            "doc_id",
            "input_ids",
            "loss_mask",
            "labels",
            "attention_mask",
            "assistant_masks",
        ]
        ids, masks = output.ids, output.masks
        labels = [[i if bit else -100 for i, bit in zip(row, mask)] for row, mask in zip(ids, masks)]
        assert any(-100 in row for row in labels)
        assert_same_rows(output.column("labels"), labels)
        assert_same_rows(output.column("attention_mask"), [[1] * len(row) for row in ids])
        assert_same_rows(output.column("assistant_masks"), masks)

    def test_only_the_columns_asked_for(self, goldfish, source, tmp_path):
        output = goldfish.mask(source, tmp_path / "plain", *IDS)
        assert output.table.column_names == ["doc_id", "input_ids", "loss_mask"]
        output = goldfish.mask(source, tmp_path / "labels", *IDS, "--columns", "labels")
        assert output.table.column_names == ["doc_id", "input_ids", "loss_mask", "labels"]

    @pytest.mark.parametrize("name", ["docs.jsonl", "docs.jsonl.zst", "docs.parquet"])
    def test_carried_columns(self, goldfish, fixtures, tmp_path, name):
        arguments = ["--tokenizer", fixtures / "tokenizers/o200k.json", "--carry", "source,text", "--id-column", "id"]
        output = goldfish.mask(fixtures / "formats" / name, tmp_path / "out", *arguments)
        assert output.table.column_names == ["doc_id", "input_ids", "loss_mask", "source", "text"]
        rows = read_json_lines(fixtures / "formats/docs.jsonl")
        for column, field in {"doc_id": "id", "source": "source", "text": "text"}.items():
            assert output.column(column) == [row[field] for row in rows]

    def test_another_text_column(self, goldfish, fixtures, tmp_path):
        texts = tmp_path / "t.jsonl"
        texts.write_text('{"body": "The lamp was lit.", "text": 5}\n')
        tokenizer = fixtures / "tokenizers/gpt2.json"
        output = goldfish.mask(texts, tmp_path / "out", "--tokenizer", tokenizer, "--text-column", "body")
        expected = Tokenizer.from_file(str(tokenizer)).encode("The lamp was lit.", add_special_tokens=False).ids
        assert output.ids == [expected]


class TestSpecialTokens:
    """Text with a special token; k=2 and a context of 1, so that about every other one would be dropped."""

    TEXTS = [f"letter {i} from the {word}<|endoftext|>and more" for i in range(40) for word in ("keeper", "river")]
    RULE = ["--rule", "hash", "--k", 2, "--context", 1]

    @pytest.fixture
    def run(self, goldfish, fixtures, tmp_path):
        source = write_texts(tmp_path / "special.jsonl", self.TEXTS)
        tokenizer = fixtures / "tokenizers/gpt2.json"
        end = Tokenizer.from_file(str(tokenizer)).token_to_id("<|endoftext|>")

        def run(name, *arguments):
            output = goldfish.mask(source, tmp_path / name, "--tokenizer", tokenizer, *self.RULE, *arguments)
            plain = [hash_mask(window_digests(row, 1, "preceding", "keep", 0), 2) for row in output.ids]
            return output, plain, end

        return run

    @pytest.mark.parametrize("arguments", [[], ["--exempt-special", "true"]])
    def test_are_never_dropped(self, run, arguments):
        output, plain, end = run("out", *arguments)
        places = [(r, i) for r, row in enumerate(output.ids) for i, token in enumerate(row) if token == end]
        assert len(places) == len(self.TEXTS)
        assert any(plain[r][i] == 0 for r, i in places), "the test would prove nothing"
        for r, i in places:
            plain[r][i] = 1
        assert_same_rows(output.masks, plain)

    def test_are_dropped_on_request(self, run):
        output, plain, _ = run("out", "--exempt-special", "false")
        assert_same_rows(output.masks, plain)

    def test_reference_rules_exempt_them_only_on_request(self, goldfish, fixtures, tmp_path):
        source = write_texts(tmp_path / "special.jsonl", self.TEXTS)
        tokenizer = fixtures / "tokenizers/gpt2.json"
        end = Tokenizer.from_file(str(tokenizer)).token_to_id("<|endoftext|>")
        rule = ["--tokenizer", tokenizer, "--rule", "hash-avalanche", "--k", 2, "--context", 2]
        plain = goldfish.mask(source, tmp_path / "plain", *rule)
        exempt = goldfish.mask(source, tmp_path / "exempt", *rule, "--exempt-special", "true")
        expected = [hash_avalanche_mask(row, 2, 2) for row in plain.ids]
        assert_same_rows(plain.masks, expected)
        kept = [[bit | (token == end) for bit, token in zip(mask, row)] for mask, row in zip(expected, plain.ids)]
        assert kept != expected
        assert_same_rows(exempt.masks, kept)


class TestEnds:
    def test_the_end_token_of_the_tokenizer_is_appended(self, goldfish, fixtures, tmp_path):
        source = write_texts(tmp_path / "t.jsonl", ["one", "", "two words"])
        path = fixtures / "tokenizers/gpt2.json"
        tokenizer = Tokenizer.from_file(str(path))
        output = goldfish.mask(source, tmp_path / "out", "--tokenizer", path, "--append-eos")
        end = tokenizer.token_to_id("<|endoftext|>")
        assert output.ids == [
            tokenizer.encode(t, add_special_tokens=False).ids + [end] for t in ("one", "", "two words")
        ]

    def test_llama_ends(self, goldfish, fixtures, tmp_path):
        source = write_texts(tmp_path / "t.jsonl", ["one"])
        path = fixtures / "tokenizers/llama3.json"
        tokenizer = Tokenizer.from_file(str(path))
        output = goldfish.mask(source, tmp_path / "out", "--tokenizer", path, "--append-eos", "--prepend-bos")
        begin, end = tokenizer.token_to_id("<|begin_of_text|>"), tokenizer.token_to_id("<|end_of_text|>")
        assert output.ids == [[begin, *tokenizer.encode("one", add_special_tokens=False).ids, end]]


class TestOverwrite:
    def test_overwrite_leaves_nothing_of_the_old_output(self, goldfish, source, fixtures, tmp_path):
        goldfish.mask(source, tmp_path / "out", *IDS, "--shard-size", "64KiB")
        text = [fixtures / "malformed/two-faults.jsonl"]
        arguments = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--on-error", "skip"]
        goldfish.mask(text, tmp_path / "out", *arguments, "--overwrite", expect=1)
        output = goldfish.mask(source, tmp_path / "out", *IDS, "--k", 8, "--overwrite")
        fresh = goldfish.mask(source, tmp_path / "fresh", *IDS, "--k", 8)
        assert folder_bytes(output.folder) == folder_bytes(fresh.folder)


class TestJson:
    def test_mask_prints_one_object(self, goldfish, source, rows, tmp_path):
        output = goldfish.mask(source, tmp_path / "out", *IDS, "--json")
        printed = json.loads(output.process.stdout)
        totals = output.manifest["totals"]
        assert printed["documents"] == len(rows)
        assert printed["tokens"] == totals["tokens"] == sum(map(len, rows))
        assert printed["dropped"] == totals["dropped"] == sum(mask.count(0) for mask in output.masks)
        assert printed["rejected"] == 0
        assert printed["shards"] == 1
        assert str(printed["output"]).endswith("out")

    def test_inspect(self, goldfish, source, tmp_path):
        output = goldfish.mask(source, tmp_path / "out", *IDS)
        assert goldfish.run("inspect", output.folder).stdout.strip()
        assert isinstance(json.loads(goldfish.run("inspect", output.folder, "--json").stdout), dict)

    def test_the_tokenizer_is_named_by_its_hash(self, goldfish, fixtures, tmp_path):
        path = fixtures / "tokenizers/qwen2.json"
        output = goldfish.mask(fixtures / "formats/docs.jsonl", tmp_path / "out", "--tokenizer", path)
        assert output.manifest["tokenizer"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
