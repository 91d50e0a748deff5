"""Fixtures of the peer tests: the binary under test, the repository, fixtures/ and small token inputs."""

import os
import tempfile
from pathlib import Path

import pytest

# Before `datasets` is imported: keep its cache out of the home folder and itself off the network.
os.environ.setdefault("HF_HOME", tempfile.mkdtemp(prefix="goldfish-hf-"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from helpers import Goldfish, read_json_lines, write_ids  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[4]


def pytest_configure():
    binary = os.environ.get("GOLDFISH_BIN")
    if not binary:
        raise pytest.UsageError(
            "set GOLDFISH_BIN to the goldfish binary, e.g. GOLDFISH_BIN=$PWD/target/release/goldfish"
        )
    if not os.access(binary, os.X_OK):
        raise pytest.UsageError(f"GOLDFISH_BIN={binary}: no such executable")


@pytest.fixture(scope="session")
def repository():
    return REPOSITORY


@pytest.fixture(scope="session")
def fixtures():
    return REPOSITORY / "fixtures"


@pytest.fixture(scope="session")
def goldfish():
    return Goldfish(Path(os.environ["GOLDFISH_BIN"]).resolve())


@pytest.fixture(scope="session")
def rows(fixtures):
    """The ids of fixtures/formats: one list a document."""
    return [row["input_ids"] for row in read_json_lines(fixtures / "formats/ids.jsonl")]


@pytest.fixture(scope="session")
def edge_rows(rows):
    """Real documents, and the ones that break window arithmetic: short, constant, with 0 and 1, with the largest ids."""
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
