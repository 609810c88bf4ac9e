"""Tables of figures: rows in CSV files, and text to print."""

import contextlib
import csv
import math
import os
import statistics
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actx_tf.utils.atomic_write import atomic_write


def write_rows(
    rows: Sequence[Mapping[str, Any]], path: str | os.PathLike
) -> None:
    """Writes rows as CSV, whole or not at all.

    Args:
        rows: The rows, each a mapping from the names of its columns. The
            file's columns are those of any row.
        path: Path of the file; its folder is made if it is not there.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic_write(path) as draft,
        open(draft, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads what `write_rows` wrote; no rows if there is no such file.

    Numbers become `int` or `float`, and columns where a row has nothing are
    left out of it.
    """
    if not Path(path).exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [
            {key: _to_number(text) for key, text in row.items() if text}
            for row in csv.DictReader(file)
        ]


def _to_number(text):
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def summarize(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
) -> list[list[str]]:
    """Returns the mean and standard deviation of each method's runs, as text.

    Args:
        rows: A row a run, with the name of its `method`.
        columns: The figures. Defaults to all but the seed.

    Returns:
        Lines of cells: the header, then one line a method. A single run has no
        deviation.
    """
    rows = list(rows)
    if columns is None:
        known = dict.fromkeys(key for row in rows for key in row)
        columns = [key for key in known if key not in ("method", "seed")]
    table = [["", *columns]]
    for method in dict.fromkeys(row["method"] for row in rows):
        line = [method]
        for column in columns:
            values = [
                row[column]
                for row in rows
                if row["method"] == method
                and not math.isnan(row.get(column, math.nan))
            ]
            cell = f"{statistics.mean(values):.3f}" if values else ""
            if len(values) > 1:
                cell += f" ± {statistics.stdev(values):.3f}"
            line.append(cell)
        table.append(line)
    return table


def figure_text(value: float) -> str:
    """Returns a figure as text, with three digits; NaN is not known: `""`."""
    return "" if math.isnan(value) else f"{value:.3f}"


def format_table(table: Sequence[Sequence[str]]) -> str:
    """Returns lines of cells as text, each column as wide as it needs."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for line in table:
        pairs = zip(line, widths, strict=True)
        cells = [cell.ljust(width) for cell, width in pairs]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
