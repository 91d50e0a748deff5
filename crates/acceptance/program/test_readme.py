"""Runs every shell command of the README in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# A block after this comment is not run; only for the command that runs the tests.
MARKER = "<!-- not run by test_readme.py: it runs the tests -->"
BLOCK = re.compile(
    r"(?P<before>[^\n]*)\n(?P<indent>[ ]*)```(?:sh|bash|shell|console)\n(?P<body>.*?)\n(?P=indent)```", re.DOTALL
)


def blocks(readme):
    """Pairs (whether it is run, text of the block), in order."""
    text = "\n" + readme.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        lines = match["body"].split("\n")
        body = "\n".join(line.removeprefix(match["indent"]).removeprefix("$ ") for line in lines)
        yield match["before"].strip() != MARKER, body


@pytest.fixture(scope="module")
def readme(repository):
    path = repository / "README.md"
    assert path.is_file(), f"{path} does not exist"
    return path


@pytest.fixture(scope="module")
def workplace(repository, tmp_path_factory):
    """A copy of the files that git would commit, so that commands change only build products of the repository."""
    listing = ["git", "-C", repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, check=True, capture_output=True).stdout.decode().split("\0")
    target = tmp_path_factory.mktemp("readme") / "goldfish"
    for name in filter(None, names):
        if (repository / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, target / name)
    (target / "target").mkdir()
    return target


@pytest.fixture(scope="module")
def environment(repository, tmp_path_factory):
    """`goldfish` is the program under test and `python` this interpreter; nothing is installed for the user.

    Builds share the target folder of the repository, so that dependencies are built once.
    """
    tools = tmp_path_factory.mktemp("bin")
    (tools / "goldfish").symlink_to(Path(os.environ["GOLDFISH_BIN"]).resolve())
    for name in ("python", "python3"):
        wrapper = tools / name
        wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        wrapper.chmod(0o755)
    installed = tmp_path_factory.mktemp("installed")
    path = os.pathsep.join([str(tools), str(installed / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    builds = os.environ.get("CARGO_TARGET_DIR", str(repository / "target"))
    return os.environ | {"PATH": path, "CARGO_INSTALL_ROOT": str(installed), "CARGO_TARGET_DIR": builds}


def test_only_the_test_command_is_left_out(readme):
    left_out = [body for run, body in blocks(readme) if not run]
    assert len(left_out) <= 1
    assert all("test" in body for body in left_out)
    assert readme.read_text(encoding="utf-8").count(MARKER) == len(left_out)


def test_commands(readme, workplace, environment):
    wanted = [body for run, body in blocks(readme) if run]
    assert wanted, "the README shows no command"
    for number, body in enumerate(wanted, start=1):
        command = ["bash", "-euo", "pipefail", "-c", body]
        process = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=1800)
        assert process.returncode == 0, (
            f"block {number} of the README: exit status {process.returncode}\n{body}\n"
            f"stdout: {process.stdout[-2000:]}\nstderr: {process.stderr[-4000:]}"
        )
