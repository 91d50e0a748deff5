"""Fixtures of the browser tests: runs of a fake model, the program, and a headless Chromium."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from product import Goldfish, executable

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


# The words that are broken inside, but for those of texts and in what is too long for a line, such as a path.
BROKEN = """
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const broken = [];
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  if (node.parentElement.closest("script, style, svg, .passage, .quote")) continue;
  for (const { 0: chunk, index } of node.data.matchAll(/\\S+/gu)) {
    if (chunk.length > 24) continue;
    for (const word of chunk.matchAll(/^--?\\S+|[\\p{L}\\p{N}]+/gu)) {
      const range = document.createRange();
      range.setStart(node, index + word.index);
      range.setEnd(node, index + word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
      if (lines.size > 1) broken.push(word[0]);
    }
  }
}
return broken;
"""


@pytest.fixture(scope="session")
def goldfish():
    """Runs the program and checks its exit code."""
    program = Goldfish()
    return lambda *arguments, code=0: program.run(*arguments, expect=code)


@pytest.fixture(scope="session")
def fake_run():
    """Creates the folder of an audit run."""
    program = executable("GOLDFISH_FAKE_RUN")

    def make(folder, *arguments):
        subprocess.run([program, folder, *map(str, arguments)], check=True)
        return folder

    return make


@pytest.fixture(scope="session")
def experiments(tmp_path_factory):
    """The pages of made-up experiments, by name. The example that writes them is built beside that of fake runs."""
    folder = tmp_path_factory.mktemp("experiments")
    subprocess.run([Path(executable("GOLDFISH_FAKE_RUN")).with_name("experiments"), folder], check=True)
    return {page.stem: page for page in sorted(folder.glob("*.html"))}


def write_documents(path, name, number, tokens, vocabulary=96):
    """Documents of random ids, seeded by the name."""
    numbers = random.Random(name)
    with open(path, "w") as file:
        for i in range(number):
            row = {
                "id": f"{name}/part-{i // 100:03}.jsonl:{i}",
                "source": ["web", "code", "books"][i % 3],
                "input_ids": [numbers.randrange(vocabulary) for _ in range(tokens)],
            }
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def shards(folder, goldfish):
    """A masked corpus."""
    source = write_documents(folder / "corpus.jsonl", "corpus", 120, 120)
    masked = folder / "masked"
    columns = ["--ids-column", "input_ids", "--id-column", "id", "--carry", "source"]
    goldfish("mask", source, *columns, "--rule", "hash", "--context", "3", "--output", masked)
    return masked


@pytest.fixture(scope="session")
def held_out(folder):
    return write_documents(folder / "held-out.jsonl", "held-out", 120, 120)


@pytest.fixture(scope="session")
def masked_run(folder, fake_run, shards, held_out):
    """A run with masks, a control and three sources; a third of the documents is recited up to a dropped token."""
    return fake_run(folder / "masked-run", shards, "--control", held_out)


@pytest.fixture(scope="session")
def standard_run(folder, fake_run, shards, held_out):
    """The same documents without masks, recited to the end."""
    source = shards.parent / "corpus.jsonl"
    return fake_run(folder / "standard-run", source, "--control", held_out)


class Browser:
    """A Chromium that records console messages and requests."""

    def __init__(self, profile):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for flag in [*FLAGS, f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.get("about:blank")

    def size(self, width, height=900):
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def scheme(self, name):
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, page):
        """Opens a file. It must make no requests and print nothing on the console."""
        self.forget()
        self.driver.get(page.as_uri())
        self.quiet(page)

    def forget(self):
        """Empties the logs."""
        for log in ["browser", "performance"]:
            self.driver.get_log(log)

    def quiet(self, page):
        requested = self.requested()
        assert requested <= {page.as_uri()}, requested

    def requested(self):
        """What was requested since the logs were emptied or read, without anchors; nothing was printed on the console."""
        said = self.driver.get_log("browser")
        assert said == [], said
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        # The browser's start page may still be loading.
        sent = [one for one in sent if not one["documentURL"].startswith("chrome://")]
        return {one["request"]["url"].split("#")[0] for one in sent}

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()
