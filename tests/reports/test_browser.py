"""The page in a real Chromium: what a reader does with mouse, keyboard, phone and printer."""

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reports import build, evidence, figures_curves, page, plots
from reports.tables import Options

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None, reason="chromium and chromedriver are not installed"
    ),
]
NASTY = '<img src=x onerror="window.injected=1">'
CLASSES = {1: "1", 2: "2", 3: "3", 5: NASTY, 9: "10"}
SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["WebDriver"]:
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(DRIVER, env={**os.environ, "SE_OFFLINE": "true"})
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def opened(
    browser: "WebDriver", pictured: Callable[..., Path], tmp_path: Path
) -> Callable[..., "WebDriver"]:
    """Opens the page of five classes, two methods and two seeds in a window of that width."""

    def open_page(
        *, width: int = 1200, height: int = 800, dark: bool = False, with_figures: bool = False
    ) -> "WebDriver":
        folder = pictured(classes=CLASSES)
        found = evidence.gather([folder], evidence.read_rows([folder]))
        tables = build.build([folder], Options()).printed
        with plots.style():
            drawn = figures_curves.write(found.data[0], found, tmp_path) if with_figures else []
        path = page.write(found, tmp_path, tables=tables, drawn=drawn)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [scheme]})
        browser.get(path.as_uri())
        return browser

    return open_page


def all_of(found: Any, selector: str) -> list["WebElement"]:
    return found.find_elements("css selector", selector)


def first(found: Any, selector: str) -> "WebElement":
    return found.find_element("css selector", selector)


def names(driver: "WebDriver") -> list[str]:
    """The visible row headings of the first table."""
    table = first(driver, "section.table table")
    return [one.text for one in all_of(table, "tbody th") if one.is_displayed()]


def sizes_of_values(driver: "WebDriver", column: int) -> list[float]:
    table = first(driver, "section.table table")
    cells = all_of(table, f"tbody tr:not(.mean) td:nth-of-type({column})")
    return [float(cell.text.partition(" ")[0]) for cell in cells]


def press(driver: "WebDriver", *keys: str) -> None:
    from selenium.webdriver import ActionChains

    for key in keys:
        ActionChains(driver).send_keys(key).perform()


def painted(driver: "WebDriver") -> None:
    """Waits until every canvas of the open cell has its picture."""
    from selenium.webdriver.support.ui import WebDriverWait

    script = (
        "return [...document.querySelectorAll('.tiles canvas')].every((one) => "
        "one.width === 12 && one.getContext('2d').getImageData(0, 0, 12, 12).data.some(Boolean))"
    )
    WebDriverWait(driver, 10).until(lambda d: d.execute_script(script))


def pixel(driver: "WebDriver", canvas: "WebElement", x: int, y: int) -> list[int]:
    script = (
        "const context = arguments[0].getContext('2d');"
        "return [...context.getImageData(arguments[1], arguments[2], 1, 1).data]"
    )
    return driver.execute_script(script, canvas, x, y)


def test_headings_sort_and_say_so(opened: Callable[..., "WebDriver"]) -> None:
    driver = opened()
    heads = all_of(first(driver, "section.table table"), "thead tr:last-child th")
    buttons = [first(head, "button") for head in heads]
    buttons[0].click()
    assert names(driver) == [NASTY, "1", "2", "3", "10", "mean"]  # numbers as numbers
    assert heads[0].get_attribute("aria-sort") == "ascending"
    buttons[0].click()
    assert names(driver) == ["10", "3", "2", "1", NASTY, "mean"]
    buttons[1].click()
    values = sizes_of_values(driver, 1)
    assert values == sorted(values, reverse=True)
    assert heads[0].get_attribute("aria-sort") is None
    assert heads[1].get_attribute("aria-sort") == "descending"
    buttons[1].click()
    assert sizes_of_values(driver, 1) == sorted(values)
    buttons[1].click()
    assert names(driver) == ["1", "2", "3", NASTY, "10", "mean"]  # as it was


