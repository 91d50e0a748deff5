import json
import os
from pathlib import Path
from types import SimpleNamespace

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from product import Goldfish, executable
from training import models

GOLDFISH = executable("GOLDFISH_BIN")

# Family, and whether it is trained with the goldfish loss.
CHECKPOINTS = {
    "llama": ("llama", False),
    "llama-goldfish": ("llama", True),
    "gpt2": ("gpt2", False),
    "gpt-neox": ("gpt-neox", False),
}


def goldfish(*arguments, code=0, **environment):
    return Goldfish().run(*arguments, expect=code, environment={**os.environ, **environment})


def summary(*arguments, **environment):
    return json.loads(goldfish(*arguments, "--json", **environment).stdout)


def rows(folder, name="results"):
    return pyarrow.parquet.read_table(Path(folder) / f"{name}.parquet").to_pylist()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Training documents with masks, and documents that no model has seen."""
    folder = tmp_path_factory.mktemp("corpus")
    learnt, held_out = models.documents(1), models.documents(2)
    for name, documents in [("learnt", learnt), ("held-out", held_out)]:
        models.write(folder / f"{name}.jsonl", documents, name)
        arguments = ["--ids-column", "input_ids", "--id-column", "id", "--rule", "hash", "--context", "4", "--k", "4"]
        goldfish("mask", folder / f"{name}.jsonl", *arguments, "--output", folder / name)
    with pyarrow.memory_map(str(next((folder / "learnt").glob("*.arrow")))) as source:
        masks = pyarrow.ipc.open_stream(source).read_all()["loss_mask"].to_pylist()
    return SimpleNamespace(
        folder=folder, learnt=learnt, masks=masks, shards=folder / "learnt", held_out=folder / "held-out"
    )


@pytest.fixture(scope="session")
def checkpoints(corpus, tmp_path_factory):
    """The folder and the torch model of each checkpoint, by name."""
    made = {}
    for name, (family, masked) in CHECKPOINTS.items():
        model = models.train(models.model(family), corpus.learnt, corpus.masks if masked else None)
        folder = tmp_path_factory.mktemp(name)
        model.save_pretrained(folder)
        made[name] = SimpleNamespace(folder=folder, model=model)
    return made
