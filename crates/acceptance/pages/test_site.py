"""The site of the documentation opens from disk: nothing comes from elsewhere, every link leads somewhere, the search finds."""

import os
import posixpath
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait


@pytest.fixture(scope="module")
def site():
    folder = Path(os.environ.get("GOLDFISH_SITE", ""))
    if not (folder / "index.html").is_file():
        raise pytest.UsageError("GOLDFISH_SITE: set it to the folder of the site, as `cargo xtask test` does")
    return folder.resolve()


class Page(HTMLParser):
    """The links of a page, what it loads, and its anchors."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.anchors = set(), set(), {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values.get("id"), values.get("name")} - {None}
        if tag == "a" and values.get("href"):
            self.links.add(values["href"])
        if tag == "link" and values.get("rel") not in ("prev", "next", "canonical"):
            self.loaded.add(values["href"])
        if values.get("src"):
            self.loaded.add(values["src"])


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): Page(path) for path in sorted(site.rglob("*.html"))}


def inside(page, address):
    """The file and the anchor that an address on a page leads to; None for another site."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path))) if parts.path else page
    return path, unquote(parts.fragment)


def test_every_link_leads_somewhere(site, pages):
    broken = []
    for name, page in pages.items():
        for address in page.links:
            if (target := inside(name, address)) is None:
                assert address.startswith("https://"), f"{name}: {address}"
                continue
            path, anchor = target
            if not (site / path).is_file():
                broken.append(f"{name}: {address}")
            elif path in pages and anchor not in pages[path].anchors:
                broken.append(f"{name}: {address} has no such anchor")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for name, page in pages.items():
        for address in page.loaded:
            target = inside(name, address)
            assert target is not None and (site / target[0]).is_file(), f"{name}: {address}"


def test_every_page_is_reached_from_the_first(repository, pages):
    reached, new = set(), {"index.html"}
    while new:
        reached |= new
        targets = {inside(name, address) for name in new for address in pages[name].links}
        new = {target[0] for target in targets if target and target[0] in pages} - reached
    assert reached == set(pages)
    written = {path.relative_to(repository / "docs").with_suffix(".html") for path in (repository / "docs").rglob("*.md")}
    assert {path.as_posix() for path in written} - {"README.html"} <= reached


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_and_request_nothing(browser, site, tmp_path, width):
    browser.size(width)
    for name in ["index", "tutorials/engineer", "tutorials/auditor", "tutorials/researcher", "rules", "cli", "schemas/audit-tables"]:
        for scheme in ["light", "dark"]:
            browser.scheme(scheme)
            browser.forget()
            browser.driver.get((site / f"{name}.html").as_uri())
            wide = browser.run("return document.documentElement.scrollWidth")
            assert wide <= width, f"{name} at {width}: {wide}"
            requested = browser.requested()
            assert requested and all(address.startswith((f"{site.as_uri()}/", "data:")) for address in requested), requested
            images = os.environ.get("GOLDFISH_IMAGES", tmp_path)
            browser.driver.save_screenshot(str(Path(images) / f"site-{name.replace('/', '-')}-{width}-{scheme}.png"))
    browser.scheme("light")
    browser.size(1280)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_search_finds_a_page(browser, site, width):
    def results():
        return browser.run(
            """const host = [...document.querySelectorAll("*")].find((element) => element.shadowRoot?.querySelector("[role=listbox]"));
            return host ? [...host.shadowRoot.querySelectorAll("[role=option]")].map((option) => option.href) : [];"""
        )

    def settled():
        found = results()
        return found and all("h=" in address for address in found) and found

    browser.size(width)
    browser.forget()
    browser.driver.get((site / "tutorials/auditor.html").as_uri())
    browser.run("document.querySelector('.md-search__button').click()")
    WebDriverWait(browser.driver, 10).until(
        lambda driver: browser.run("return document.activeElement.shadowRoot?.activeElement?.getAttribute('role')") == "combobox"
    )
    browser.driver.switch_to.active_element.send_keys("protected works")
    found = WebDriverWait(browser.driver, 10).until(lambda _: settled())
    assert urlsplit(found[0]).path == f"{site}/policies.html"
    assert all(address.startswith((f"{site.as_uri()}/", "about:", "data:")) for address in browser.requested())
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    WebDriverWait(browser.driver, 10).until(lambda driver: urlsplit(driver.current_url).path == f"{site}/policies.html")
    browser.size(1280)
