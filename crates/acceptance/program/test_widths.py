"""What commands print fits terminals of 80, 100 and 140 columns, as the snapshots beside this file show.

`GOLDFISH_WRITE_SNAPSHOTS=1` writes them again.
"""

import json
import os
import pty
import random
import re
import shutil
import struct
import subprocess
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

from product import executable, read_json_lines

SNAPSHOTS = Path(__file__).parent / "snapshots"
WIDTHS = [80, 100, 140]

# The summaries, run after one another in one folder.
COMMANDS = [
    "mask docs.jsonl --tokenizer gpt2.json --append-eos --carry source --output masked",
    "mask bad.jsonl --tokenizer gpt2.json --on-error skip --output rejected",
    "mask ids.jsonl --ids-column input_ids --output ids",
    "inspect masked --tokenizer gpt2.json --by source --duplicates",
    "inspect ids",
    "verify masked --recompute --tokenizer gpt2.json",
    "export masked --to megatron --output exported",
    "policy check policy.toml docs.jsonl --tokenizer gpt2.json",
    "audit plan --rate 0.001",
    "report first",
    "compare first second",
]


# What it prints has times.
TIMED = "trace outputs.jsonl --corpus prose.jsonl --output traced"


@pytest.fixture(scope="module")
def folder(fixtures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("widths")
    documents = read_json_lines(fixtures / "formats/docs.jsonl")
    # Copies, for the tables of recurring passages.
    rows = [*documents, *({**row, "id": row["id"] + "-copy"} for row in documents)]
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "bad.jsonl").write_text('{"text": "a"}\n{"text": 1}\n{"text": null}\n{"text": 2}\n')
    (folder / "ids.jsonl").write_bytes((fixtures / "formats/ids.jsonl").read_bytes())
    (folder / "gpt2.json").write_bytes((fixtures / "tokenizers/gpt2.json").read_bytes())
    (folder / "policy.toml").write_text(
        '[[policy]]\nname = "some"\nwhere = { source = ["harbor"] }\nk = 3\n\n[default]\nk = 50\n'
    )
    for name in ("trace/outputs.jsonl", "corpus/prose.jsonl"):
        (folder / Path(name).name).write_bytes((fixtures / name).read_bytes())
    for name in ("seen", "held-out"):
        numbers = random.Random(name)
        rows = [{"id": f"{name}-{i}", "source": "abc"[i % 3], "input_ids": numbers.choices(range(96), k=120)} for i in range(60)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, share in [("first", 60), ("second", 10)]:
        corpora = [folder / "seen.jsonl", "--control", folder / "held-out.jsonl"]
        arguments = [executable("GOLDFISH_FAKE_RUN"), folder / name, *corpora, "--recites", share]
        subprocess.run([*map(str, arguments)], check=True, cwd=folder)
    return folder


def printed(goldfish, folder, command, columns):
    """What a command prints on a real terminal of so many columns."""
    leader, follower = pty.openpty()
    ioctl(follower, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "", "COLUMNS": "33"}
    process = subprocess.Popen(
        [str(goldfish.binary), *command.split()],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=subprocess.PIPE,
        env=environment,
    )
    os.close(follower)
    text = b""
    # Reading fails once the program has closed its end.
    while part := read_or_nothing(leader):
        text += part
    os.close(leader)
    assert process.wait(timeout=60) in (0, 1), process.stderr.read().decode()
    return text.decode().replace("\r\n", "\n")


def read_or_nothing(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def too_wide(text, columns):
    """Lines that are wider than the terminal though they could be broken."""
    for line in text.splitlines():
        if len(line) > columns and " " in line.strip() and not re.search(r"\S{%d}" % (columns // 2), line):
            yield line


@pytest.mark.parametrize("columns", WIDTHS)
def test_summaries(goldfish, folder, columns, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    sections = []
    for command in COMMANDS:
        text = plain(printed(goldfish, tmp_path, command, columns))
        assert list(too_wide(text, columns)) == [], command
        sections.append(f"$ goldfish {command}\n{text}")
    assert list(too_wide(plain(printed(goldfish, tmp_path, TIMED, columns)), columns)) == []
    found = "\n".join(sections)
    path = SNAPSHOTS / f"summaries-{columns}.txt"
    if os.environ.get("GOLDFISH_WRITE_SNAPSHOTS"):
        SNAPSHOTS.mkdir(exist_ok=True)
        path.write_text(found)
    assert found == path.read_text()


def test_pipes_have_lines_of_any_length(goldfish, folder, tmp_path):
    environment = {**os.environ, "COLUMNS": "80"}
    arguments = ["mask", "docs.jsonl", "--tokenizer", "gpt2.json", "--output", tmp_path / "out"]
    lines = goldfish.run(*arguments, cwd=folder, environment=environment).stdout.splitlines()
    assert max(map(len, lines)) > 140


def test_a_narrow_terminal(goldfish, folder, tmp_path):
    command = f"mask docs.jsonl --tokenizer gpt2.json --output {tmp_path / 'out'}"
    text = printed(goldfish, folder, command, 60)
    assert "\x1b[" in text
    assert list(too_wide(plain(text), 60)) == []
    assert max(map(len, plain(text).splitlines())) > 50


def test_help_at_140_columns_is_that_at_100(goldfish, folder):
    """Longer lines are hard to read."""
    for command in ["--help", "mask --help", "audit --help"]:
        assert printed(goldfish, folder, command, 140) == printed(goldfish, folder, command, 100)
