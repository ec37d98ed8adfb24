import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import results
from reports import evidence, figures, figures_training, plots
from reports.ablation import curves
from reports.curves import roc_on_grid
from reports.figures_curves import mean_over_classes, rates
from reports.rows import load

Pictured = Callable[..., Path]


def gathered(folder: Path) -> evidence.Evidence:
    return evidence.gather([folder], evidence.read_rows([folder]))


def test_every_kind_of_figure_is_drawn_with_its_caption(pictured: Pictured, tmp_path: Path) -> None:
    folder = pictured()
    found = curves(load([folder]), metric="image_auroc")
    drawn = figures.write(gathered(folder), tmp_path / "figures", curves=found)
    assert [one.name for one in drawn] == [
        "digits_limit_image_auroc",
        "digits_limit_image_auroc_classes",
        "digits_roc",
        "digits_precision",
        "digits_scores",
        "digits_training",
        "digits_stability",
        *(
            f"digits_{number}_{number}_{kind}"
            for number in (3, 5)
            for kind in ("heatmaps_local", "heatmaps_global", "overlays", "seeds")
        ),
    ]
    for one in drawn:
        assert one.pdf.read_bytes().startswith(b"%PDF")
        assert one.png.read_bytes().startswith(b"\x89PNG")
        assert one.caption.endswith(".")
    pages = {one.name: (one.pdf.name, one.page) for one in drawn}
    assert pages["digits_5_5_seeds"] == ("digits_seeds.pdf", 2)
    assert "over 2 seeds, with bands of one sample" in drawn[2].caption


def test_same_rows_give_the_same_bytes(pictured: Pictured, tmp_path: Path) -> None:
    folder = pictured(classes={3: "3"})
    found = curves(load([folder]), metric="image_auroc")
    contents = []
    for name in ("one", "two"):
        figures.write(gathered(folder), tmp_path / name, curves=found)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]
    for name, content in contents[0].items():
        assert b"CreationDate" not in content, name
        assert b"Software" not in content, name
        assert b"tIME" not in content, name


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_document_of_all_figures_compiles(pictured: Pictured, tmp_path: Path) -> None:
    folder = pictured(classes={3: r"50% \& a_b #1 {x} $y^2$ ~", 5: "5"}, limits=(None,))
    figures.write(gathered(folder), tmp_path / "figures")
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "figures.tex"],
        cwd=tmp_path / "figures",
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_class_names_are_never_read_as_formulas_or_paths(
    pictured: Pictured, tmp_path: Path
) -> None:
    folder = pictured(classes={3: r"$\frac{", 5: "../../x"}, limits=(None,), seeds=(0,))
    drawn = figures.write(gathered(folder), tmp_path / "figures")
    assert {one.png.parent for one in drawn} == {tmp_path / "figures"}
    assert {path.parent for path in tmp_path.rglob("*.png")} == {tmp_path / "figures"}


def test_run_without_scores_beside_others_is_named(pictured: Pictured) -> None:
    folder = pictured(limits=(None,))
    (folder / "scores" / f"{1:016x}.parquet").unlink()
    message = r"1 of 4 runs of digits have no file in scores/: 0{15}1 \(3, seed 1\); copy it there"
    with pytest.raises(ValueError, match=message):
        gathered(folder)


def test_run_without_heatmaps_beside_others_is_named(pictured: Pictured, tmp_path: Path) -> None:
    folder = pictured(limits=(None,))
    (folder / "heatmaps" / f"{1:016x}.npz").unlink()
    with pytest.raises(ValueError, match="1 of 2 runs of digits have no file in heatmaps/"):
        figures.write(gathered(folder), tmp_path / "figures")


def test_folder_of_rows_alone_has_no_figures(pictured: Pictured, tmp_path: Path) -> None:
    folder = pictured()
    for part in ("scores", "curves", "heatmaps"):
        shutil.rmtree(folder / part)
    assert figures.write(gathered(folder), tmp_path / "figures") == []


def test_scores_that_do_not_fit_their_row_are_refused(pictured: Pictured) -> None:
    folder = pictured(limits=(None,))
    columns = results.read_scores(folder, "0" * 16).to_pydict()
    results.write_scores(folder, "0" * 16, {name: values[:50] for name, values in columns.items()})
    with pytest.raises(ValueError, match="holds 50 scores, its row says 60; delete it"):
        gathered(folder)
    columns["score"][3] = float("nan")
    results.write_scores(folder, "0" * 16, columns)
    with pytest.raises(ValueError, match="holds scores that are not finite, or one label only"):
        gathered(folder)


@pytest.mark.parametrize("content", [b"", b"PK not a zip", b"x" * 100])
def test_damaged_heatmaps_are_named(content: bytes, pictured: Pictured) -> None:
    folder = pictured(limits=(None,))
    path = folder / "heatmaps" / f"{0:016x}.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} cannot be used"):
        evidence.read_shown(folder, "0" * 16)


def test_heatmaps_that_would_execute_code_are_not_read(pictured: Pictured) -> None:
    folder = pictured(limits=(None,))
    path = folder / "heatmaps" / f"{0:016x}.npz"
    np.savez(path, ids=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="cannot be used .*allow_pickle"):
        evidence.read_shown(folder, "0" * 16)


