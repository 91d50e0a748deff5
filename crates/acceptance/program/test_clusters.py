"""The commands of docs/clusters.md, with the environment variables of the schedulers. The suite `stores` runs those for object
stores."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from product import Output, folder_bytes

BLOCK = re.compile(r"```(sh|yaml)\n(.*?)```", re.DOTALL)
WORLD = 16


@pytest.fixture(scope="module")
def blocks(repository):
    found = BLOCK.findall((repository / "docs/clusters.md").read_text())
    return [(kind, text) for kind, text in found if "s3://" not in text]


@pytest.fixture
def run(goldfish, fixtures, tmp_path):
    """Runs shell text in a folder with a corpus and a tokenizer; /data is that folder."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "goldfish").symlink_to(goldfish.binary)
    shutil.copytree(fixtures / "corpus", tmp_path / "corpus")
    shutil.copy(fixtures / "tokenizers/gpt2.json", tmp_path / "tokenizer.json")

    def run(text, **variables):
        environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"} | variables
        text = text.replace("/data", str(tmp_path))
        process = subprocess.run(["sh", "-eu", "-c", text], cwd=tmp_path, env=environment, capture_output=True)
        assert process.returncode == 0, f"{text}\n{process.stderr.decode()}"

    return run


@pytest.fixture
def whole(run, tmp_path):
    run("goldfish mask corpus/ --tokenizer tokenizer.json --append-eos --output whole/")
    return Output(tmp_path / "whole")


def test_resuming_and_dividing(blocks, run, whole, tmp_path):
    plain = [text for kind, text in blocks if kind == "sh" and "/data" not in text]
    assert len(plain) == 2
    for text in plain:
        run(text)
    assert folder_bytes(tmp_path / "masked") == folder_bytes(whole.folder)
    assert Output(tmp_path / "divided").table.to_pydict() == whole.table.to_pydict()


def test_slurm(blocks, run, whole, tmp_path):
    array, merge = [text for kind, text in blocks if kind == "sh" and "/data" in text]
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)", array).groups())
    assert (first, last) == (0, WORLD - 1) and f"--world {WORLD}" in array
    for rank in range(first, last + 1):
        run(array, SLURM_ARRAY_TASK_ID=str(rank), SLURM_CPUS_PER_TASK="2")
    run(merge)
    assert Output(tmp_path / "masked").table.to_pydict() == whole.table.to_pydict()


def test_kubernetes(blocks, run, whole, tmp_path):
    (job,) = [yaml.safe_load(text) for kind, text in blocks if kind == "yaml"]
    assert job["spec"]["completionMode"] == "Indexed" and job["spec"]["completions"] == WORLD
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert f"--world={WORLD}" in container["command"]
    for rank in range(WORLD):
        # The cluster replaces $(NAME) in commands.
        run(" ".join(container["command"]).replace("$(JOB_COMPLETION_INDEX)", str(rank)))
    run(f"goldfish merge /data/parts/rank-*-of-{WORLD:05} --output /data/masked")
    assert Output(tmp_path / "masked").table.to_pydict() == whole.table.to_pydict()
