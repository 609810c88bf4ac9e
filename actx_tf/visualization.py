"""Attention maps over the frames that they belong to."""

import numpy as np


def attention_figure(videos, action_maps, context_maps, titles=None):
    """Draws clips with their action and context maps, as in Fig. 3.

    Three rows a clip: the frame in the middle of each feature step, the action
    map over it, and the context map over it. Both maps are drawn as a share of
    their largest value in the clip, on one color scale.

    Args:
        videos: sequence of uint8 arrays `(frames, height, width, 3)`.
        action_maps: sequence of arrays `(time, height, width)`, S of each
            clip.
        context_maps: the same for C.
        titles: optional sequence of strings, one a clip.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it.

    Raises:
        ValueError: if the sequences are empty or differ in length.
    """
    from matplotlib.figure import Figure

    counts = (len(videos), len(action_maps), len(context_maps))
    if len(set(counts)) > 1 or not counts[0]:
        raise ValueError(
            "`videos`, `action_maps` and `context_maps` must hold the same "
            f"number of clips, at least one. Received: {counts} clips"
        )
    steps = max(len(maps) for maps in action_maps)
    columns = min(2, len(videos))
    rows = -(-len(videos) // columns)
    figure = Figure(
        figsize=(1.2 * steps * columns + 1.5, 4.1 * rows),
        dpi=100,
        layout="constrained",
    )
    panels = figure.subfigures(rows, columns, squeeze=False).flat
    for clip, video in enumerate(videos):
        axes = panels[clip].subplots(3, steps, squeeze=False)
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[], frame_on=False)
        image = _draw_clip(
            axes,
            np.asarray(video),
            np.asarray(action_maps[clip]),
            np.asarray(context_maps[clip]),
        )
        panels[clip].colorbar(
            image,
            ax=list(axes[1:].flat),
            aspect=40,
            label="share of the largest value",
        )
        if titles is not None:
            panels[clip].suptitle(titles[clip], fontsize=9)
    return figure


def _draw_clip(axes, video, action_map, context_map):
    height, width = video.shape[1:3]
    steps = len(action_map)
    for row, name in enumerate(("frame", "action", "context")):
        axes[row, 0].set_ylabel(name, fontsize=8)
    for step in range(steps):
        frame = video[
            min(int((step + 0.5) * len(video) / steps), len(video) - 1)
        ]
        for axis in axes[:, step]:
            axis.imshow(frame, extent=(0, width, height, 0))
        for axis, values in zip(
            axes[1:, step], (action_map, context_map), strict=True
        ):
            image = axis.imshow(
                values[step] / max(float(values.max()), 1e-12),
                extent=(0, width, height, 0),
                interpolation="bilinear",
                cmap="inferno",
                vmin=0.0,
                vmax=1.0,
                alpha=0.65,
            )
    return image
