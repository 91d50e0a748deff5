"""`goldfish lab copy` on a real llama.cpp server, and with the same weights as a checkpoint."""

import json
import os
import subprocess

import pytest
from servers import tiny_llama
from servers.fixtures import llama_server


def copy(output, *arguments):
    command = [os.environ["GOLDFISH_BIN"], "lab", "copy", *arguments, "--output", output, "--json"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("task", ["copy", "suffix-key"])
def test_a_server_answers_as_the_checkpoint_does(task, tmp_path):
    arrays = tiny_llama.without_end()
    checkpoint = tiny_llama.write_checkpoint(tmp_path / "tiny", arrays=arrays)
    tokenizer = tiny_llama.write_tokenizer(tmp_path / "tokenizer.json")
    gguf = tiny_llama.write_gguf(tmp_path / "tiny.gguf", arrays=arrays)
    arguments = ["--task", task, "--lengths", "12,20", "--samples", 120, "--examples", 2]
    local = copy(tmp_path / "local", *arguments, "--model", checkpoint, "--tokenizer", tokenizer)
    with llama_server(gguf, tmp_path / "log") as url:
        # The server's own tokenizer writes the prompts and reads the answers.
        served = copy(tmp_path / "served", *arguments, "--server", url)
    assert (local["model"]["backend"], served["model"]["backend"]) == ("local", "llama-cpp")
    assert [found["length"] for found in served["lengths"]] == [12, 20]
    answer = {"copy": None, "suffix-key": 4}[task]
    for here, there in zip(local["lengths"], served["lengths"], strict=True):
        assert there["strings"]["n"] == 120
        assert there["characters"]["n"] == 120 * (answer or there["length"])
        # The weights are random: what is right is right by chance, and nearly every time of both.
        assert there["characters"]["positives"] > 0
        assert abs(here["characters"]["positives"] - there["characters"]["positives"]) <= 2