def test_older_heatmaps_take_their_scores_from_the_score_file(pictured: Pictured) -> None:
    folder = pictured(limits=(None,))
    key = "0" * 16
    arrays = results.read_heatmaps(folder, key)
    expected = arrays.pop("scores")
    for name in ("reference_quantiles", "reference_values", "masks"):
        del arrays[name]
    results.write_heatmaps(folder, key, **arrays)
    run = evidence.read_shown(folder, key)
    assert run.scores == pytest.approx(expected)
    assert run.reference is None
    assert run.masks is None


def test_without_a_reference_normalisation_is_over_the_images_shown(
    pictured: Pictured, tmp_path: Path
) -> None:
    folder = pictured(classes={3: "3"}, limits=(None,), seeds=(0,))
    arrays = results.read_heatmaps(folder, "0" * 16)
    del arrays["reference_values"]
    results.write_heatmaps(folder, "0" * 16, **arrays)
    names = [one.name for one in figures.write(gathered(folder), tmp_path / "figures")]
    assert "digits_3_3_heatmaps_semi_global" in names
    assert "digits_3_3_heatmaps_global" not in names


def test_mean_curve_is_over_seeds_that_have_every_class(pictured: Pictured) -> None:
    folder = pictured(limits=(None,), seeds=(0, 1, 2))
    (folder / "rows" / f"{2:016x}.parquet").unlink()  # class 3, seed 2
    found = gathered(folder)
    (data,) = found.data
    mean = mean_over_classes(data, data.methods[0], found, kind="roc")
    assert mean is not None
    assert mean.n == 2
    expected = []
    for seed in (0, 1):
        read = [results.read_scores(folder, f"{place + seed:016x}") for place in (0, 3)]
        expected.append(
            np.mean([roc_on_grid(r["label"].to_numpy(), r["score"].to_numpy()) for r in read], 0)
        )
    assert mean.mean == pytest.approx(np.mean(expected, axis=0))


def test_curves_in_a_panel_are_those_of_its_class(pictured: Pictured) -> None:
    folder = pictured(limits=(None,), seeds=(0,))
    found = gathered(folder)
    (data,) = found.data
    with plots.style():
        figure = rates(data, data.methods, found, kind="roc")
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["3", "5", "class mean"]
    drawn = panels[1].lines[0].get_ydata()
    assert np.allclose(np.asarray(drawn, float), found.scores[f"{1:016x}"].roc)


def test_matplotlibs_settings_are_as_before_after_drawing() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    with plots.style():
        assert matplotlib.rcParams["font.size"] == 8
    assert dict(matplotlib.rcParams) == before


def test_methods_are_told_apart_without_colour() -> None:
    looks = [plots.look(place) for place in range(36)]
    assert len({(look["color"], str(look["linestyle"])) for look in looks}) == 36
    assert len({str(look["linestyle"]) for look in looks[:6]}) == 6
    assert len({plots.marker(place) for place in range(6)}) == 6


def lightness(colour: np.ndarray) -> float:
    """CIE L* of an sRGB colour in [0, 1]."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


def test_neighbouring_colours_differ_in_lightness() -> None:
    values = [
        lightness(np.array([int(c[at : at + 2], 16) / 255 for at in (1, 3, 5)]))
        for c in plots.PALETTE
    ]
    assert min(abs(np.diff(values[:4]))) > 15


def test_loading_the_figures_loads_no_heavy_package() -> None:
    code = (
        "import sys, reports.figures, reports.page; "
        "heavy = {'matplotlib', 'seaborn', 'pandas', 'scipy', 'jinja2', 'PIL'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_axis_of_precision_begins_below_the_curves_but_not_at_zero(pictured: Pictured) -> None:
    found = gathered(pictured(limits=(None,), seeds=(0,)))
    (data,) = found.data
    with plots.style():
        figure = rates(data, data.methods, found, kind="precision")
    low, _ = figure.axes[0].get_ylim()
    curves = np.concatenate([scores.precision[5:] for scores in found.scores.values()])
    lowest = min(curves.min(), 40 / 60)  # the share of anomalies is drawn as well
    assert lowest - 0.12 <= low <= lowest - 0.02


def test_runs_that_never_trained_have_no_training_figure(
    pictured: Pictured, tmp_path: Path
) -> None:
    folder = pictured(classes={3: "3"}, limits=(None,), seeds=(0,))
    results.write_curve(folder, "0" * 16, [])
    found = gathered(folder)
    assert figures_training.write(found.data[0], found, tmp_path) == []


def test_seeds_whose_epochs_differ_are_named(pictured: Pictured, tmp_path: Path) -> None:
    folder = pictured(classes={3: "3"}, limits=(None,))
    epochs = [{"epoch": 1, "train_loss": 1.0, "lr": 0.1, "test_auroc": None}]
    results.write_curve(folder, f"{1:016x}", epochs)
    found = gathered(folder)
    with pytest.raises(ValueError, match=r"curves/0{15}1.parquet has other epochs than 0{16}"):
        figures_training.write(found.data[0], found, tmp_path)


def test_heatmaps_of_seeds_that_do_not_fit_are_named(pictured: Pictured, tmp_path: Path) -> None:
    folder = pictured(classes={3: "3"}, limits=(None,))
    arrays = results.read_heatmaps(folder, "0" * 16)
    arrays |= {name: arrays[name][:, :6] for name in ("heatmaps", "masks")}
    results.write_heatmaps(folder, "0" * 16, **arrays)
    with pytest.raises(ValueError, match=r"digits, class 3, FCDD: .*\(6, 12\), \(12, 12\)"):
        figures.write(gathered(folder), tmp_path / "figures")
