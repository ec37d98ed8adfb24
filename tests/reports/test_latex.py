import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reports.latex import document, escape, tabular
from reports.layout import parts
from reports.markup import fragment
from reports.sheet import Head, Line, Number, Sheet, Words, heads, letter
from reports.text import markdown

NASTY = [
    *(
        "t-shirt/top",
        "50% & a_b #1 {x} $ ~ ^ \\",
        "\\end{document}",
        "[1ex]",
        "*",
        "&",
        "\\\\",
        "%",
    ),
    *("\\input{/etc/passwd}", "a\nb\tc", "  spaces  ", "", "x^^Mx", "--- `` '' \"q\" <b>|</b>"),
    *("Größe à la française", "naïve Æßøł–—“”…", "猫と犬", "\u202eright to left", "🐈", "\x00\x07"),
    *("$\\alpha$", "{", "}", "~", "# heading", "* item", "1. one", "<script>alert(1)</script>"),
    *("&amp; &lt;", "µ ± × ≤ ≥ ° ² ³ −1", "e\u0301 combining", "!`?`", "a|b", "[link](x)", "_em_"),
]
needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


def sheet(
    names: list[str], *, columns: tuple[str, ...] = ("FCDD, k = 0 maps", "FCDD, k = 4 maps", "AE")
) -> Sheet:
    entries = (
        Number(0.946, 0.003, bold=True),
        Number(1.0, 0.103, marks="a"),
        Words("–"),
        *(Number(0.5) for _ in columns[3:]),
    )
    return Sheet(
        stem="table",
        title=" ".join(names[:3]),
        corner="nominal class",
        heads=tuple(heads(columns)),
        lines=tuple(Line(name, entries[: len(columns)]) for name in names),
        footnotes=(("a", f"Remark on {names[0]}."), ("", "On all.")),
        comments=("commit: 0123", "data.classes: " + " ".join(names[0].split())),
    )


def compiles(text: str, folder: Path) -> str:
    """Compiles a document and returns its log."""
    (folder / "paper.tex").write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-no-shell-escape", "-interaction=nonstopmode", "paper.tex"],
        cwd=folder,
        capture_output=True,
    )
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-3000:]
    assert (folder / "paper.pdf").stat().st_size > 5000
    return log


