"""Shared by the tests of hostile input."""

from conftest import REPOSITORY

FIXTURES = REPOSITORY / "fixtures"
GPT2 = FIXTURES / "tokenizers/gpt2.json"
IDS = FIXTURES / "formats/ids.jsonl"

# As in docs/limits.md: for small files, and for a batch of columns.
PEAK_MIB = 256
PEAK_BATCH_MIB = 1024


def refused(goldfish, words, *arguments, peak=PEAK_MIB, cwd=None):
    """The run fails with a message that contains these words, within this memory."""
    process = goldfish.measured(*arguments, expect=2, cwd=cwd)
    for word in words:
        assert word.lower() in process.stderr.lower(), f"{word!r} is not in: {process.stderr}"
    assert process.peak < peak, f"{process.peak} MiB"
    return process


def sparse(path, size):
    with open(path, "wb") as file:
        file.truncate(size)
    return path
