"""The example program `audit_vectors`, which answers questions about scores and statistics."""

import json
import os
import subprocess

import pytest


def pytest_configure():
    program = os.environ.get("GOLDFISH_AUDIT_VECTORS")
    if not program or not os.access(program, os.X_OK):
        raise pytest.UsageError(
            "set GOLDFISH_AUDIT_VECTORS to the example program: `cargo build -p goldfish-audit --example audit_vectors`, "
            "then GOLDFISH_AUDIT_VECTORS=$PWD/target/debug/examples/audit_vectors"
        )


@pytest.fixture(scope="session")
def ask():
    """Answers to a list of questions, one process for all of them."""

    def run(questions):
        lines = "".join(json.dumps(question) + "\n" for question in questions)
        program = os.environ["GOLDFISH_AUDIT_VECTORS"]
        process = subprocess.run([program], input=lines.encode(), capture_output=True, timeout=300)
        assert process.returncode == 0, process.stderr.decode()[-2000:]
        answers = [json.loads(line) for line in process.stdout.decode().splitlines()]
        assert len(answers) == len(questions)
        return answers

    return run
