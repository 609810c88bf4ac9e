"""How well maps find an action, in figures and as a table."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from actx_tf import metrics
from actx_tf.experiments.tables import format_table

CHANCE = "constant"  # the map that knows nothing


def localization_figures(
    voxels: np.ndarray, scores: np.ndarray, threshold: float = 0.5
) -> dict[str, float]:
    """Measures a map of one clip: see `localize`.

    Args:
        voxels: Booleans `(time, height, width)`, where the action is.
        scores: The map, of the same shape.
        threshold: See `localize`. Defaults to `0.5`.
    """
    voxels, scores = voxels[np.newaxis], scores[np.newaxis]
    row = {
        "AUC": metrics.localization_auc(voxels, scores),
        "pointing, steps": metrics.pointing_game(voxels, scores),
        "pointing, clip": metrics.pointing_game(
            voxels, scores, each_step=False
        ),
        "energy": metrics.energy_inside(voxels, scores),
        "temporal IoU": np.nan,
        "temporal AUC": np.nan,
    }
    steps, scores = voxels.any(axis=(2, 3)), scores.mean(axis=(2, 3))
    if not steps.all():
        row["temporal IoU"] = metrics.temporal_overlap(
            steps, scores, threshold=threshold
        )
        row["temporal AUC"] = metrics.localization_auc(steps, scores)
    return {name: float(value) for name, value in row.items()}


def center_map(size: Sequence[int]) -> np.ndarray:
    """Returns a Gaussian in the middle of each frame: a guess of where.

    Its standard deviation is a quarter of the frames' sides.

    Args:
        size: (time, height, width) of the map.
    """
    y, x = (
        np.exp(-8.0 * ((np.arange(n) + 0.5) / n - 0.5) ** 2) for n in size[1:]
    )
    return np.broadcast_to(np.outer(y, x), tuple(size))


def localization_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the mean figures of each map, with chance in parentheses.

    Chance is the figure of a constant map on the same clips.

    Args:
        rows: As `localize` returns them.
    """
    names = [key for key in rows[0] if key not in ("clip", "map")]
    means = {}
    for kind in dict.fromkeys(row["map"] for row in rows):
        chosen = [row for row in rows if row["map"] == kind]
        columns = {
            name: [row[name] for row in chosen if row[name] == row[name]]
            for name in names
        }
        means[kind] = {
            name: (np.mean(x) if x else np.nan, len(x))
            for name, x in columns.items()
        }
    chance = means.pop(CHANCE)
    table = [["(chance)", *names]]
    for kind, row in means.items():
        table.append(
            [kind] + [f"{row[n][0]:.3f} ({chance[n][0]:.3f})" for n in names]
        )
    table.append(["clips", *(str(chance[name][1]) for name in names)])
    return format_table(table)
