"""Fixtures of the program's tests: edge cases of token ids, and the corpus."""

import pytest

from product import read_json_lines, write_ids


@pytest.fixture(scope="session")
def rows(fixtures):
    """The ids of fixtures/formats: one list a document."""
    return [row["input_ids"] for row in read_json_lines(fixtures / "formats/ids.jsonl")]


@pytest.fixture(scope="session")
def edge_rows(rows):
    """Real documents, and edge cases of windows: short and constant documents, ids 0 and 1, the largest ids."""
    largest = 2**31 - 1
    spread = [(i * 2_654_435_761) % 2**31 for i in range(700)]
    short = [list(range(5, 5 + n)) for n in (0, 1, 2, 3, 4, 5, 12, 13, 14, 24, 25, 26, 49, 50, 51)]
    made = [[0] * 70, [1] * 70, [largest] * 70, [7, 0, 9] * 40, [0, 1] * 60, spread, [], rows[0][:300] * 3]
    return [*short, *made, *rows[:6], rows[-1], rows[-5]]


@pytest.fixture(scope="session")
def edge_input(edge_rows, tmp_path_factory):
    return write_ids(tmp_path_factory.mktemp("edge") / "edge.jsonl", edge_rows)


@pytest.fixture(scope="session")
def corpus_files(fixtures):
    return sorted(path for path in (fixtures / "corpus").iterdir() if ".jsonl" in path.name)


@pytest.fixture(scope="session")
def byte_tokenizer(tmp_path_factory):
    """A tokenizer with one token for each byte: its masks show which bytes are dropped."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    path = tmp_path_factory.mktemp("bytes") / "tokenizer.json"
    tokenizer.save(str(path))
    return path
