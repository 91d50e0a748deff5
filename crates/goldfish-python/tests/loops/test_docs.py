"""The Python of docs/python.md and docs/loops.md runs, from top to bottom."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import tiny

DOCS = Path(__file__).resolve().parents[4] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def workplace(shards, fixtures_root, tmp_path):
    """What the pages speak of: shards, a checkpoint, a corpus, a tokenizer."""
    shutil.copytree(shards, tmp_path / "masked")
    tiny.model().float().save_pretrained(tmp_path / "checkpoint")
    tiny.tokenizer().save_pretrained(tmp_path / "checkpoint")
    (tmp_path / "corpus").mkdir()
    table = pyarrow.table({"input_ids": pyarrow.array(tiny.documents(), pyarrow.list_(pyarrow.int32()))})
    pyarrow.parquet.write_table(table, tmp_path / "corpus/part.parquet")
    shutil.copy(fixtures_root / "tokenizers/gpt2.json", tmp_path / "tokenizer.json")
    return tmp_path


@pytest.mark.parametrize("page", ["python", "loops"])
def test_page(page, workplace):
    blocks = BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 4
    # As in tiny.py: what the stand-ins for CUDA can't answer.
    blocks.insert(0, "import torch\ntorch.cuda.is_current_stream_capturing = lambda: False\n")
    guarded = "".join(f"    {line}\n" for line in "\n".join(blocks).splitlines())
    (workplace / "page.py").write_text(f"if __name__ == '__main__':\n{guarded}")
    # A cluster of its own, even if another runs on this machine.
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    environment |= {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    done = subprocess.run([sys.executable, "page.py"], cwd=workplace, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
