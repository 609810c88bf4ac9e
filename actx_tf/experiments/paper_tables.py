"""Tables of runs, with the figures of the paper's tables beside them."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from actx_tf.experiments.tables import format_table
from actx_tf.experiments.tables import summarize

# Tables 1 to 3: mean average precision in percent.
DATA_SETS = ("ActionThread", "Hollywood2", "HACS-30")
PAPER = {
    "RGB": {
        "average pooling": ("46.7", "55.3", "57.8"),
        "PoseMask": ("46.0", "49.4", ""),
        "k-Region": ("50.1", "55.6", ""),
        "Attentional": ("53.0", "61.3", "58.6"),
        "ACF": ("52.9", "61.3", "58.3"),
        "ActX w/o S_att": ("51.2", "", ""),
        "ActX": ("55.4", "62.5", "59.1"),
        "EEP + average": ("", "73.5", ""),
        "EEP + ActX": ("", "76.0", ""),
    },
    "RGB + flow": {
        "average pooling": ("55.9", "62.8", ""),
        "PoseMask": ("53.2", "60.0", ""),
        "k-Region": ("57.6", "64.6", ""),
        "Attentional": ("61.8", "69.8", ""),
        "ACF": ("60.4", "71.2", ""),
        "ActX w/o S_att": ("58.8", "", ""),
        "ActX": ("63.1", "73.2", ""),
        "EEP + average": ("", "81.0", ""),
        "EEP + ActX": ("", "82.0", ""),
    },
}
_NO_FIGURES = ("method", "seed", "stream", "weights")


def comparison_tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a table for each stream of the rows of `compare_methods`.

    Mean and standard deviation over the seeds, and the paper's figures, on
    other data and for orientation only.
    """
    columns = dict.fromkeys(key for row in rows for key in row)
    parts = []
    for stream in dict.fromkeys(row["stream"] for row in rows):
        of_stream = [row for row in rows if row["stream"] == stream]
        shown = [
            column
            for column in columns
            if column not in _NO_FIGURES
            and any(column in row for row in of_stream)
        ]
        table = summarize(of_stream, shown)
        weights = {row["method"]: row.get("weights") for row in of_stream}
        paper = PAPER["RGB + flow" if stream == "RGB + flow" else "RGB"]
        table[0] += ["weights", *(f"{name}*" for name in DATA_SETS)]
        for line in table[1:]:
            count = weights[line[0]]
            line += ["" if count is None else f"{count:,}"]
            line += paper.get(line[0], ("", "", ""))
        parts.append(f"{stream}\n{format_table(table)}")
    note = "* the paper's mean average precision in percent, on other data"
    return "\n\n".join([*parts, note])
