"""Fixtures of the package's tests: documents, and their masks by the program."""

import json
import random

import pytest


@pytest.fixture(scope="session")
def texts(fixtures):
    """Prose, and text that breaks tokenizers and normalization."""
    lines = (fixtures / "corpus/prose.jsonl").read_text(encoding="utf-8").splitlines()
    prose = [json.loads(line)["text"] for line in lines]
    return [*prose[:20], "", " ", "a", "ﬁne Ａ e\u0301\u0301 \u200d", "naïve <|endoftext|> café", "x" * 3000, "数学は楽しい。"]


@pytest.fixture(scope="session")
def rows():
    """Edge cases of windows: empty, short and constant documents, ids 0 and 1, the largest ids."""
    draw = random.Random(7)
    made = [[draw.randrange(50_000) for _ in range(n)] for n in (0, 1, 2, 12, 13, 14, 25, 26, 300, 5000)]
    largest = 2**31 - 1
    return [*made, [0] * 70, [1] * 70, [largest] * 40, [7, 0, 9] * 40, [], made[-1][:900] * 3, []]


@pytest.fixture(scope="session")
def program(tmp_path_factory, goldfish):
    """Runs `goldfish mask` on JSON rows and returns the output folder."""

    def run(documents, column, *options):
        folder = tmp_path_factory.mktemp("run")
        lines = [json.dumps({"id": f"doc-{i}", column: document}) for i, document in enumerate(documents)]
        (folder / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        kind = "--text-column" if column == "text" else "--ids-column"
        columns = [kind, column, "--id-column", "id"]
        goldfish.run("mask", folder / "in.jsonl", *columns, *options, "--output", folder / "out")
        return folder / "out"

    return run
