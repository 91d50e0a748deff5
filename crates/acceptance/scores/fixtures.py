"""The example program `audit_vectors`, which computes scores and statistics."""

import functools

import pytest

from product import answers


@pytest.fixture(scope="session")
def ask():
    return functools.partial(answers, "GOLDFISH_AUDIT_VECTORS")
