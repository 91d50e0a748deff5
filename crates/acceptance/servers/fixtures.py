"""Fixtures: the example program `ask`, and a real llama.cpp server with a tiny model."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from servers import tiny_llama

HERE = Path(__file__).parent


@contextmanager
def llama_server(model, log, **settings):
    """The address of a server."""
    command = [sys.executable, HERE / "llama_server.py", model, json.dumps(settings)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with open(log, "w") as errors, subprocess.Popen(command, stderr=errors, text=True, **pipes) as process:
        try:
            line = process.stdout.readline()
            assert line, Path(log).read_text()[-2000:]
            yield json.loads(line)["url"]
        finally:
            process.stdin.close()
            process.wait(30)


def ask(url, *questions, options=(), key=None):
    """Answers to questions, after the description of the model."""
    environment = {name: value for name, value in os.environ.items() if name != "GOLDFISH_API_KEY"}
    if key:
        environment["GOLDFISH_API_KEY"] = key
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    done = subprocess.run(
        [os.environ["GOLDFISH_ASK"], url, *options], input=lines, capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    return tiny_llama.write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="session")
def llama():
    return tiny_llama.Llama()


@pytest.fixture(scope="session")
def server(model_file, tmp_path_factory):
    with llama_server(model_file, tmp_path_factory.mktemp("server") / "log") as url:
        yield url
