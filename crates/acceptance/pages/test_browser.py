"""The pages in a real browser: no requests or errors, usable with a keyboard, and safe with a hostile corpus."""

import json
import os
import time
from pathlib import Path

import pytest
from pages.fixtures import BROKEN, write_documents
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait


def column(browser, box, name):
    """The displayed texts of a table column."""
    return browser.run(
        """const box = document.getElementById(arguments[0]);
        const at = [...box.querySelectorAll("thead th")].findIndex((th) => th.textContent === arguments[1]);
        return [...box.querySelectorAll("tbody tr")].map((tr) => tr.cells[at].textContent);""",
        box,
        name,
    )


def numbers(texts):
    return [float(text.replace(",", "")) for text in texts if text != "–"]


def head(browser, box, name):
    return browser.driver.find_element(By.XPATH, f'//*[@id="{box}"]//th/button[text()="{name}"]')


def status(browser, box):
    return browser.driver.find_element(By.CSS_SELECTOR, f"#{box} [role=status]").text


def wait(browser, condition):
    WebDriverWait(browser.driver, 10).until(lambda _: condition())


@pytest.fixture(scope="session")
def report(goldfish, masked_run, folder):
    page = folder / "report.html"
    goldfish("report", masked_run, "--output", page, "--fail-if", "exact_match.rate > 0.9")
    return page


@pytest.fixture(scope="session")
def comparison(goldfish, masked_run, standard_run, folder):
    page = folder / "compare.html"
    goldfish("compare", standard_run, masked_run, "--html", page)
    return page


@pytest.fixture(scope="session")
def inspection(goldfish, shards, folder):
    page = folder / "inspect.html"
    goldfish("inspect", shards, "--by", "source", "--html", page)
    return page


@pytest.fixture(scope="session")
def all_pages(report, comparison, inspection, experiments):
    return [report, comparison, inspection, *experiments.values()]


def test_pages_have_no_errors_and_fit(browser, all_pages, tmp_path):
    for page in all_pages:
        for width in [1280, 390]:
            for scheme in ["light", "dark"]:
                browser.size(width)
                browser.scheme(scheme)
                browser.open(page)
                wide = browser.run("return document.documentElement.scrollWidth")
                assert wide <= width, f"{page.name} at {width}: {wide}"
                browser.driver.save_screenshot(str(tmp_path / f"{page.stem}-{width}-{scheme}.png"))
                if images := os.environ.get("GOLDFISH_IMAGES"):
                    name = f"{page.stem}-{width}{'-dark' if scheme == 'dark' else ''}.png"
                    browser.driver.save_screenshot(str(Path(images) / name))
    browser.scheme("light")
    browser.size(1280)


def test_no_word_is_broken_on_a_small_screen(browser, all_pages):
    browser.size(390)
    for page in all_pages:
        browser.open(page)
        assert browser.run(BROKEN) == [], page.name
    # A narrower column does break words: the check sees it.
    browser.run("document.querySelector('table').parentElement.style.cssText = 'width: 2rem; overflow-wrap: anywhere'")
    browser.run("document.querySelectorAll('table *').forEach((e) => { e.style.minWidth = 0; e.style.overflowWrap = 'anywhere' })")
    assert browser.run(BROKEN) != []
    browser.size(1280)


HINT = "const said = getComputedStyle(arguments[0], '::before').content; return said === 'none' ? '' : said;"


def test_a_table_says_that_it_scrolls(browser, all_pages):
    """It says so where it is wider than its box, and nowhere else."""
    seen = set()
    for width in [1280, 390]:
        browser.size(width)
        for page in all_pages:
            browser.open(page)
            for box in browser.driver.find_elements(By.CLASS_NAME, "scroll"):
                wider = browser.run("return arguments[0].scrollWidth > arguments[0].clientWidth + 1", box)
                wait(browser, lambda: ("scrolls sideways" in browser.run(HINT, box)) == wider)
                seen.add((width, wider))
    assert {(390, True), (390, False), (1280, False)} <= seen
    browser.size(1280)


