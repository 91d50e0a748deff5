"""The package as pip builds and installs it from source, without any other package, not even pytest."""

import importlib.metadata
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import goldfish

draw = random.Random(3)
documents = [[draw.randrange(50_000) for _ in range(length)] for length in (0, 1, 13, 14, 400, 3000)]
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / "in.jsonl").write_text("".join(json.dumps({"input_ids": ids}) + "\n" for ids in documents))
    command = [os.environ["GOLDFISH_BIN"], "mask", folder / "in.jsonl", "--ids-column", "input_ids", "--rule", "hash"]
    subprocess.run([*command, "--output", folder / "out"], check=True, capture_output=True)
    totals = json.loads((folder / "out/manifest.json").read_text())["totals"]

masks = goldfish.Masker(rule="hash").mask(documents)
assert [len(mask) for mask in masks] == [len(ids) for ids in documents]
assert sum(mask.count(0) for mask in masks) == totals["dropped"] > 0, totals
others = {found.metadata["Name"] for found in importlib.metadata.distributions()} - {"goldfish", "pip", "setuptools"}
assert not others and not {"numpy", "pyarrow", "torch"} & set(sys.modules), others
print(f"goldfish {goldfish.__version__} from source: {totals['dropped']} of {totals['tokens']} tokens dropped")
