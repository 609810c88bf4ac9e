"""Attention maps over the frames that they belong to.

Maps are drawn as a share of their largest value in the clip, on one scale of
colors; where a map is small, the frame shows through. A value is drawn at the
center of what its location of the feature map sees (see `location_centers`),
in space and in time; in between, maps are interpolated linearly, and what lies
outside of the centers has the value of the nearest. Time is interpolated as
space is: a step sees far more frames than those that it covers, so maps that
jumped from step to step would show borders that are none.
"""

import os
from collections.abc import Iterator
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from actx_tf.backbones.receptive_field import location_centers
from actx_tf.utils.atomic_write import atomic_write

_COLORS = "inferno"
_OPACITY = 0.8
_MOST_GIF_FRAMES = 15  # a second: more double the file and show little

Centers = tuple[np.ndarray, np.ndarray, np.ndarray]


def resize_map(
    attention_map: np.ndarray,
    size: Sequence[int],
    centers: Centers | None = None,
) -> np.ndarray:
    """Resizes a map to the frames of a clip.

    Args:
        attention_map: `(time, height, width)`.
        size: (frames, height, width) of the clip, at any frame rate.
        centers: Of the map's locations, as `location_centers` gives them.
            Defaults to those of equal cells.

    Returns:
        Float32 array `(frames, height, width)`.

    Raises:
        ValueError: If `attention_map`, `size` and `centers` do not fit.
    """
    time, *space = _weights(attention_map, size, centers)
    values = np.asarray(attention_map, np.float32)
    return np.stack([_at_frame(values, row, space) for row in time])


def overlay_attention(
    video: np.ndarray,
    attention_map: np.ndarray,
    centers: Centers | None = None,
    opacity: float = _OPACITY,
) -> np.ndarray:
    """Draws a map over the frames of a clip.

    Args:
        video: uint8 `(frames, height, width, 3)`, at any size and frame rate.
        attention_map: `(time, height, width)`: S, C, or any other map that is
            not negative.
        centers: Of the map's locations, as `location_centers` gives them.
            Defaults to those of equal cells.
        opacity: In [0, 1]: how much of a frame the map's largest value
            hides. Defaults to 0.8.

    Returns:
        uint8 array like `video`.

    Raises:
        ValueError: If an argument is wrong.
    """
    _check_video(video)
    if not 0 <= opacity <= 1:
        raise ValueError(
            f"`opacity` must be in [0, 1]. Received: opacity={opacity}"
        )
    frames = _overlay(video, attention_map, centers, opacity)
    return np.stack(list(frames))


