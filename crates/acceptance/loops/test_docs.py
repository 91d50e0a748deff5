"""The Python of docs/python.md and docs/loops.md runs, from top to bottom."""

import os
import re
import subprocess
import sys

import pytest
from loops.tiny import DOCS

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["python", "loops"])
def test_page(page, workplace):
    blocks = BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 4
    # As in tiny.py: the CUDA stubs can't answer this.
    blocks.insert(0, "import torch\ntorch.cuda.is_current_stream_capturing = lambda: False\n")
    guarded = "".join(f"    {line}\n" for line in "\n".join(blocks).splitlines())
    (workplace / "page.py").write_text(f"if __name__ == '__main__':\n{guarded}")
    # A separate cluster, even if another one runs on this machine.
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    environment |= {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    done = subprocess.run([sys.executable, "page.py"], cwd=workplace, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
