"""What a model sees in a video, as files: figures and films."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from actx_tf.utils.atomic_write import atomic_write
from actx_tf.visualization.figures import action_share_figure
from actx_tf.visualization.figures import attention_figure
from actx_tf.visualization.films import save_attention_video

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from actx_tf.prediction import VideoPrediction


def prediction_figure(prediction: "VideoPrediction") -> "Figure":
    """Draws a video with its action and context maps: see `attention_figure`.

    Args:
        prediction: What `predict_video` or `actx_tf.client.ask` returned.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it.

    Raises:
        ValueError: If the model has no maps.
    """
    action_map, context_map, centers = _maps(prediction)
    return attention_figure(
        [prediction.frames],
        [action_map],
        [context_map],
        [_title(prediction)],
        [centers],
    )


def save_prediction(
    prediction: "VideoPrediction", folder: str | os.PathLike
) -> list[Path]:
    """Writes figures and films of what a model sees in a video.

    - `maps.png`: frames, action map and context map, side by side,
    - `action_share.png`: when the action happens,
    - `maps.gif`, `maps.mp4`: the first one as a film.

    Args:
        prediction: What `predict_video` or `actx_tf.client.ask` returned.
        folder: Path of the folder, which is made if it is not there. Each file
            is written whole or not at all.

    Returns:
        The paths of the files.

    Raises:
        ValueError: If the model has no maps.
        ImportError: If a package for it is not installed.
    """
    folder = Path(folder)
    title = _title(prediction)
    action_map, context_map, centers = _maps(prediction)
    figures = {
        "maps.png": prediction_figure(prediction),
        "action_share.png": action_share_figure(
            action_map,
            len(prediction.frames) / prediction.frame_rate,
            centers,
            prediction.frames,
            title,
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        with atomic_write(folder / name) as draft:
            figure.savefig(draft, bbox_inches="tight")
    films = ("maps.gif", "maps.mp4")
    for name in films:
        save_attention_video(
            folder / name,
            prediction.frames,
            action_map,
            context_map,
            prediction.frame_rate,
            centers,
            title,
        )
    return [folder / name for name in (*figures, *films)]


def _maps(prediction):
    if prediction.action_map is None:
        raise ValueError(
            "`prediction` must have maps. Received: that of a model without"
        )
    return prediction.action_map, prediction.context_map, prediction.centers


def _title(prediction):
    return f"{prediction.label} ({prediction.scores.max():.2f})"