def attention_figure(
    videos: Sequence[np.ndarray],
    action_maps: Sequence[np.ndarray],
    context_maps: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    centers: Sequence[Centers] | None = None,
    max_steps: int = 8,
):
    """Draws clips with their action and context maps, as in Fig. 3.

    Three rows a clip: the frame in the middle of what a feature step sees, the
    action map over it, and the context map over it.

    Args:
        videos: Sequence of uint8 arrays `(frames, height, width, 3)`.
        action_maps: Sequence of arrays `(time, height, width)`, S of each
            clip.
        context_maps: The same for C.
        titles: Optional sequence of strings, one a clip.
        centers: Optional sequence of the centers of each clip's locations, as
            `location_centers` gives them. Defaults to equal cells.
        max_steps: Most steps to draw of a clip; of longer clips so many are
            chosen evenly. Defaults to 8.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it.

    Raises:
        ValueError: If the sequences are empty or differ in length, or a clip
            is not a uint8 video.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

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
        _check_video(video)
    titles = titles or [""] * len(videos)
    steps = min(max_steps, max(len(maps) for maps in action_maps))
    columns = min(2, len(videos)) if steps <= 4 else 1
    rows = -(-len(videos) // columns)
    height, width = np.mean([video.shape[1:3] for video in videos], axis=0)
    cell = 1.25 * np.sqrt(np.array((height, width)) / np.sqrt(height * width))
    cell_height, cell_width = cell
    panel = (steps * cell_width + 0.3, 3 * cell_height + 0.45)
    figure = Figure(
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
        ScalarMappable(cmap=_COLORS),
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
):
    """Plots when a clip's action happens.

    The share of each step in the sum of the action map, over the time around
    which the step sees; they sum to 100 percent. A broken line tells what each
    would have if nothing stood out.

    Args:
        action_map: `(time, height, width)`, S of a clip.
        seconds: Length of the clip.
        centers: Of the map's locations, as `location_centers` gives them.
            Defaults to those of equal cells.
        video: Optional uint8 `(frames, height, width, 3)`; some of the frames
            are drawn below.
        title: Defaults to none.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it.

    Raises:
        ValueError: If `action_map` is not a map.
    """
    from matplotlib.figure import Figure

    action_map = _check_map(action_map)
    if centers is None:
        centers = location_centers(None, action_map.shape)
    shares = action_map.sum(axis=(1, 2))
    shares = 100 * shares / max(float(shares.sum()), 1e-12)
    figure = Figure(figsize=(8, 3), dpi=100, layout="constrained")
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


def save_attention_video(
    path: str | os.PathLike,
    video: np.ndarray,
    action_map: np.ndarray,
    context_map: np.ndarray,
    frame_rate: float,
    centers: Centers | None = None,
    title: str = "",
    side: int | None = None,
) -> None:
    """Writes a clip beside its action and context maps as a GIF or an MP4.

    Frame, action and context stand side by side, over the bar of their
    colors. MP4 is H.264 in 4:2:0, which browsers play. A GIF has at most 15
    frames a second and lasts as long as the clip.

    Args:
        path: Path of the file, `.gif` or `.mp4`. It is written whole or not
            at all.
        video: uint8 `(frames, height, width, 3)`.
        action_map: `(time, height, width)`, S of the clip.
        context_map: The same for C.
        frame_rate: Frames per second of `video`.
        centers: Of the maps' locations, as `location_centers` gives them.
            Defaults to those of equal cells.
        title: Defaults to none.
        side: Longer side of each of the three pictures, in pixels. Defaults
            to 240 in a GIF and 480 in an MP4.

    Raises:
        ValueError: If an argument is wrong.
        ImportError: If PyAV is needed and not installed.
    """
    path = Path(path)
    writers = {".gif": _write_gif, ".mp4": _write_mp4}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise ValueError(
            f"`path` must end in {' or '.join(writers)}. Received: path={path}"
        )
    if not 0 < frame_rate < float("inf"):
        raise ValueError(
            "`frame_rate` must be positive and finite (frames per second). "
            f"Received: frame_rate={frame_rate}"
        )
    _check_video(video)
    if write is _write_gif and frame_rate > _MOST_GIF_FRAMES:
        count = max(1, round(len(video) * _MOST_GIF_FRAMES / frame_rate))
        # Each shows the middle of its time, as the maps are resized.
        chosen = (np.arange(count) + 0.5) * len(video) / count
        frame_rate *= count / len(video)
        video = video[chosen.astype(int)]
    side = side or (240 if write is _write_gif else 480)
    frames = _side_by_side(
        video, (action_map, context_map), centers, title, side
    )
    with atomic_write(path) as draft:
        write(draft, frames, frame_rate)


def map_colors() -> np.ndarray:
    """Returns the scale that maps are drawn with: uint8 `(256, 3)`, RGB."""
    # Imported late: all but drawing works without it.
    try:
        from matplotlib import colormaps
    except ImportError as error:
        raise ImportError(
            "Drawing maps takes matplotlib: pip install actx_tf[video]"
        ) from error
    return colormaps[_COLORS](np.arange(256), bytes=True)[:, :3]


def _weights(attention_map, size, centers):
    """Interpolation along each axis, matrices `(new size, old size)`."""
    shape = _check_map(attention_map).shape
    if len(size) != 3 or min(size) < 1:
        raise ValueError(
            "`size` must be (frames, height, width), all positive. "
            f"Received: size={tuple(size)}"
        )
    if centers is None:
        centers = location_centers(None, shape)
    if tuple(map(len, centers)) != shape:
        raise ValueError(
            f"`centers` must be those of a map of the shape {shape}. "
            f"Received: centers of {tuple(map(len, centers))} locations"
        )
    matrices = []
    for count, middles in zip(size, centers, strict=True):
        places = (np.arange(count) + 0.5) / count
        rows = [np.interp(places, middles, x) for x in np.eye(len(middles))]
        matrices.append(np.stack(rows, axis=1).astype(np.float32))
    return matrices


def _at_frame(values, row, space):
    height, width = space
    return height @ np.tensordot(row, values, axes=1) @ width.T


def _overlay(video, attention_map, centers, opacity=_OPACITY):
    """Yields the frames with the map over them."""
    time, *space = _weights(attention_map, video.shape[:3], centers)
    values = np.asarray(attention_map, np.float32)
    values = values / max(float(values.max()), 1e-12)
    for frame, row in zip(video, time, strict=True):
        yield _blend(frame, _at_frame(values, row, space), opacity)


def _blend(frame, share, opacity):
    colors = map_colors()[np.rint(255 * np.clip(share, 0, 1)).astype(int)]
    alpha = opacity * share[..., None]
    return np.rint(frame + alpha * (colors - frame.astype(np.float32))).astype(
        np.uint8
    )


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
        _, *space = _weights(values, video.shape[:3], centers)
        values = values / max(float(values.max()), 1e-12)
        rows.append(
            [
                _blend(
                    video[frame], space[0] @ values[step] @ space[1].T, _OPACITY
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


def _side_by_side(video, maps, centers, title, longest) -> Iterator:
    """Yields images: frame, action and context in a row, a legend below."""
    from PIL import Image
    from PIL import ImageDraw
    from PIL import ImageFont

    scale = longest / max(video.shape[1:3])
    height, width = (max(1, round(scale * n)) for n in video.shape[1:3])
    gap, line = 8, 22
    top = gap + (line if title else 0)
    canvas = Image.new(
        "RGB",
        # 4:2:0 takes even sizes.
        tuple(
            side + side % 2
            for side in (3 * width + 4 * gap, top + height + 2 * line + gap)
        ),
        "white",
    )
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(13)
    places = [(gap + k * (width + gap), top) for k in range(3)]
    draw.text((gap, gap // 2), title, "black", font)
    for (x, y), name in zip(
        places, ("frame", "action", "context"), strict=True
    ):
        draw.text((x, y + height + 3), name, "black", font)
    bar = Image.fromarray(map_colors()[None]).resize((2 * width + gap, 10))
    (x, _), below = places[1], top + height + line
    canvas.paste(bar, (x, below))
    draw.text((x, below + 10), "0", "black", font)
    draw.text(
        (x + bar.width, below + 10), "largest value", "black", font, anchor="ra"
    )
    overlays = [_overlay(video, values, centers) for values in maps]
    for images in zip(video, *overlays, strict=True):
        for image, place in zip(images, places, strict=True):
            image = Image.fromarray(np.ascontiguousarray(image))
            canvas.paste(image.resize((width, height)), place)
        yield canvas.copy()


def _write_gif(path, images, frame_rate):
    first, *others = images
    # One palette of all, or colors would flicker; GIF counts hundredths.
    count = 1 + len(others)
    ends = np.rint(100 * np.arange(1, count + 1) / frame_rate).astype(int)
    durations = 10 * np.diff(ends, prepend=0)
    palette = _common_palette([first, *others])
    indexed = [image.quantize(palette=palette) for image in (first, *others)]
    indexed[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=durations.tolist(),
        loop=0,
    )


def _common_palette(images):
    from PIL import Image

    chosen = images[:: max(1, len(images) // 8)]
    width, height = images[0].size
    sheet = Image.new("RGB", (width, height * len(chosen)))
    for k, image in enumerate(chosen):
        sheet.paste(image, (0, k * height))
    # What is small and rare, such as the action, keeps its color.
    return sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE)


def _write_mp4(path, images, frame_rate):
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "Writing MP4 takes PyAV: pip install actx_tf[video]"
        ) from error
    rate = Fraction(frame_rate).limit_denominator(1000)
    with av.open(
        str(path), "w", format="mp4", options={"movflags": "+faststart"}
    ) as container:
        stream = container.add_stream("libx264", rate, options={"crf": "20"})
        stream.pix_fmt = "yuv420p"
        for number, image in enumerate(images):
            if not number:
                stream.width, stream.height = image.size
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())


def _check_map(attention_map):
    values = np.asarray(attention_map)
    if values.ndim != 3 or not values.size:
        raise ValueError(
            "`attention_map` must be (time, height, width), of one clip. "
            f"Received: a shape of {values.shape}"
        )
    return values


def _check_video(video):
    shape, dtype = np.shape(video), getattr(video, "dtype", None)
    if len(shape) != 4 or shape[-1] != 3 or not all(shape) or dtype != np.uint8:
        raise ValueError(
            "`video` must be uint8 (frames, height, width, 3). "
            f"Received: shape={shape}, dtype={dtype}"
        )