def test_a_button_copies_a_whole_hash(browser, report, inspection, masked_run):
    """From a file, by pointer and by key; what arrives is what is pasted elsewhere."""
    summary = json.loads((masked_run / "summary.json").read_text())
    for page, whole in [(report, summary["key"]), (inspection, None)]:
        browser.open(page)
        for hash_ in browser.driver.find_elements(By.CSS_SELECTOR, ".hash.short")[:3]:
            code, button = hash_.find_element(By.TAG_NAME, "code"), hash_.find_element(By.TAG_NAME, "button")
            held = browser.run("return arguments[0].textContent", code)
            assert len(held) >= 32 and code.get_attribute("title") == held
            assert len(code.text) < 25 and held.startswith(code.text.rstrip("…")), "shown short"
            assert button.accessible_name == f"Copy {held}"
            for press in [button.click, lambda: button.send_keys(Keys.ENTER)]:
                paste(browser, "")
                press()
                wait(browser, lambda: paste(browser, None) == held)
                assert hash_.find_element(By.CLASS_NAME, "said").text == "✓ copied"
        # Where the browser refuses, the selection is copied.
        browser.run("navigator.clipboard.writeText = () => Promise.reject()")
        paste(browser, "")
        button.click()
        wait(browser, lambda: paste(browser, None) == held)
        assert len(code.text) < 25, "short again"
        shown = browser.run("return [...document.querySelectorAll('.hash code')].map((code) => code.textContent)")
        assert whole is None or whole in shown
        browser.quiet(page)


def paste(browser, text):
    """What the clipboard holds; a text is put there first."""
    box = browser.run("const box = document.createElement('textarea'); document.body.append(box); return box;")
    if text is not None:
        box.send_keys(text or "nothing", Keys.CONTROL, "a", "c", Keys.NULL, Keys.DELETE)
    box.send_keys(Keys.CONTROL, "v", Keys.NULL)
    found = box.get_attribute("value")
    browser.run("arguments[0].remove()", box)
    return found


def test_without_a_script_hashes_are_whole(browser, report):
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(report)
        code = browser.driver.find_element(By.CSS_SELECTOR, ".hash:has(.rest:not(:empty)) code")
        assert code.text == code.get_attribute("title") and len(code.text) >= 32
        assert browser.driver.find_elements(By.CSS_SELECTOR, ".hash button") == []
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_dash_is_explained_once(browser, all_pages):
    shown = []
    for page in all_pages:
        browser.open(page)
        dashes, notes = browser.run(
            """const dashes = [...document.querySelectorAll("td, dd")].filter((e) => e.innerText.split("\\n").includes("–"));
            return [dashes.length, [...document.querySelectorAll(".dash")].map((note) => note.innerText)];"""
        )
        assert len(notes) == (dashes > 0), page.name
        assert all(note.startswith("A dash (–) stands for") for note in notes)
        shown.append(dashes)
    assert 0 in shown and any(shown)


def test_a_table_sorts_by_mouse_and_keyboard(browser, report):
    browser.open(report)
    box = "all-probes"
    assert column(browser, box, "exact match")[0] == "yes", "the worst ones come first"
    head(browser, box, "loss").click()
    down = numbers(column(browser, box, "loss"))
    assert down == sorted(down, reverse=True) and down[0] > down[-1]
    button = head(browser, box, "loss")
    button.send_keys(Keys.ENTER)
    up = numbers(column(browser, box, "loss"))
    assert up == sorted(up) and up[0] < down[-1]
    assert head(browser, box, "loss").find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    head(browser, box, "document").send_keys(Keys.SPACE)
    texts = column(browser, box, "document")
    assert texts == sorted(texts)
    assert browser.run("return document.querySelectorAll('#all-probes th[aria-sort]').length") == 1
    browser.quiet(report)


def test_a_table_filters_and_has_pages(browser, report):
    browser.open(report)
    box = "all-probes"
    all_rows = status(browser, box)
    find = browser.driver.find_element(By.CSS_SELECTOR, f"#{box} input[type=search]")
    find.send_keys("CORPUS/part-001.jsonl:11")
    wait(browser, lambda: status(browser, box) != all_rows)
    assert {text.split(":")[0] for text in column(browser, box, "document")} == {"corpus/part-001.jsonl"}
    find.send_keys(Keys.CONTROL, "a", Keys.NULL, "no such document")
    wait(browser, lambda: status(browser, box) == "No row fits.")
    find.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.BACKSPACE)
    wait(browser, lambda: status(browser, box) == all_rows)
    label = browser.driver.find_element(By.XPATH, f'//*[@id="{box}"]//label[text()="set"]')
    Select(browser.driver.find_element(By.ID, label.get_attribute("for"))).select_by_visible_text("control")
    assert set(column(browser, box, "set")) == {"control"}
    which = browser.driver.find_element(By.ID, f"{box}-which")
    Select(which).select_by_visible_text("match length")
    before = status(browser, box)
    browser.driver.find_element(By.ID, f"{box}-least").send_keys("1")
    browser.driver.find_element(By.ID, f"{box}-most").send_keys("3")
    wait(browser, lambda: status(browser, box) != before)
    assert set(numbers(column(browser, box, "match length"))) <= {1, 2, 3}
    browser.open(report)
    first = column(browser, box, "probe")
    pager = browser.driver.find_element(By.CSS_SELECTOR, f"#{box} .pager")
    pager.find_element(By.XPATH, "button[text()='Next']").click()
    assert status(browser, box).startswith("Rows 51 to 100 of")
    assert not set(first) & set(column(browser, box, "probe"))
    pager.find_element(By.XPATH, "button[text()='Last']").click()
    assert not pager.find_element(By.XPATH, "button[text()='Next']").is_enabled()
    browser.quiet(report)


