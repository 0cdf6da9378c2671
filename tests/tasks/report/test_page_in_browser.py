"""The report as a browser shows it: phone and desktop, light and dark.

Run: python -m pytest tests/tasks/report/test_page_in_browser.py (needs Chromium and its driver).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.report import ReportData
from tasks.report.page import render

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="Chromium or chromedriver is not installed; apt-get install chromium chromium-driver",
)

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
PHONE, DESKTOP = (360, 740), (1280, 900)
VIEWS = [(*screen, scheme) for screen in (PHONE, DESKTOP) for scheme in ("light", "dark")]

CUT_OFF = """
return [...document.querySelectorAll('body *')]
  .filter(e => !e.closest('.scroll') && e.checkVisibility())
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
  .map(e => e.outerHTML.slice(0, 90));
"""

CONTRASTS = """
// WCAG 2.2 contrast of every piece of text against what is painted behind it.
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
canvas.canvas.width = canvas.canvas.height = 1;
function paint(colours) {
  canvas.clearRect(0, 0, 1, 1);
  for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
function luminance(rgb) {
  const [r, g, b] = rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.tagName === 'title') continue;
  const behind = [];
  for (let e = element; e; e = e.parentElement) behind.unshift(getComputedStyle(e).backgroundColor);
  const style = getComputedStyle(element);
  const ink = element instanceof SVGElement ? style.fill : style.color;
  const [a, b] = [luminance(paint(behind)), luminance(paint([...behind, ink]))].sort((x, y) => y - x);
  found.push([(a + 0.05) / (b + 0.05), walker.currentNode.data.trim().slice(0, 40)]);
}
return found;
"""


class Browser:
    """Chromium with one page, and everything it said while loading it."""

    def __init__(self, profile: Path) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER or ""
        for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))

    def show(self, page: Path, width: int, height: int, scheme: str) -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600}
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        for name in ("browser", "performance"):
            self.log(name)
        self.driver.get(page.as_uri())

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def log(self, name: str) -> list[dict[str, Any]]:
        """What was logged since the last call."""
        return list(self.driver.get_log(name))  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.driver.quit()


@pytest.fixture(scope="module")
def page(report_data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "digits.html"
    file.write_text(render(report_data), encoding="utf-8")
    return file


@pytest.mark.parametrize(("width", "height", "scheme"), VIEWS)
def test_the_page_never_scrolls_sideways(
    browser: Browser, page: Path, width: int, height: int, scheme: str
) -> None:
    browser.show(page, width, height, scheme)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run(CUT_OFF) == []


def test_a_wide_table_scrolls_inside_its_own_box_on_a_phone(browser: Browser, page: Path) -> None:
    browser.show(page, *PHONE, "light")
    overflow, inner, outer = browser.run(
        """const box = document.querySelector('.matrix').parentElement;
        return [getComputedStyle(box).overflowX, box.scrollWidth, box.clientWidth]"""
    )
    assert overflow == "auto"
    assert inner > outer


def test_opening_it_asks_nothing_of_the_network_and_says_nothing_on_the_console(
    browser: Browser, page: Path
) -> None:
    browser.show(page, *DESKTOP, "light")
    assert browser.log("browser") == []
    outside = [url for url in browser.requests() if not url.startswith("data:")]
    assert outside == [page.as_uri()]


def test_every_section_has_a_visible_heading(browser: Browser, page: Path) -> None:
    browser.show(page, *PHONE, "dark")
    heights = browser.run(
        "return [...document.querySelectorAll('section > h2')].map(h => h.checkVisibility() * h.offsetHeight)"
    )
    assert len(heights) == 10
    assert min(heights) > 0


def test_every_picture_is_decoded_and_drawn_in_whole_pixels(browser: Browser, page: Path) -> None:
    browser.show(page, *DESKTOP, "light")
    pictures = browser.run(
        """return [...document.images].map(
             i => [i.complete, i.naturalWidth, getComputedStyle(i).imageRendering])"""
    )
    assert len(pictures) == 124
    assert all(picture == [True, 8, "pixelated"] for picture in pictures)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_is_readable_in_either_scheme(browser: Browser, page: Path, scheme: str) -> None:
    browser.show(page, *DESKTOP, scheme)
    browser.run("document.querySelector('details').open = true")
    contrasts = browser.run(CONTRASTS)
    assert len(contrasts) > 300
    assert [c for c in contrasts if c[0] < 4.5] == []


def test_dark_is_dark_and_light_is_light(browser: Browser, page: Path) -> None:
    lightness = {}
    for scheme in ("light", "dark"):
        browser.show(page, *DESKTOP, scheme)
        colour = browser.run("return getComputedStyle(document.body).backgroundColor")
        lightness[scheme] = sum(int(v) for v in colour[4:-1].split(","))
    assert lightness["light"] > 700
    assert lightness["dark"] < 120


def test_hostile_names_run_nothing_and_stay_inside_a_phone(browser: Browser, tmp_path: Path) -> None:
    from .test_page import hostile

    file = tmp_path / "hostile.html"
    file.write_text(render(hostile()), encoding="utf-8")
    browser.show(file, *PHONE, "light")
    assert browser.run("return document.scripts.length") == 0
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]
    assert [entry for entry in browser.log("browser") if "Image" not in entry["message"]] == []
