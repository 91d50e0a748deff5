"""Shared by all suites: the program under test, the repository, and the fixtures of the suites that are run.

Each suite is a folder with its own `fixtures.py` and environment, so only the fixtures of the requested suites are loaded.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Set before Hugging Face libraries are imported: no caches in the home folder, no network.
os.environ.setdefault("HF_HOME", tempfile.mkdtemp(prefix="goldfish-hf-"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

pytest.register_assert_rewrite("product")

from product import executable  # noqa: E402

SUITES = Path(__file__).parent
REPOSITORY = SUITES.parents[1]

# The environment variables with the programs that a suite runs.
PROGRAMS = {
    "checkpoints": ["GOLDFISH_BIN", "GOLDFISH_SCORE_CHECKPOINT"],
    "pages": ["GOLDFISH_BIN", "GOLDFISH_FAKE_RUN", "chromium", "chromedriver"],
    "scores": ["GOLDFISH_AUDIT_VECTORS"],
    "servers": ["GOLDFISH_BIN", "GOLDFISH_ASK"],
}


def suites(config):
    """The suites of the folders and files on the command line."""
    paths = [Path(config.invocation_params.dir, argument.split("::")[0]).resolve() for argument in config.args]
    return sorted({path.relative_to(SUITES).parts[0] for path in paths if path != SUITES and path.is_relative_to(SUITES)})


def pytest_configure(config):
    chosen = suites(config)
    if not chosen:
        raise pytest.UsageError(f"name a suite: a folder or a file below {SUITES}")
    # Fixtures of plugins that are loaded later override those of the same name.
    config.pluginmanager.import_plugin("product")
    for suite in chosen:
        for program in PROGRAMS.get(suite, ["GOLDFISH_BIN"]):
            if program.isupper():
                executable(program)
            elif shutil.which(program) is None:
                raise pytest.UsageError(f"{program} is missing: apt-get install chromium chromium-driver")
        config.pluginmanager.import_plugin(f"{suite}.fixtures")


@pytest.fixture(scope="session")
def repository():
    return REPOSITORY


@pytest.fixture(scope="session")
def fixtures():
    return REPOSITORY / "fixtures"