HOSTILE = [
    "<script>window.hacked=1</script>",
    "</script><script>window.hacked=2</script>",
    '"><img src=x onerror=window.hacked=3>',
    "<!--<script>",
    "{{7*7}}{%raw%}",
    "\u202edesrever\u2066",
    "\x00\x1b[31m\x07",
    "javascript:window.hacked=4",
    "https://example.com/beacon.png",
    "&lt;b&gt;&#x3c;script&#x3e;window.hacked=5&#x3c;/script&#x3e;",
    "x" * 1_000_000,
]


@pytest.fixture(scope="session")
def hostile_run(folder, fake_run):
    """Names and tokens with HTML and scripts."""
    vocabulary = {word: at for at, word in enumerate([*HOSTILE, *(f"w{i}" for i in range(40))])}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"}
    tokenizer = folder / "hostile.json"
    tokenizer.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    with open(folder / "hostile.jsonl", "w") as file:
        for i in range(33):
            word = HOSTILE[i % len(HOSTILE)]
            ids = [(i * 7 + at * (1 + i % 5)) % len(vocabulary) for at in range(60)]
            row = {"id": f"{word}{i}", "source": word, "input_ids": ids}
            file.write(json.dumps(row) + "\n")
    # Also in the command on the page.
    run = folder / "run'<script>window.hacked=6<"
    fake_run(run, folder / "hostile.jsonl", "--recites", 50, "--tokenizer", tokenizer)
    return run, tokenizer


def test_text_of_a_corpus_is_escaped(browser, goldfish, hostile_run, folder):
    run, tokenizer = hostile_run
    for name, options in [("hostile-text.html", ["--tokenizer", tokenizer]), ("hostile-run.html", [])]:
        page = folder / name
        goldfish("report", run, "--output", page, *options)
        assert page.stat().st_size < 2_000_000, "long texts are cut"
        browser.open(page)
        head(browser, "all-probes", "document").click()
        Select(browser.driver.find_element(By.ID, "all-probes-which")).select_by_index(1)
        browser.quiet(page)
        assert browser.run("return typeof window.hacked") == "undefined"
        found = browser.run(
            """const names = (selector) => [...document.querySelectorAll(selector)];
            return [names("img, iframe, object, embed, link, base, form").length, names("script").map((s) => s.type),
                names("*").some((e) => [...e.attributes].some((a) => a.name.startsWith("on")))];"""
        )
        assert found == [0, ["application/json", ""], False]
        text = browser.run("return document.body.textContent")
        for word in HOSTILE[:4]:
            assert word in text, "shown as text"
        assert not set("\u202e\u2066\x00\x1b\x07") & set(text), "named, not written"
        codes = browser.run("return [...document.querySelectorAll('.code')].map((e) => e.title)")
        assert {"U+202E", "U+001B", "U+0000"} <= set(codes)
        if options:
            assert "more characters" in text


def test_a_content_security_policy_blocks_scripts(browser, report, folder):
    """An injected script would not run and could load nothing."""
    page = folder / "injected.html"
    injected = "<script>window.hacked=1</script><img src='https://example.com/x.png' onerror='window.hacked=2'>"
    page.write_text(report.read_text().replace("</main>", injected + "</main>"))
    browser.driver.get(page.as_uri())
    assert browser.run("return typeof window.hacked") == "undefined"
    said = [entry["message"] for entry in browser.driver.get_log("browser")]
    assert len([text for text in said if "Content Security Policy" in text]) >= 2, said
    assert status(browser, "all-probes"), "the page's own script runs"


def test_redacted_pages_contain_no_text(goldfish, hostile_run, masked_run, folder, fake_run):
    run, _ = hostile_run
    page = folder / "redacted.html"
    goldfish("report", run, "--output", page, "--redact")
    html = page.read_text()
    assert "Redacted: lengths, hashes and positions only." in html
    assert 'class="passage"' not in html and "w31" not in html
    redacted = fake_run(folder / "redacted-run", folder / "corpus.jsonl", "--redact")
    goldfish("report", redacted, "--output", page)
    html = page.read_text()
    assert 'class="passage"' not in html and "Redacted" in html
    goldfish("report", masked_run, "--output", page)
    assert 'class="passage"' in page.read_text()


