import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import results
from reports import (
    build,
    evidence,
    figures_curves,
    page,
    page_data,
    page_images,
    page_model,
    plots,
)
from reports.panels import normalise
from reports.sheet import Head, Line, Number, Printed, Sheet, Words
from reports.tables import Options

Pictured = Callable[..., Path]
NASTY = {3: "</script><script>alert(1)</script>", 5: "\"><img src=x onerror=alert(2)> & '$a$"}


def gathered(folder: Path) -> evidence.Evidence:
    return evidence.gather([folder], evidence.read_rows([folder]))


def written(folder: Path, out: Path) -> str:
    """The page of a folder, without figures."""
    out.mkdir(exist_ok=True)
    printed = build.build([folder], Options()).printed
    return page.write(gathered(folder), out, tables=printed).read_text()


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def curves_of(found: evidence.Evidence, out: Path) -> list[plots.Drawn]:
    """ROC, precision-recall and score figures of the first data set."""
    with plots.style():
        return figures_curves.write(found.data[0], found, out)


def pixels(uri: str) -> np.ndarray:
    from PIL import Image

    head, _, content = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def printed(sheets: tuple[Sheet, ...], records: list[dict[str, Any]]) -> Printed:
    return Printed(
        stem="t",
        kind="table",
        metric="image_auroc",
        how="",
        sheets=sheets,
        records=tuple(records),
        provenance={"commit": ("abc", "def")},
        common={"net.name": "FCDD_CNN28"},
        settings={"HSC": {"outliers.limit": 8}, "AE": {}},
    )


def sheet(heads: list[Head], lines: list[Line], title: str = "T.") -> Sheet:
    return Sheet("t", title, "nominal class", tuple(heads), tuple(lines))


def test_parts_of_a_table_stand_together_again() -> None:
    names = [["a", "b"], ["c"]]
    columns = [["m1", "m2"], ["m3"]]
    parts = [
        sheet(
            [Head(c) for c in across],
            [Line(n, tuple(Number(0.5) for _ in across)) for n in down],
            f"T. Part {number} of 4.",
        )
        for number, (across, down) in enumerate([(a, d) for a in columns for d in names], 1)
    ]
    view = page_model.view(printed(tuple(parts), []))
    assert [column.text for column in view.columns] == ["m1", "m2", "m3"]
    assert [(row.name, len(row.cells)) for row in view.rows] == [("a", 3), ("b", 3), ("c", 3)]
    assert view.title == "T."


def test_cells_know_the_runs_behind_them() -> None:
    heads = [Head("OE CIFAR-100", "FCDD"), Head("OE EMNIST", "FCDD"), Head("AE")]
    entries = (Number(0.9, 0.01, bold=True, marks="a"), Number(0.8), Words("–"))
    records = [
        {"row": "cat", "column": "FCDD, OE CIFAR-100", "keys": ("k1", "k2"), "n": 2}
        | {"low": 0.88, "high": 0.92},
        {"row": "cat", "column": "FCDD, OE EMNIST", "keys": ("k3",), "n": 1},
    ]
    view = page_model.view(printed((sheet(heads, [Line("cat", entries)]),), records))
    first, second, gap = view.rows[0].cells
    assert (first.text, first.keys, first.bold, first.marks) == (
        "90.0 ± 1.0",
        ("k1", "k2"),
        True,
        "a",
    )
    assert first.hint == "n = 2, 95 % interval 88.0 to 92.0"
    assert second.keys == ("k3",)
    assert (gap.text, gap.keys, gap.value) == ("–", (), None)
    assert view.spans == [("FCDD", 2), ("", 1)]
    assert view.settings == (("net.name", "FCDD_CNN28"), ("HSC", "outliers.limit 8"))
    assert view.provenance == (("commit", "abc, def"),)


def test_published_numbers_have_no_runs_of_ours_behind_them() -> None:
    heads = [Head("ours"), Head("paper"), Head("difference, points")]
    entries = (Number(0.9), Number(0.89), Words("+1.0 [−0.2, 2.2]"))
    records = [{"row": "cat", "column": "FCDD", "keys": ("k1",), "n": 1}]
    view = page_model.view(printed((sheet(heads, [Line("cat", entries)]),), records))
    assert [cell.keys for cell in view.rows[0].cells] == [("k1",), (), ()]
    assert view.rows[0].cells[2].value == 1.0


def test_differences_sort_by_the_number_they_begin_with() -> None:
    assert page_model._leading("−0.4 [−1.2, 0.3]") == -0.4
    assert page_model._leading("0.0") == 0
    assert page_model._leading("agrees") is None


