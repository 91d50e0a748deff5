"""The example program `score_checkpoint`, and tiny checkpoints to ask it about."""

import json
import os
import subprocess

import pytest
import torch

torch.manual_seed(0)
torch.set_num_threads(2)
# `transformers` asks, and the stand-ins of fixtures/models/torch_cpu.py can't answer; on the CPU nothing is captured.
torch.cuda.is_current_stream_capturing = lambda: False


def pytest_configure():
    program = os.environ.get("GOLDFISH_SCORE_CHECKPOINT")
    if not program or not os.access(program, os.X_OK):
        raise pytest.UsageError(
            "set GOLDFISH_SCORE_CHECKPOINT to the example program: `cargo build -p goldfish-backends --example score_checkpoint`, "
            "then GOLDFISH_SCORE_CHECKPOINT=$PWD/target/debug/examples/score_checkpoint"
        )


@pytest.fixture(scope="session")
def ask():
    """Answers to a list of questions, one process for all of them."""

    def run(questions, **environment):
        lines = "".join(json.dumps(question, default=str) + "\n" for question in questions)
        program = os.environ["GOLDFISH_SCORE_CHECKPOINT"]
        process = subprocess.run(
            [program], input=lines.encode(), capture_output=True, timeout=300, env={**os.environ, **environment}
        )
        assert process.returncode == 0, process.stderr.decode()[-2000:]
        answers = [json.loads(line) for line in process.stdout.decode().splitlines()]
        assert len(answers) == len(questions)
        return answers

    return run