def test_gates_have_exit_codes(goldfish, masked_run, standard_run, folder, fake_run, tmp_path):
    page = ["--output", tmp_path / "page.html"]
    done = goldfish("report", masked_run, *page, "--fail-if", "probes.probes < 1", "--fail-if", "probes.probes > 1", code=1)
    assert "gate failed: probes.probes > 1 holds: probes.probes is" in done.stderr
    assert "1 gate of 2 failed" in page[1].read_text()
    done = goldfish("report", masked_run, *page, "--fail-if", "excess.rouge.lower > 0", code=2)
    assert "there is no `rouge` in excess, but" in done.stderr and "rouge_l" in done.stderr
    alone = fake_run(folder / "no-control", folder / "corpus.jsonl", "--starts", 20)
    done = goldfish("report", alone, *page, "--fail-if", "excess.rouge_l.lower > 0", code=2)
    assert "excess has no value here" in done.stderr
    gate = ["--fail-if", "differences.exact_match.lower > 0"]
    done = goldfish("compare", masked_run, standard_run, *gate, code=1)
    assert "differences.exact_match.lower is" in done.stderr
    goldfish("compare", standard_run, masked_run, *gate)


def test_a_comparison_counts_changes(browser, goldfish, comparison, masked_run, standard_run, shards):
    found = json.loads(goldfish("compare", standard_run, masked_run, "--json").stdout)["comparisons"]
    one = found["comparisons"][0]
    test = one["comparison"]["exact_match_test"]
    assert (one["baseline"], one["run"]) == (str(standard_run), str(masked_run))
    assert one["run_positives"] - one["baseline_positives"] == test["first_only"] - test["second_only"] < 0
    assert len(one["changed"]) == test["first_only"] + test["second_only"] > 10
    assert one["comparison"]["unpaired"] == 0 and test["clustered"] < 0.01
    browser.open(comparison)
    assert f"of {len(one['changed']):,}" in status(browser, "changed-probes")
    assert set(column(browser, "changed-probes", "exact match")) == {"no longer"}


def test_runs_of_other_probes_are_refused(goldfish, folder, masked_run, fake_run, tmp_path):
    other = write_documents(tmp_path / "other.jsonl", "other", 20, 120)
    run = fake_run(tmp_path / "other-run", other)
    assert "no probe in common" in goldfish("compare", masked_run, run, code=2).stderr
    some = fake_run(tmp_path / "some", folder / "corpus.jsonl", "--starts", 30)
    done = goldfish("compare", masked_run, some)
    assert "left out: only one of" in done.stderr and "probes in common" in done.stdout
    assert "there is no audit run" in goldfish("report", tmp_path, code=2).stderr


def test_many_probes(browser, goldfish, fake_run, tmp_path):
    """100,000 probes: constant memory, a page below 20 MB, fast first paint."""
    corpus = write_documents(tmp_path / "corpus.jsonl", "many", 5_100, 400)
    run = fake_run(tmp_path / "run", corpus)
    page = tmp_path / "page.html"
    command = [os.environ["GOLDFISH_BIN"], "report", str(run), "--output", str(page)]
    started = time.monotonic()
    _, code, used = os.wait4(os.spawnv(os.P_NOWAIT, command[0], command), 0)
    seconds = time.monotonic() - started
    assert code == 0
    size, memory = page.stat().st_size, used.ru_maxrss * 1024
    browser.driver.get(page.as_uri())
    wait(browser, lambda: status(browser, "all-probes"))
    paints = browser.run("return performance.getEntriesByType('paint').map((p) => [p.name, p.startTime])")
    ready = browser.run("return performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart")
    started = time.monotonic()
    head(browser, "all-probes", "loss").click()
    down = numbers(column(browser, "all-probes", "loss"))
    sorting = time.monotonic() - started
    print(f"\n{status(browser, 'all-probes')}: {seconds:.1f} s, {memory / 2**20:.0f} MiB, page {size / 1e6:.1f} MB,", end=" ")
    print(f"paints {paints} ms, table after {ready} ms, sorted in {sorting:.2f} s")
    assert "of 100,000" in status(browser, "all-probes") and "A sample of 100,000" in page.read_text()
    assert down == sorted(down, reverse=True)
    assert size < 20_000_000 and memory < 512 * 2**20
