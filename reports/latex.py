"""Tables as LaTeX: a tabular to \\input into a paper, and a document that compiles alone."""

from reports.aggregate import METRICS, Cell, Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}
_OBJECTIVES = {"fcdd": "FCDD"}


def escape(text: str) -> str:
    """`text` so that LaTeX prints its characters."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def number(cell: Cell | None) -> str:
    """A cell in percent: "94.6 $\\pm$ 0.3", without a spread below two values, "--" for a gap."""
    if cell is None:
        return "--"
    mean = f"{100 * cell.mean:.1f}"
    return mean if cell.std is None else rf"{mean} $\pm$ {100 * cell.std:.1f}"


def tabular(table: Table) -> str:
    """The booktabs tabular, its provenance below as comments."""
    heading = f"{METRICS.get(table.metric, table.metric)} in \\%"
    method = escape(_method(table))
    lines = [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        rf"Nominal class & {method}, {heading} & $n$ \\",
        r"\midrule",
    ]
    for name, cell in zip(table.classes, table.cells, strict=True):
        # Braces: a name that begins with "[" would be read as an argument of the line break.
        lines.append(rf"{{{escape(name)}}} & {number(cell)} & {cell.n if cell else 0} \\")
    lines += [
        r"\midrule",
        rf"Mean & {number(table.mean)} & {table.mean.n if table.mean else 0} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    for name, value in table.setting.items():
        lines.append(f"% {name}: {value}")
    for name, values in table.provenance.items():
        lines.append(" ".join(f"% {name}: {', '.join(values)}".split()))
    return "\n".join(lines) + "\n"


def _method(table: Table) -> str:
    name = str(table.setting["objective.name"])
    return _OBJECTIVES.get(name, name)


def caption(table: Table) -> str:
    """What the numbers are: data set, objective, net, supervision, epochs and spread."""
    setting = table.setting
    source = setting["outliers.source"]
    limit = setting["outliers.limit"]
    exposure = "unsupervised"
    if source != "none":
        exposure = f"outlier exposure with pool {source}"
        exposure += f" ({limit} images)" if limit is not None else ""
    metric = METRICS.get(table.metric, table.metric)
    return (
        f"{metric} in percent on {setting['data.name']}, one class nominal: "
        f"{_method(table)} with {setting['net.name']}, "
        f"{exposure}, {setting['training.epochs']} epochs, preprocessing "
        f"{setting['data.preprocessing']}. Mean and sample standard deviation over n seeds; "
        "last row: mean over classes, its spread that of the class mean over seeds."
    )


def document(table: Table) -> str:
    """A LaTeX document with the table and its caption."""
    return (
        "\\documentclass{article}\n\\usepackage{booktabs}\n"
        "\\setlength{\\belowcaptionskip}{6pt}\n\\begin{document}\n\\begin{table}\n\\centering\n"
        f"\\caption{{{escape(caption(table))}}}\n{tabular(table)}\\end{{table}}\n\\end{{document}}\n"
    )
