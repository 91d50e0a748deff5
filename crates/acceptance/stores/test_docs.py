"""The commands of docs/stores.md, run on the test servers."""

import json
import re
import shutil
import subprocess

import pytest

from conftest import REPOSITORY
from stores.fixtures import StoreGoldfish


def commands():
    text = (REPOSITORY / "docs/stores.md").read_text(encoding="utf-8")
    section = text.split("## Commands")[1].split("\n## ")[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    assert len(lines) >= 5 and all(line.startswith("goldfish ") for line in lines)
    return lines


@pytest.fixture(scope="module")
def stores(amazon, azure, google, web, fixtures):
    formats = fixtures / "formats"
    for store in (amazon, azure, google):
        for name in ["docs.jsonl", "docs.jsonl.zst"]:
            store.put(f"docs/{name}", (formats / name).read_bytes())
    amazon.put("tokens/a.parquet", (formats / "ids-list-i32.parquet").read_bytes())
    amazon.put("tokens/deep/er/b.parquet", (formats / "ids-list-i32.parquet").read_bytes())
    web.put("tokens/ids.parquet", (formats / "ids-list-i32.parquet").read_bytes())
    for ending in ["bin", "idx"]:
        amazon.put(f"megatron/ids-u16.{ending}", (formats / f"megatron/ids-u16.{ending}").read_bytes())
    return amazon.variables() | azure.variables() | google.variables()


@pytest.mark.parametrize("command", commands())
def test_command(goldfish: StoreGoldfish, stores, web, fixtures, tmp_path, command):
    shutil.copy(fixtures / "tokenizers/gpt2.json", tmp_path / "tokenizer.json")
    command = command.replace("https://host", web.root).replace("goldfish", str(goldfish.binary), 1)
    process = subprocess.run(["sh", "-ec", command], cwd=tmp_path, env=stores, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    manifests = [*tmp_path.glob("*/manifest.json"), *tmp_path.glob("*/goldfish.json")]
    assert len(manifests) == 1
    assert json.loads(manifests[0].read_text())["totals"]["documents_out"] > 0