def test_headings_are_the_first_clause_of_captions() -> None:
    texts = {
        "AUROC in percent on digits for each class. Mean over seeds; n = 3.": "AUROC in percent on "
        "digits for each class",
        "AUROC beside the paper (Liznerski et al. 2021) and others. Two.": "AUROC beside the paper "
        "and others",
        "AUROC against k: mean.": "AUROC against k",
    }
    for title, heading in texts.items():
        view = page_model.view(printed((sheet([Head("m")], [], title),), []))
        assert (view.heading, view.title) == (heading, title)
    long = page_model.view(printed((sheet([Head("m")], [], "word, " * 40),), [])).heading
    assert len(long) <= 92
    assert long.endswith("word …")


def test_methods_beside_the_paper_open_the_runs_of_their_mean() -> None:
    heads = [Head("ours"), Head("paper")]
    entries = (Number(0.9), Number(0.89))
    records = [
        {"row": row, "column": column, "keys": (f"{row} {column}",), "n": 1}
        for row in ("cat", "mean")
        for column in ("FCDD", "HSC")
    ]
    view = page_model.view(printed((sheet(heads, [Line("HSC", entries)]),), records))
    assert [cell.keys for cell in view.rows[0].cells] == [("mean HSC",), ()]


def test_cells_of_ablations_know_their_runs() -> None:
    heads = [
        Head("AUROC [95 % interval]", "FCDD"),
        Head("gain, points", "FCDD"),
        Head("AUROC", "HSC"),
    ]
    entries = (Words("90.0 [88.0, 92.0]"), Words("–"), Number(0.8))
    records = [{"row": "8", "column": name, "keys": (name,), "n": 1} for name in ("FCDD", "HSC")]
    view = page_model.view(printed((sheet(heads, [Line("8", entries)]),), records))
    assert [cell.keys for cell in view.rows[0].cells] == [("FCDD",), (), ("HSC",)]


def test_page_needs_no_network(pictured: Pictured, tmp_path: Path) -> None:
    folder = pictured(classes={3: "3"})
    drawn = curves_of(gathered(folder), tmp_path)
    tables = build.build([folder], Options()).printed
    text = page.write(gathered(folder), tmp_path, tables=tables, drawn=drawn).read_text()
    assert "default-src 'none'" in text
    assert "<link" not in text
    assert "@import" not in text
    for target in re.findall(r'(?:src|href|action|data|poster)\s*=\s*"([^"]*)"', text):
        assert target.startswith(("#", "data:image/png;base64,")), target
    assert re.findall(r"url\(", text) == []
    assert set(re.findall(r"https?://[^\s\"']*", text)) <= {"http://www.w3.org/2000/svg"}
    assert text.count('<img src="data:image/png') == len(drawn) == 3


def test_names_are_shown_as_text_only(pictured: Pictured, tmp_path: Path) -> None:
    text = written(pictured(classes=NASTY), tmp_path / "report")
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text
    names = {run["className"] for run in data_of(text)["runs"]}
    assert names == set(NASTY.values())


def test_same_rows_give_the_same_page(pictured: Pictured, tmp_path: Path) -> None:
    folder = pictured()
    assert written(folder, tmp_path / "one") == written(folder, tmp_path / "two")


def test_every_run_is_there_with_what_it_left(pictured: Pictured, tmp_path: Path) -> None:
    folder = pictured()
    data = data_of(written(folder, tmp_path / "report"))
    rows = results.read_rows([folder])
    assert [run["key"] for run in data["runs"]] == sorted(row["key"] for row in rows)
    run, row = data["runs"][0], rows[0]
    assert run["metrics"]["image_auroc"] == pytest.approx(row["image_auroc"], abs=1e-6)
    assert len(run["roc"]) == 101
    assert run["roc"][-1] == 1000
    assert abs(sum(run["nominal"]) - 1000) < 20
    assert run["epochs"] == [1, 2, 3, 4, 5]
    assert run["losses"] == [1, 0.5, 0.3333, 0.25, 0.2]
    assert (run["aurocEpochs"], run["aurocs"]) == ([5], [900])
    assert run["benchmark"] == "test"
    assert dict(run["fields"]) == {"data.normal_class": "3", "outliers.limit": "8", "seed": "0"}


