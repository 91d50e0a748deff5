"""Runs every shell command of the README in a copy of the repository."""

import subprocess

import pytest

from commands import blocks, checkout, environment

# A block after this comment is not run; only for the command that runs the tests.
MARKER = "<!-- not run by test_readme.py: it runs the tests -->"


@pytest.fixture(scope="module")
def readme(repository):
    path = repository / "README.md"
    assert path.is_file(), f"{path} does not exist"
    return path


def test_only_the_test_command_is_left_out(readme):
    left_out = [body for run, body in blocks(readme, MARKER) if not run]
    assert len(left_out) <= 1
    assert all("test" in body for body in left_out)
    assert readme.read_text(encoding="utf-8").count(MARKER) == len(left_out)


def test_commands(readme, repository, tmp_path):
    wanted = [body for run, body in blocks(readme, MARKER) if run]
    assert wanted, "the README shows no command"
    workplace, variables = checkout(repository, tmp_path / "goldfish"), environment(repository, tmp_path)
    for number, body in enumerate(wanted, start=1):
        command = ["bash", "-euo", "pipefail", "-c", body]
        process = subprocess.run(command, cwd=workplace, env=variables, capture_output=True, text=True, timeout=1800)
        assert process.returncode == 0, (
            f"block {number} of the README: exit status {process.returncode}\n{body}\n"
            f"stdout: {process.stdout[-2000:]}\nstderr: {process.stderr[-4000:]}"
        )
