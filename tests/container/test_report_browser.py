import re

import pytest
from msgspec.structs import replace

from harness.report import render_report
from harness.report.definitions import DEFINITIONS
from harness.result import build_result, write_result
from tests.container.browser import Browser
from tests.golden.realistic import realistic_facts, realistic_recording
from tests.golden.recordings import write

pytestmark = pytest.mark.browser

# What must be readable, and on what: WCAG asks for 4.5 for text, 3 for large text.
KEY_TEXT = {
    ".outcome": 4.5,
    "h1": 4.5,
    ".au strong": 4.5,
    ".small": 4.5,
    ".key dd": 4.5,
    "figcaption dd": 4.5,
    "td": 4.5,
    ".facts dt": 4.5,
}


def rendered(run_dir, *warnings):
    recording = realistic_recording()
    write(recording, run_dir)
    result = build_result(recording, realistic_facts())
    write_result(replace(result, warnings=[*warnings, *result.warnings]), run_dir)
    return render_report(run_dir)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def warned(tmp_path_factory):
    path = "/mnt/" + "array_of_a_long_name" * 6
    return rendered(tmp_path_factory.mktemp("warned"), f"nothing moved: rank 3 in read of {path}")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_fits_is_complete_and_complains_of_nothing(browser, report, width, dark):
    browser.events.clear()
    browser.open(report.as_uri(), width=width, dark=dark)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.evaluate("document.querySelectorAll('figure').length") == len(DEFINITIONS)
    visible = "[...document.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect())"
    sizes = browser.evaluate(f"{visible}.map(r => [r.width, r.height]).filter(r => r[0] > 0)")
    assert len(sizes) == len(DEFINITIONS)
    assert all(width >= 300 and height >= 100 for width, height in sizes)
    assert browser.complaints() == []
    assert set(browser.requests()) == {report.as_uri()}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_key_text_stands_out_from_the_paper(browser, report, dark):
    browser.open(report.as_uri(), width=1400, dark=dark)
    paper = luminance(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (paper < 0.1) is dark
    for selector, least in KEY_TEXT.items():
        style = f"getComputedStyle(document.querySelector('{selector}')).color"
        assert contrast(luminance(browser.evaluate(style)), paper) >= least, selector


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_text_of_figures_follows_the_page(browser, report, dark):
    browser.open(report.as_uri(), width=1400, dark=dark)
    paper = luminance(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    texts = "[...document.querySelectorAll('.wide svg text')]"
    fills = browser.evaluate(f"[...new Set({texts}.map(t => getComputedStyle(t).fill))]")
    assert fills
    assert all(contrast(luminance(fill), paper) >= 4.5 for fill in fills)


def test_a_telephone_gets_text_of_its_own_size(browser, report):
    browser.open(report.as_uri(), width=400, dark=False)
    texts = "[...document.querySelectorAll('.narrow svg text')]"
    heights = browser.evaluate(f"{texts}.map(t => t.getBoundingClientRect().height)")
    assert min(heights) >= 9


@pytest.mark.parametrize("width", [320, 360, 430])
def test_a_telephone_shows_the_verdict_first_and_nothing_beside_its_edge(browser, warned, width):
    browser.open(warned.as_uri(), width=width, dark=False)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    outside = "e => !e.closest('.scroll, .plot') && e.getBoundingClientRect().right > innerWidth"
    assert (
        browser.evaluate(f"[...document.querySelectorAll('main *')].filter({outside}).length") == 0
    )
    tops = [
        browser.evaluate(f"document.querySelector('{place}').getBoundingClientRect().top")
        for place in (".outcome", "h1", ".au strong", ".warnings", ".key", "figure")
    ]
    assert tops == sorted(tops)
    assert tops[2] < 600
    assert browser.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16


def luminance(colour):
    red, green, blue = (int(value) / 255 for value in re.findall(r"\d+", colour)[:3])
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    bright, dim = max(one, other), min(one, other)
    return (bright + 0.05) / (dim + 0.05)