def test_escape_covers_every_special_character() -> None:
    assert escape("50% & a_b #1 {x} $ ~ ^ \\") == (
        r"50\% \& a\_b \#1 \{x\} \$ \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert escape("Größe é ç") == r"Gr\"{o}\ss{}e \'{e} \c{c}"
    assert escape("e\u0301") == r"\'{e}"
    assert escape("a\nb") == "a b"
    assert escape("猫") == "U+732B"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_escaped_text_is_printable_ascii_without_active_characters(text: str) -> None:
    escaped = escape(text)
    assert escaped.isascii()
    assert escaped.isprintable()
    # Escapes, formulas and commands aside, nothing is left that means something to TeX.
    bare = re.sub(r"\\[&%$#_{}]", "", escaped)
    bare = re.sub(r"\$[^$]*\$|\\[a-zA-Z]+|\\[`'^~=.\"]", "", bare)
    assert not set('\\&%$#_^~<>|"`') & set(bare)
    assert escaped.count("{") - escaped.count(r"\{") == escaped.count("}") - escaped.count(r"\}")


@needs_tex
def test_document_with_nasty_names_compiles_alone(tmp_path: Path) -> None:
    log = compiles(document(sheet(NASTY)), tmp_path)
    assert "Overfull" not in log
    assert "Warning: Option" not in log


@needs_tex
@settings(max_examples=2, deadline=None)
@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20),
        min_size=20,
        max_size=40,
    )
)
def test_any_class_names_compile(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    compiles(document(sheet(names)), tmp_path_factory.mktemp("tex"))


@needs_tex
def test_tabular_goes_into_a_two_column_paper(tmp_path: Path) -> None:
    (tmp_path / "narrow.tabular.tex").write_text(tabular(sheet(["bottle", "metal_nut"])))
    wide = tuple(f"FCDD, k = {k} maps" for k in range(6))
    (tmp_path / "wide.tabular.tex").write_text(tabular(sheet(["a", "b"], columns=wide)))
    paper = (
        "\\documentclass[twocolumn]{article}\n"
        "\\usepackage{booktabs}\\usepackage{siunitx}\n\\begin{document}\n"
        "\\begin{table}\\caption{One}\\input{narrow.tabular}\\end{table}\n"
        "\\begin{table*}\\centering\\small\\setlength{\\tabcolsep}{4pt}\\caption{Two}"
        "\\input{wide.tabular}\\end{table*}\nText.\n\\end{document}\n"
    )
    assert "Overfull" not in compiles(paper, tmp_path)


def test_tabular_names_the_packages_it_needs() -> None:
    assert tabular(sheet(["a"])).startswith(
        "% needs \\usepackage{booktabs} and \\usepackage{siunitx}\n\\begin{tabular}"
    )


def test_neighbours_share_a_heading() -> None:
    text = tabular(sheet(["a"]))
    assert r"& \multicolumn{4}{c}{FCDD} &  \\" in text
    assert r"\cmidrule(lr){2-5}" in text
    assert heads(["FCDD, a", "HSC", "FCDD, b"])[0] == Head("a", "FCDD")
    assert heads(["FCDD, a", "HSC"]) == [Head("FCDD, a"), Head("HSC")]


def test_numbers_align_and_the_best_is_bold() -> None:
    text = tabular(sheet(["a"]))
    assert r"{a} & \bfseries 94.6 & $\,\pm\;$0.3 & 100.0 & $\,\pm\;$10.3\textsuperscript{a}" in text
    two = Sheet(
        "t",
        "",
        "c",
        (Head("x"),),
        (Line("a", (Number(0.1, 0.1),)), Line("b", (Number(0.1, 0.003),))),
    )
    assert r"$\,\pm\;$10.0" in tabular(two)
    assert r"$\,\pm\;$\phantom{0}0.3" in tabular(two)


def test_wide_and_long_tables_come_in_parts() -> None:
    columns = tuple(f"method {n}" for n in range(20))
    wide = sheet([f"c{n}" for n in range(100)], columns=columns)
    found = parts(wide)
    assert [len(part.lines) for part in found[:3]] == [34, 34, 32]
    assert [head.text for part in found[::3] for head in part.heads] == list(columns)
    assert [line.name for part in found[:3] for line in part.lines] == [f"c{n}" for n in range(100)]
    assert found[0].title.endswith(f" Part 1 of {len(found)}.")
    assert parts(sheet(["a"])) == (sheet(["a"]),)
    # A footnote goes where its mark is.
    assert ("a", "Remark on c0.") in found[0].footnotes
    assert ("a", "Remark on c0.") not in found[-1].footnotes


def test_columns_of_one_heading_stay_together() -> None:
    columns = (*(f"{name}, k = {k} maps" for name in ("FCDD", "HSC") for k in range(4)), "AE")
    found = parts(sheet(["metal_nut"], columns=columns))
    assert [len(part.heads) for part in found] == [4, 5]
    # One heading over more than fits is parted evenly.
    many = tuple(f"FCDD, a rather long name {k}" for k in range(8))
    assert [len(part.heads) for part in parts(sheet(["a"], columns=many))] == [3, 3, 2]


@needs_tex
def test_every_part_fits_the_text_width_of_a_conference_paper(tmp_path: Path) -> None:
    columns = tuple(f"FCDD, FCDD_CNN32_{k}K and more words" for k in range(9))
    for part in parts(sheet(["a class of a long name"], columns=columns)):
        narrow = document(part).replace("[a4paper,margin=25mm]", "[textwidth=397pt]")
        assert "Overfull" not in compiles(narrow, tmp_path)


def test_letters_go_on_after_z() -> None:
    assert [letter(place) for place in (0, 25, 26, 27, 52)] == ["a", "z", "aa", "ab", "ba"]


def text_of(token_tree: list) -> str:
    return "".join(
        child.content
        for token in token_tree
        for child in (token.children or [])
        if child.type in ("text", "html_inline", "softbreak", "code_inline")
    )


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.sampled_from(NASTY), st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]))
    )
)
def test_markdown_shows_every_name_as_it_is(name: str) -> None:
    one = Sheet("t", "x", "class", (Head("h"),), (Line(name, (Number(0.5),)),))
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown(one))
    cells = [token for token in tokens if token.type == "inline"]
    shown = text_of([cells[3]])
    assert " ".join(shown.split()) == " ".join(name.replace("\0", "\ufffd").split())
    assert cells[4].content == "50.0"


class _Reader:
    """The texts of cells, as a browser would show them."""

    def __init__(self, text: str) -> None:
        from html.parser import HTMLParser

        reader = self
        self.cells: list[str] = []
        self.tags: set[str] = set()

        class Parser(HTMLParser):
            def handle_starttag(self, tag: str, attrs: object) -> None:
                reader.tags.add(tag)
                if tag in ("th", "td"):
                    reader.cells.append("")

            def handle_data(self, data: str) -> None:
                if reader.cells:
                    reader.cells[-1] += data

        Parser(convert_charrefs=True).feed(text)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_categories=["Cs", "Cc"]))))
def test_html_shows_every_name_as_it_is(name: str) -> None:
    one = Sheet("t", "x", "class", (Head("h"),), (Line(name, (Number(0.5, bold=True),)),))
    read = _Reader(fragment(one))
    shown = re.sub("[\x00-\x08\x0e-\x1f\ufdd0-\ufdef\ufffe\uffff]", "\ufffd", name)
    assert read.cells[2] == shown
    assert read.cells[3].strip() == "50.0"
    assert read.tags == {"figure", "table", "caption", "thead", "tbody", "tr", "th", "td", "strong"}


def test_html_headings_span_their_columns() -> None:
    text = fragment(sheet(["a"]))
    assert '<th scope="colgroup" colspan="2">FCDD</th>' in text
    assert '<th scope="col" rowspan="2">AE</th>' in text
    assert '<td class="number">100.0 ± 10.3<sup>a</sup></td>' in text
