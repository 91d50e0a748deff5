"""The page of a trace in a real browser: places beside the text by pointer, keyboard and touch, and without a script."""

import json
import random

import pytest
from pages.fixtures import BROKEN
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

HOSTILE = ['"><img src=x onerror=window.hacked=1>', "</script><script>window.hacked=2</script>", "\u202edesrever\u2066"]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def traced(folder, goldfish):
    """Texts with words of documents: whole, twice, with an edit, at several places, none; with hostile names and words."""
    numbers = random.Random(7)

    def prose(words):
        return [f"w{numbers.randrange(10**6)}" for _ in range(words)]

    documents = [prose(200) for _ in range(6)]
    shared = prose(16)
    corpus = [{"id": f"doc {i}", "source": "web", "text": " ".join(words)} for i, words in enumerate(documents)]
    corpus += [
        {"id": f"{HOSTILE[i % 3]} {i}", "source": HOSTILE[i % 3], "text": " ".join([*prose(5), HOSTILE[0], *shared, *prose(5)])}
        for i in range(12)
    ]
    edited = documents[3][:30] + ["changed"] + documents[3][31:60]
    texts = [
        {"id": "whole", "text": " ".join(documents[0][:120])},
        {"id": "two", "text": " ".join([*prose(20), *documents[1][:25], *prose(20), "\n\n", *documents[2][:60]])},
        {"id": "edited", "text": " ".join([*prose(30), *edited, *prose(30)])},
        {"id": HOSTILE[0], "text": " ".join([HOSTILE[1], *shared, HOSTILE[2], *prose(40)])},
        {"id": "nothing", "text": " ".join(prose(50))},
    ]
    control = [{"id": f"human {i}", "text": " ".join(prose(40))} for i in range(5)]
    files = {name: write(folder / f"trace-{name}.jsonl", rows) for name, rows in [("corpus", corpus), ("texts", texts), ("control", control)]}
    output, page = folder / "traced", folder / "traced.html"
    columns = ["--id-column", "id", "--source-column", "source"]
    goldfish(
        "trace", files["texts"], "--control", files["control"], "--corpus", files["corpus"], *columns, "--output", output, "--html", page
    )
    return output, page


@pytest.fixture
def opened(browser, traced):
    browser.scheme("light")
    browser.size(1280)
    browser.open(traced[1])
    return browser


def marks(browser, text):
    """The marked spans of a text."""
    return browser.run(
        """const article = [...document.querySelectorAll(".traced")].find((a) => a.querySelector("h3 bdi").textContent === arguments[0]);
        return [...article.querySelectorAll("a.m")];""",
        text,
    )


def panel(browser):
    return browser.run("return [...document.querySelectorAll('.panel')].map((panel) => panel.innerText)")


def test_the_page_has_no_errors_and_fits(browser, traced):
    for width in [1280, 390]:
        for scheme in ["light", "dark"]:
            browser.size(width)
            browser.scheme(scheme)
            browser.open(traced[1])
            browser.run("arguments[0].click()", marks(browser, "edited")[0])
            wide = browser.run("return document.documentElement.scrollWidth")
            assert wide <= width, f"at {width}: {wide}"
            browser.quiet(traced[1])
    assert browser.run(BROKEN) == [], "at 390"
    verdict = browser.run("return document.querySelector('.verdict').textContent")
    assert verdict == "4 of 5 texts have a span of at least 12 words that appears in the corpus. Of the control, 0 of 5 do."


def test_a_pointer_shows_places_beside_the_text(opened):
    first, second = marks(opened, "two")
    ActionChains(opened.driver).move_to_element(first).perform()
    (said,) = panel(opened)
    assert "25 words word for word, at 1 place" in said and "doc 1" in said
    beside = "const [a, b] = [arguments[0].closest('.passage'), document.querySelector('.panel')].map((e) => e.getBoundingClientRect());"
    assert opened.run(beside + "return a.right <= b.left && b.top < a.bottom;", first)
    ActionChains(opened.driver).move_to_element(second).perform()
    assert "60 words word for word" in panel(opened)[0]
    second.click()
    ActionChains(opened.driver).move_to_element(first).perform()
    assert "60 words word for word" in panel(opened)[0], "a click keeps it"
    opened.driver.find_element("css selector", ".panel .shut").click()
    assert panel(opened) == []


def test_keys_show_places(opened):
    first, second = marks(opened, "two")
    opened.run("arguments[0].focus()", first)
    assert "doc 1" in panel(opened)[0]
    assert first.get_attribute("aria-current") == "true"
    first.send_keys(Keys.TAB)
    assert opened.driver.switch_to.active_element == second
    assert "doc 2" in panel(opened)[0]
    described = second.get_attribute("aria-describedby")
    said = opened.run("return document.getElementById(arguments[0]).textContent", described)
    assert said == "60 words word for word, at 1 place"
    second.send_keys(Keys.ESCAPE)
    assert panel(opened) == []


def test_edits_and_places_are_told(opened):
    found = marks(opened, "edited")
    assert any("edited" in mark.get_attribute("class") for mark in found)
    for mark in found:
        opened.run("arguments[0].focus()", mark)
        if "edited" in mark.get_attribute("class"):
            words = opened.run("return ['u', 's'].map((name) => document.querySelector('.panel ' + name).textContent.trim())")
            assert words[1] == "changed" and words[0].startswith("w")
            assert "59 words in common, with edits" in panel(opened)[0]
    (mark,) = marks(opened, HOSTILE[0])
    assert mark.find_element("tag name", "sup").text == "×12"
    opened.run("arguments[0].focus()", mark)
    (said,) = panel(opened)
    assert "at 12 places" in said and "and 8 more places" in said and HOSTILE[0] in said
    assert opened.run("return [typeof window.hacked, document.images.length]") == ["undefined", 0]
    assert not set("\u202e\u2066") & set(opened.run("return document.body.textContent"))


def test_a_tap_shows_places_at_the_foot_of_a_small_screen(opened, traced):
    opened.size(390)
    opened.open(traced[1])
    mark = marks(opened, "whole")[0]
    mark.click()
    box = opened.run("const box = document.querySelector('.panel').getBoundingClientRect(); return [box.left, box.right, box.bottom]")
    assert box == [0, 390, 900]
    opened.run("document.querySelector('#again').scrollIntoView()")
    opened.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(arguments[0], 50)))")
    assert panel(opened) == [], "it goes with the text"


def test_without_a_script_the_list_has_the_places(browser, traced):
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(traced[1])
        mark = next(m for m in browser.driver.find_elements("css selector", "a.m") if "w" in m.text)
        target = mark.get_attribute("href").split("#")[1]
        mark.click()
        place = browser.driver.find_element("id", target)
        assert place.is_displayed() and "word for word" in place.text, "the link opens the list"
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_report_of_a_trace_is_its_page(goldfish, traced, tmp_path):
    page = tmp_path / "page.html"
    done = goldfish("report", traced[0], "--output", page)
    assert "4 have one" in done.stdout
    # All but the command.
    body = lambda path: path.read_text().split('<section id="again"')[0]
    assert body(page) == body(traced[1])
    for option in [["--redact"], ["--fail-if", "exact_match.upper > 0"], ["--tokenizer", "t.json"]]:
        done = goldfish("report", traced[0], "--output", page, *option, code=2)
        assert f"holds a trace; {option[0]} is for audits" in done.stderr
