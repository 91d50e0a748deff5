"""A small corpus, its shards, and the snippets of docs/export.md."""

import os
import random
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pyarrow
import pyarrow.ipc
import pytest

from conftest import REPOSITORY

PAGE = REPOSITORY / "docs/export.md"

# Ends each document; the vocabulary is 256.
EOS = 1


def documents():
    """Documents of different lengths with repeated passages; ids from 2 to 255."""
    chance = random.Random(5)
    passages = [[chance.randrange(2, 256) for _ in range(40)] for _ in range(6)]
    made = []
    for number in range(60):
        own = [chance.randrange(2, 256) for _ in range(chance.randrange(3, 90))]
        made.append([*own, *passages[number % 6], EOS])
    return made


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A folder with the shards `masked` and the output of all commands of docs/export.md."""
    folder = tmp_path_factory.mktemp("engines")
    binary = Path(os.environ["GOLDFISH_BIN"]).resolve()
    (folder / "bin").mkdir()
    (folder / "bin/goldfish").symlink_to(binary)
    rows = "".join(f'{{"id": "doc-{i}", "input_ids": {ids}}}\n' for i, ids in enumerate(documents()))
    (folder / "ids.jsonl").write_text(rows)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}

    def run(command):
        done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr)

    run("goldfish mask ids.jsonl --ids-column input_ids --id-column id --rule hash --output masked")
    sections = read_sections()
    for section in sections.values():
        for command in section.shell:
            run(command)
    with pyarrow.memory_map(str(folder / "masked/data-00000-of-00001.arrow")) as source:
        table = pyarrow.ipc.open_stream(source).read_all()
    ids, masks = table["input_ids"].to_pylist(), table["loss_mask"].to_pylist()
    assert ids == documents() and any(0 in mask for mask in masks)
    return SimpleNamespace(folder=folder, ids=ids, masks=masks, sections=sections, run=run)


def read_sections():
    """The commands, Python code and settings of each section of the page."""
    sections = {}
    for part in PAGE.read_text().split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        sections[title] = SimpleNamespace(
            shell=[code.strip() for language, code in blocks if language == "sh"],
            python=[code for language, code in blocks if language == "python"],
            yaml=[code for language, code in blocks if language == "yaml"],
        )
    return sections


@pytest.fixture
def snippet(corpus, monkeypatch):
    """Runs the first Python blocks of a section in the corpus folder; returns its names."""
    monkeypatch.chdir(corpus.folder)

    def run(title, blocks=None):
        names = {}
        for code in corpus.sections[title].python[:blocks]:
            exec(compile(code, f"docs/export.md, {title}", "exec"), names)
        return SimpleNamespace(**{name: value for name, value in names.items() if name != "__builtins__"})

    return run