def test_filter_keeps_matching_rows_and_counts_them(opened: Callable[..., "WebDriver"]) -> None:
    driver = opened()
    field = first(driver, "section.table input[type=search]")
    field.send_keys("IMG on")
    assert names(driver) == [NASTY, "mean"]
    assert first(driver, ".count").text == "1 of 5 rows; means are over all"
    field.clear()
    field.send_keys(" ")
    assert names(driver) == ["1", "2", "3", NASTY, "10", "mean"]


def test_columns_can_be_hidden(opened: Callable[..., "WebDriver"]) -> None:
    driver = opened()
    first(driver, ".columns summary").click()
    boxes = all_of(first(driver, ".columns"), "input")
    boxes[0].click()
    row = first(driver, "section.table tbody tr")
    assert [cell.is_displayed() for cell in all_of(row, "td")] == [False, True]


def test_cell_opens_its_runs_command_curves_and_heatmaps(
    opened: Callable[..., "WebDriver"],
) -> None:
    driver = opened()
    button = first(driver, "section.table tbody tr:nth-child(4) td:nth-of-type(2) button")
    value = button.text
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    panel = first(driver, "tr.detail .panel")
    assert first(panel, "h3").text == f"nominal class {NASTY}, FCDD, all OE images: {value}"
    assert [row.text.split()[0] for row in all_of(panel, ".runs tbody tr")] == ["0", "1"]
    assert [code.text for code in all_of(panel, ".runs code")] == [f"{n:016x}" for n in (14, 15)]
    command = first(panel, "pre").text
    assert command == "fcdd run test --only data.normal_class=5 --only outliers.limit=None"
    titles = [one.text for one in all_of(panel, ".chart h3")]
    assert titles[:4] == ["ROC", "Precision–recall", "Scores", "Training loss"]
    painted(driver)
    lines = [one.text for one in all_of(panel, ".tiles .name") if one.text]
    assert lines == ["input", "mask", "seed 0", "seed 1"]
    first(panel, ".close").click()
    assert all_of(driver, "tr.detail") == []
    assert driver.switch_to.active_element == button


def test_normalisation_and_opacity_change_the_heatmaps(
    opened: Callable[..., "WebDriver"],
) -> None:
    driver = opened()
    first(driver, "section.table tbody td button").click()
    painted(driver)
    canvas = all_of(driver, ".tiles canvas[aria-label^='Heatmap']")[0]
    before = [pixel(driver, canvas, x, 3) for x in range(12)]
    choice = first(driver, ".heat select")
    assert [one.get_attribute("value") for one in all_of(choice, "option")] == [
        *("local", "semi_global", "global")
    ]
    all_of(choice, "option")[2].click()
    painted(driver)
    changed = [pixel(driver, canvas, x, 3) for x in range(12)]
    assert changed != before  # a nominal image is dark beside the anomalous ones
    assert sum(map(sum, changed)) < sum(map(sum, before))
    slider = first(driver, ".heat input[type=range]")
    driver.execute_script(
        "arguments[0].value = 0; arguments[0].dispatchEvent(new Event('input'))", slider
    )
    painted(driver)
    image = all_of(driver, ".tiles canvas[aria-label^='Image']")[0]
    assert pixel(driver, canvas, 5, 5) == pytest.approx(pixel(driver, image, 5, 5), abs=2)


def test_one_cell_is_open_at_a_time_and_sorting_closes_it(
    opened: Callable[..., "WebDriver"],
) -> None:
    driver = opened()
    cells = all_of(first(driver, "section.table table"), "tbody td button")
    cells[0].click()
    driver.execute_script("arguments[0].click()", cells[3])
    assert len(all_of(driver, "tr.detail")) == 1
    assert [cell.get_attribute("aria-expanded") for cell in cells[:4]] == [
        *("false", "false", "false", "true")
    ]
    first(driver, "thead tr:last-child button").click()
    assert all_of(driver, "tr.detail") == []


