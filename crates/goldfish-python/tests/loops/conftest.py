"""Fixtures of the loops: the binary under test, and shards that it wrote."""

import os
import tempfile

import pytest

# Before anything of Hugging Face is imported: keep caches out of the home folder and off the network.
os.environ.setdefault("HF_HOME", tempfile.mkdtemp(prefix="goldfish-hf-"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from tiny import goldfish, write_documents  # noqa: E402


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    return write_documents(tmp_path_factory.mktemp("source") / "documents.jsonl")


@pytest.fixture(scope="session")
def shards(source, tmp_path_factory):
    """A folder of shards with labels, under the rule hash."""
    folder = tmp_path_factory.mktemp("shards") / "masked"
    columns = ["--columns", "labels,attention_mask,assistant_masks"]
    goldfish("mask", source, "--ids-column", "input_ids", "--id-column", "id", "--context", "4", *columns, "--output", folder)
    return folder
