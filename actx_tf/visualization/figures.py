"""Figures of clips with their maps, and of when the action happens."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from actx_tf.backbones.description import location_centers
from actx_tf.utils.optional import import_optional
from actx_tf.visualization.overlays import COLORS
from actx_tf.visualization.overlays import OPACITY
from actx_tf.visualization.overlays import Centers
from actx_tf.visualization.overlays import blend
from actx_tf.visualization.overlays import check_map
from actx_tf.visualization.overlays import check_video
from actx_tf.visualization.overlays import interpolation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_STEPS = 8  # that are drawn of a clip


def attention_figure(
    videos: Sequence[np.ndarray],
    action_maps: Sequence[np.ndarray],
    context_maps: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    centers: Sequence[Centers] | None = None,
) -> "Figure":
    """Draws clips with their action and context maps, as in Fig. 3.

    Three rows a clip: the frame in the middle of what a feature step sees, the
    action map over it, and the context map over it. Of a clip of more than
    eight steps, eight are chosen evenly.

    Args:
        videos: Clips, each uint8 `(frames, height, width, 3)`.
        action_maps: Maps `(time, height, width)`, S of each clip.
        context_maps: The same for C.
        titles: A title for each clip. Defaults to `None`: none.
        centers: Centers of each clip's locations, as `location_centers` gives
            them. Defaults to `None`: equal cells.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it.

    Raises:
        ValueError: If the sequences are empty or differ in length, or a clip
            is not a uint8 video.
    """
    cm = import_optional("matplotlib.cm", "Drawing maps")
    matplotlib = import_optional("matplotlib.figure", "Drawing maps")
    counts = (len(videos), len(action_maps), len(context_maps))
    if len(set(counts)) > 1 or not counts[0]:
        raise ValueError(
            "`videos`, `action_maps` and `context_maps` must hold the same "
            f"number of clips, at least one. Received: {counts} clips"
        )
    for name, values in (("titles", titles), ("centers", centers)):
        if values is not None and len(values) != len(videos):
            raise ValueError(
                f"`{name}` must hold one for each of the {len(videos)} clips. "
                f"Received: {len(values)}"
            )
    for video in videos:
        check_video(video)
    titles = titles or [""] * len(videos)
    steps = min(_MOST_STEPS, max(len(maps) for maps in action_maps))
    columns = min(2, len(videos)) if steps <= 4 else 1
    rows = -(-len(videos) // columns)
    height, width = np.mean([video.shape[1:3] for video in videos], axis=0)
    cell = 1.25 * np.sqrt(np.array((height, width)) / np.sqrt(height * width))
    cell_height, cell_width = cell
    panel = (steps * cell_width + 0.3, 3 * cell_height + 0.45)
    figure = matplotlib.Figure(
        figsize=(panel[0] * columns + 0.9, panel[1] * rows),
        dpi=100,
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.05, wspace=0, hspace=0)
    left, right = figure.subfigures(
        1, 2, width_ratios=(panel[0] * columns, 0.9)
    )
    panels = left.subfigures(rows, columns, squeeze=False).flat
    for clip, video in enumerate(videos):
        axes = panels[clip].subplots(3, steps, squeeze=False)
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[], frame_on=False)
        _draw_clip(
            axes,
            np.asarray(video),
            (np.asarray(action_maps[clip]), np.asarray(context_maps[clip])),
            centers[clip] if centers is not None else None,
        )
        if titles[clip]:
            # Names of users may hold what is mathematics to matplotlib.
            panels[clip].suptitle(titles[clip], fontsize=9, parse_math=False)
    right.colorbar(
        cm.ScalarMappable(cmap=COLORS),
        cax=right.add_axes((0.1, 0.15, 0.18, 0.7)),
        label="share of the clip's largest value",
    )
    return figure


def action_share_figure(
    action_map: np.ndarray,
    seconds: float,
    centers: Centers | None = None,
    video: np.ndarray | None = None,
    title: str = "",
) -> "Figure":
    """Plots when a clip's action happens.

    The share of each step in the sum of the action map, over the time around
    which the step sees; they sum to 100 percent. A broken line shows what each
    would have if nothing stood out.

    Args:
        action_map: `(time, height, width)`, S of a clip.
        seconds: Length of the clip.
        centers: Of the map's locations, as `location_centers` gives them.
            Defaults to `None`: those of equal cells.
        video: Frames, uint8 `(frames, height, width, 3)`; some of them are
            drawn below. Defaults to `None`: none.
        title: Title of the plot. Defaults to `""`.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it.

    Raises:
        ValueError: If `action_map` is not a map.
    """
    matplotlib = import_optional("matplotlib.figure", "Drawing shares")
    action_map = check_map(action_map)
    if centers is None:
        centers = location_centers(None, action_map.shape)
    shares = action_map.sum(axis=(1, 2))
    shares = 100 * shares / max(float(shares.sum()), 1e-12)
    figure = matplotlib.Figure(figsize=(8, 3), dpi=100, layout="constrained")
    if video is None:
        axis = figure.subplots()
    else:
        figure.set_size_inches(8, 3.9)
        axis, strip = figure.subplots(2, 1, height_ratios=(3, 1))
        _draw_strip(strip, np.asarray(video), seconds)
    times = seconds * centers[0]
    # Outside of the centers as the maps are drawn there.
    times = np.concatenate([[0], times, [seconds]])
    axis.fill_between(
        times, np.pad(shares, 1, mode="edge"), color="#f98e09", alpha=0.35
    )
    axis.plot(
        times[1:-1], shares, "-o", color="#bc3754", markersize=4, linewidth=1.5
    )
    axis.axhline(
        100 / len(shares), color="0.4", linestyle="--", linewidth=1
    ).set_label("evenly spread")
    axis.set(
        xlim=(0, seconds),
        ylim=(0, None),
        xlabel="seconds",
        ylabel="share of the action (%)",
    )
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    axis.set_title(title, fontsize=10, parse_math=False)
    return figure


def _draw_clip(axes, video, maps, centers):
    for axis, name in zip(
        axes[:, 0], ("frame", "action", "context"), strict=True
    ):
        axis.set_ylabel(name, fontsize=8)
    if centers is None:
        centers = location_centers(None, maps[0].shape)
    count = min(axes.shape[1], len(maps[0]))
    steps = ((np.arange(count) + 0.5) * len(maps[0]) / count).astype(int)
    frames = (
        (centers[0][steps] * len(video)).astype(int).clip(0, len(video) - 1)
    )
    rows = [video[frames]]
    for values in maps:
        _, *space = interpolation(values, video.shape[:3], centers)
        values = values / max(float(values.max()), 1e-12)
        rows.append(
            [
                blend(
                    video[frame], space[0] @ values[step] @ space[1].T, OPACITY
                )
                for frame, step in zip(frames, steps, strict=True)
            ]
        )
    for axis_row, images in zip(axes, rows, strict=True):
        for axis, image in zip(axis_row, images, strict=False):
            axis.imshow(image)


def _draw_strip(axis, video, seconds):
    """Frames side by side, each over the middle of its time."""
    height, width = video.shape[1:3]
    count = max(1, min(len(video), round(7.5 * height / width)))
    for k in range(count):
        frame = video[int((k + 0.5) * len(video) / count)]
        begin = k * seconds / count
        axis.imshow(
            frame,
            extent=(begin, begin + seconds / count, 0, 1),
            aspect="auto",
        )
    axis.set(xlim=(0, seconds), ylim=(0, 1), xticks=[], yticks=[])
    axis.set_frame_on(False)