def test_mean_of_classes_opens_all_runs(opened: Callable[..., "WebDriver"]) -> None:
    driver = opened()
    first(driver, "tr.mean td button").click()
    panel = first(driver, "tr.detail .panel")
    assert len(all_of(panel, ".runs tbody tr")) == 10
    assert "--only outliers.limit=8" in first(panel, "pre").text
    assert "open a cell of a single class" in panel.text


def test_everything_works_with_the_keyboard(opened: Callable[..., "WebDriver"]) -> None:
    from selenium.webdriver.common.keys import Keys

    driver = opened()
    press(driver, Keys.TAB)
    assert driver.switch_to.active_element.text == "Skip to the tables"
    heading = first(driver, "thead tr:last-child button")
    for _ in range(20):
        press(driver, Keys.TAB)
        if driver.switch_to.active_element == heading:
            break
    press(driver, Keys.ENTER)
    assert first(driver, "thead tr:last-child th").get_attribute("aria-sort") == "ascending"
    outline = driver.execute_script("return getComputedStyle(arguments[0]).outlineStyle", heading)
    assert outline == "solid"
    press(driver, Keys.TAB, Keys.TAB, Keys.TAB)
    cell = driver.switch_to.active_element
    assert cell.get_attribute("class") == "cell"
    press(driver, Keys.SPACE)
    assert cell.get_attribute("aria-expanded") == "true"
    press(driver, Keys.TAB)
    press(driver, Keys.ESCAPE)
    assert all_of(driver, "tr.detail") == []
    press(driver, Keys.ENTER)
    if cell.get_attribute("aria-expanded") != "true":
        pytest.fail("Escape did not give the focus back to the cell")


def test_phone_scrolls_only_down(opened: Callable[..., "WebDriver"]) -> None:
    driver = opened(width=375, height=700, with_figures=True)
    width = "return document.documentElement.scrollWidth"
    assert driver.execute_script(width) == 375
    first(driver, "section.table tbody td button").click()
    painted(driver)
    assert driver.execute_script(width) == 375
    panel = first(driver, ".panel").rect
    assert panel["x"] >= 0
    assert panel["x"] + panel["width"] <= 375
    tile = first(driver, ".tiles canvas").rect
    assert tile["width"] > 25


def test_print_shows_tables_provenance_and_what_is_open(
    opened: Callable[..., "WebDriver"],
) -> None:
    driver = opened()
    first(driver, "section.table tbody td button").click()
    painted(driver)
    printed = driver.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.7})
    content = base64.b64decode(printed["data"])
    assert content.startswith(b"%PDF")
    assert len(content) > 20_000
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not first(driver, ".tools").is_displayed()
    assert not first(driver, ".close").is_displayed()
    assert first(driver, ".panel").is_displayed()
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert all_of(driver, ".provenance:not([open])") == []
    assert all_of(driver, ".provenance[open]") != []


def test_dark_readers_get_a_dark_page(opened: Callable[..., "WebDriver"]) -> None:
    script = "return getComputedStyle(document.body).backgroundColor"
    assert opened().execute_script(script) == "rgb(253, 253, 252)"
    assert opened(dark=True).execute_script(script) == "rgb(20, 23, 27)"


def test_nothing_is_fetched_injected_or_refused(opened: Callable[..., "WebDriver"]) -> None:
    driver = opened(with_figures=True)
    driver.get_log("browser")
    driver.refresh()
    for place in range(3):
        all_of(first(driver, "section.table table"), "tbody td button")[2 * place].click()
        painted(driver)
    script = "return performance.getEntriesByType('resource').map((one) => one.name)"
    fetched = driver.execute_script(script)
    assert [name for name in fetched if not name.startswith("data:")] == []
    assert driver.execute_script("return window.injected") is None
    assert all_of(driver, "img[src='x']") == []
    assert NASTY in names(driver)
    assert driver.get_log("browser") == []
