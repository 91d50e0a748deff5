"""The shell commands of Markdown pages, and where tests run them."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

BLOCK = re.compile(
    r"(?P<before>[^\n]*)\n(?P<indent>[ ]*)```(?:sh|bash|shell|console)\n(?P<body>.*?)\n(?P=indent)```", re.DOTALL
)

# Python, but for a new virtual environment, which gets the packages of this one.
PYTHON = """#!/bin/sh
"{python}" "$@" || exit
if [ "$1 $2" = "-m venv" ]; then
    for packages in "$3"/lib/python*/site-packages; do echo "{packages}" > "$packages/tested.pth"; done
fi
"""


def blocks(page, marker=None):
    """Pairs (whether the line before differs from the marker, text of the block), in order."""
    text = "\n" + page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        lines = match["body"].split("\n")
        body = "\n".join(line.removeprefix(match["indent"]).removeprefix("$ ") for line in lines)
        yield marker is None or match["before"].strip() != marker, body


def checkout(repository, target):
    """A copy of the files that git would commit, so that commands change only build products of the repository."""
    listing = ["git", "-C", repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (repository / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, target / name)
    (target / "target").mkdir()
    return target


def environment(repository, folder):
    """`goldfish` is the program under test and `python` this interpreter; nothing is installed for the user.

    pip installs what it is asked for only if it is there already. Builds share the target folder of the repository, so that dependencies
    are built once.
    """
    tools, installed = folder / "tools", folder / "installed"
    tools.mkdir()
    (tools / "goldfish").symlink_to(Path(os.environ["GOLDFISH_BIN"]).resolve())
    for name in ("python", "python3"):
        wrapper = tools / name
        wrapper.write_text(PYTHON.format(python=sys.executable, packages=sysconfig.get_path("purelib")))
        wrapper.chmod(0o755)
    path = os.pathsep.join([str(tools), str(installed / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    builds = os.environ.get("CARGO_TARGET_DIR", str(repository / "target"))
    pip = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return os.environ | pip | {"PATH": path, "CARGO_INSTALL_ROOT": str(installed), "CARGO_TARGET_DIR": builds}
