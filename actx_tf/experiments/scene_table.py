"""The table of a scene report, as text."""

from actx_tf.experiments.scene_report import SceneReport
from actx_tf.experiments.tables import figure_text

_COLUMNS = {
    "accuracy": "accuracy",
    "scene_only": "scene-only",
    "contrasted": "contrasted",
    "changed": "answer changed",
}


def scene_table(report: SceneReport) -> list[list[str]]:
    """Returns a table with a line a class, as text.

    Args:
        report: What `scene_report` found.

    Returns:
        Lines of cells, as `format_table` takes them: a header; the figures over
        all clips, with the context switched if the model has a switch, and by
        chance; then those of each class. The 95% interval of a figure is in
        parentheses, where it is known.
    """
    overall, *classes = report.rows
    columns = {x: _COLUMNS[x] for x in _COLUMNS if x in overall.figures}
    lines = [["", "clips", "pairs", *columns.values()]]

    def line(name, row, prefix=""):
        found = [row.figures.get(f"{prefix}{figure}") for figure in columns]
        cells = ["" if figure is None else str(figure) for figure in found]
        return [name, str(row.clips), str(row.pairs), *cells]

    lines.append(line("all", overall))
    if report.switched is not None:
        name = f'all, context="{report.switched}"'
        lines.append(line(name, overall, "switched_"))
    chances = [
        figure_text(overall.figures[figure].chance) for figure in columns
    ]
    lines.append(["by chance", "", "", *chances])
    lines += [line(row.name, row) for row in classes]
    return lines
