"""The site: it builds, its links lead somewhere, and it needs no network."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote
from urllib.parse import urlsplit

import pytest

import actx_tf
from tests.browser import browser as browser  # a fixture
from tests.harness import ROOT

MODULES = [
    importlib.import_module(f"actx_tf.{name}")
    for name in (*actx_tf._SUBPACKAGES, "data.annotations", "data.synthetic")
]


class Html(HTMLParser):
    """What the tests ask of a page."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loaded, self.code = {}, [], [], []
        self.text, self.stack = [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.stack.append(tag)
        if "id" in attributes:
            self.ids[attributes["id"]] = len(self.text)
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        elif tag == "link" and attributes["rel"] in ("stylesheet", "icon"):
            self.loaded.append(attributes["href"])
        elif tag in ("img", "script") and attributes.get("src"):
            self.loaded.append(attributes["src"])

    def handle_endtag(self, tag):
        while self.stack and self.stack.pop() != tag:
            pass  # of an element that has no end

    def handle_data(self, data):
        self.text.append(data)
        in_code = {"code", "pre", "script", "style"} & {*self.stack}
        self.code.append(bool(in_code))

    def after(self, id, length=200):
        """The text that follows an element's beginning."""
        return "".join(self.text[self.ids[id] :])[:length]

    @property
    def prose(self):
        pairs = zip(self.text, self.code, strict=True)
        return "".join(text for text, in_code in pairs if not in_code)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for name in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", f"--site-dir={folder}"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr  # warnings are errors
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Html(path) for path in sorted(site.rglob("*.html"))}


def test_every_link_and_anchor_leads_somewhere(pages, site):
    assert site / "index.html" in pages
    for page, html in pages.items():
        if page.name == "404.html":
            continue  # its links begin at the root of a server
        for link in [*html.links, *html.loaded]:
            scheme, _, path, _, anchor = urlsplit(link)
            if scheme or link == "#":
                continue
            target = (page.parent / unquote(path)).resolve() if path else page
            if target.is_dir():
                target /= "index.html"
            assert target.is_file(), f"{page.name}: {link}"
            if anchor and target.suffix == ".html":
                assert unquote(anchor) in pages[target].ids, (page.name, link)


def test_nothing_is_loaded_from_elsewhere(pages, site):
    for page, html in pages.items():
        for link in html.loaded:
            assert not re.match(r"(https?:)?//", link), f"{page.name}: {link}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", text)


def public_names(module):
    """Yields the paths under which a public function or class may be listed."""
    package = hasattr(module, "__path__")
    for name, value in vars(module).items():
        made_in = getattr(value, "__module__", None) or ""
        if name.startswith("_") or inspect.ismodule(value):
            continue
        if made_in.startswith("actx_tf" if package else module.__name__):
            yield f"{module.__name__}.{name}", f"{made_in}.{name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_is_described_once(module, pages, site):
    reference = [pages[path] for path in (site / "api").glob("*.html")]
    for paths in public_names(module):
        # Its name stands above its signature.
        found = [
            html.after(path)
            for html in reference
            for path in {*paths}
            if path in html.ids
        ]
        name = paths[0].rpartition(".")[2]
        assert len(found) == 1, paths
        assert re.match(rf"\W*{name}\b", found[0]), (paths, found[0])


def test_sections_of_docstrings_are_read(pages, site):
    layers = pages[site / "api" / "layers.html"]
    text = " ".join(layers.prose.split())
    start = text.index("Splits a clip into action and context")
    titles = (
        "Parameters",
        "Call arguments",
        "Input shape",
        "Output shape",
        "Masking",
        "Raises",
        "Example",
        "Reference",
    )
    places = [text.index(f" {title}: ", start) for title in titles]
    assert places == sorted(places)
    for path in (site / "api").glob("*.html"):
        # Of an example, or of a section, that was taken for prose.
        assert ">>>" not in pages[path].prose, path
        source = path.read_text(encoding="utf-8")
        assert "<blockquote>" not in source, path
        assert 'class="admonition' not in source, path
        assert "doc-module" not in source, path  # has a function's name


def test_formulas_are_drawn(pages, site):
    formulas = (ROOT / "docs" / "method.md").read_text("utf-8").count("$$") // 2
    source = (site / "method.html").read_text(encoding="utf-8")
    assert formulas and source.count("<math ") == formulas
    text = pages[site / "method.html"].prose
    assert "$$" not in text and "\\" not in text


def test_links_to_code_lead_to_its_line(pages, site):
    page = site / "method.html"
    source = page.read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)#(line-\d+)"><code>([\w.]+)</c', source)
    assert len(links) >= 9
    for link, line, name in links:
        code = pages[(page.parent / link).resolve()].after(line)
        assert re.match(rf"\s*(def|class) {name.split('.')[-1]}\b", code)


@pytest.mark.parametrize("width", [1400, 390])
def test_no_page_is_wider_than_the_window(width, site, browser):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {
            "width": width,
            "height": 900,
            "deviceScaleFactor": 1,
            "mobile": width < 500,
        },
    )
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":
            continue
        browser.get(page.as_uri())
        wide = browser.execute_script(
            "return document.documentElement.scrollWidth - innerWidth"
        )
        assert wide <= 0, f"{page.name}: {wide} pixels"
    assert not browser.get_log("browser")


def test_search_needs_no_server(site, browser):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.set_window_size(1400, 900)
    browser.get((site / "start.html").as_uri())
    field = "[data-md-component=search-query]"
    browser.find_element("css selector", field).send_keys("PercentileShift")

    def found(browser):
        links = browser.find_elements("css selector", ".md-search-result__link")
        return any("api/layers.html" in x.get_attribute("href") for x in links)

    WebDriverWait(browser, 20).until(found)