def test_heatmaps_in_the_page_are_those_of_the_run(pictured: Pictured, tmp_path: Path) -> None:
    folder = pictured(classes={3: "3"}, limits=(None,))
    data = data_of(written(folder, tmp_path / "report"))
    shared = data["classes"]["0/3"]
    arrays = results.read_heatmaps(folder, "0" * 16)
    assert sorted(shared["ids"]) == arrays["ids"].tolist()
    assert shared["labels"] == [0, 0, 0, 0, 1, 1, 1, 1]
    order = [arrays["ids"].tolist().index(number) for number in shared["ids"]]
    scores = arrays["scores"][order]
    assert (np.diff(scores[:4]) > 0).all()
    assert (np.diff(scores[4:]) > 0).all()
    heat = data["runs"][0]["heat"]
    assert heat["scores"] == pytest.approx(scores, rel=1e-3)
    tiles = np.stack(np.split(pixels(heat["tiles"]), 8, axis=1)) / 255
    low, high = (np.array(heat[name])[:, None, None] for name in ("low", "high"))
    maps = arrays["heatmaps"].astype(float)[order]
    assert np.allclose(low + tiles * (high - low), maps, atol=0.02)
    base, divisor = np.array(heat["local"]).T[:, :, None, None]
    shown = np.clip((low + tiles * (high - low) - base) / divisor, 0, 1)
    assert np.allclose(shown, normalise(maps), atol=0.01)
    kept = dict(zip(arrays["reference_quantiles"], arrays["reference_values"], strict=True))
    assert heat["global"] == pytest.approx([kept[0.0], kept[0.97] - kept[0.0]], rel=1e-3)
    images = np.stack(np.split(pixels(shared["images"])[..., 0], 8, axis=1))
    assert np.array_equal(images, arrays["images"][order, 0])
    masks = np.stack(np.split(pixels(shared["masks"]), 8, axis=1))
    assert np.array_equal(masks > 0, arrays["masks"][order])


def test_page_stays_small_when_there_are_many_runs(
    pictured: Pictured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [page_images.per_label(count) for count in (10, 500, 900, 2000)] == [4, 3, 2, 1]
    monkeypatch.setattr(page_images, "MAX_BYTES", 1)
    data = data_of(written(pictured(), tmp_path / "report"))
    assert "images" in data["classes"]["0/3"]
    assert data["classes"]["0/5"]["left_out"]
    assert {"heat" in run for run in data["runs"] if run["class"] == "0/5"} == {False}


def test_pictures_of_heatmaps_stand_in_the_cells_only() -> None:
    book = Path("digits_seeds.pdf")
    drawn = plots.Drawn("digits_3_3_seeds", "c", book, Path("digits_3_3_seeds.png"), page=1)
    assert page.pictures([drawn]) == []


def test_figures_beyond_the_room_are_named(
    pictured: Pictured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_FIGURE_BYTES", 1)
    drawn = curves_of(gathered(pictured(classes={3: "3"})), tmp_path)
    shown = page.pictures(drawn)
    assert shown[0].uri is not None
    assert {one.uri for one in shown[1:]} == {None}


def test_more_runs_than_a_page_can_show_are_said(
    pictured: Pictured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "MAX_RUNS", 3)
    monkeypatch.setattr(page, "MAX_RUNS", 3)
    text = written(pictured(), tmp_path / "report")
    assert "8 runs: more than 3, so curves, heatmaps and commands are left out." in text
    assert data_of(text)["runs"] == []
    assert "data-keys" not in text  # a hundred thousand of them would make a page of megabytes


def test_large_tiles_become_smaller_by_the_mean_of_their_pixels() -> None:
    tiles = np.arange(2 * 4 * 8, dtype=np.uint8).reshape(2, 4, 8)
    small = page_images.small(tiles, 2)
    expected = tiles.reshape(2, 2, 2, 4, 2).mean((2, 4))
    assert np.allclose(small, expected, atol=0.51)
    assert page_images.small(tiles, 4) is tiles
    coloured = np.repeat(tiles[..., None], 3, axis=-1)
    assert page_images.small(coloured, 2).shape == (2, 2, 4, 3)


def test_json_is_safe_inside_a_script_element() -> None:
    text = page_data.as_json({"name": "</script><!--&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"name": "</script><!--&\u2028"}


def test_provenance_common_to_all_tables_stands_once(pictured: Pictured, tmp_path: Path) -> None:
    text = written(pictured(), tmp_path / "report")
    section = text[text.index('id="provenance-heading"') :]
    assert re.search(r"<dt>data_fingerprint</dt><dd>x</dd>", section)
    assert "data_fingerprint" not in text[: text.index('id="provenance-heading"')]
