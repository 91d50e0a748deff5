"""Fixtures of the training loops: the program under test and its shards."""

import shutil
from types import SimpleNamespace

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from loops import tiny


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    return tiny.write_documents(tmp_path_factory.mktemp("source") / "documents.jsonl", tiny.documents())


@pytest.fixture(scope="session")
def shards(source, tmp_path_factory):
    """A folder of shards with labels, under the rule hash."""
    folder = tmp_path_factory.mktemp("shards") / "masked"
    columns = ["--columns", "labels,attention_mask,assistant_masks"]
    rule = ["--rule", "hash", "--context", "4"]
    tiny.goldfish("mask", source, "--ids-column", "input_ids", "--id-column", "id", *rule, *columns, "--output", folder)
    return folder


@pytest.fixture(scope="session")
def truth(shards):
    """Rows, masks, the loss computed by hand, and the loss without a mask."""
    rows, masks = [], []
    for path in sorted(shards.glob("*.arrow")):
        table = pyarrow.ipc.open_stream(path).read_all()
        rows += table["input_ids"].to_pylist()
        masks += table["loss_mask"].to_pylist()
    network = tiny.model()
    loss = tiny.loss_by_hand(network, rows, masks)
    assert 0.15 < 1 - sum(map(sum, masks)) / sum(map(len, masks)) < 0.35
    whole = tiny.loss_by_hand(network, rows, [[1] * len(row) for row in rows])
    assert abs(loss - whole) > 1e-3, "the mask makes no difference"
    return SimpleNamespace(rows=rows, masks=masks, loss=loss, whole=whole)


@pytest.fixture
def workplace(shards, fixtures, tmp_path):
    """The files that docs/python.md and docs/loops.md use: shards, a checkpoint, a corpus, a tokenizer."""
    shutil.copytree(shards, tmp_path / "masked")
    tiny.model().float().save_pretrained(tmp_path / "checkpoint")
    tiny.tokenizer().save_pretrained(tmp_path / "checkpoint")
    (tmp_path / "corpus").mkdir()
    table = pyarrow.table({"input_ids": pyarrow.array(tiny.documents(), pyarrow.list_(pyarrow.int32()))})
    pyarrow.parquet.write_table(table, tmp_path / "corpus/part.parquet")
    shutil.copy(fixtures / "tokenizers/gpt2.json", tmp_path / "tokenizer.json")
    return tmp_path


@pytest.fixture
def settings(workplace, monkeypatch):
    """Runs the commands of a section of docs/loops.md; returns its settings."""
    monkeypatch.chdir(workplace)

    def run(title):
        commands, yaml = tiny.section(title)
        for command in commands:
            tiny.goldfish(*command.split()[1:])
        return yaml

    return run
