"""Films of clips beside their maps."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from actx_tf.data.shown_frames import shrunk
from actx_tf.data.video import ClipFrames
from actx_tf.data.video_writing import write_video
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.utils.checks import check_above_zero
from actx_tf.utils.optional import import_optional
from actx_tf.visualization.overlays import Centers
from actx_tf.visualization.overlays import blend
from actx_tf.visualization.overlays import check_video
from actx_tf.visualization.overlays import map_colors
from actx_tf.visualization.overlays import shares_of_frames

if TYPE_CHECKING:
    from actx_tf.prediction import Timeline

_MOST_GIF_FRAMES = 15  # a second: more double the file and show little


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
        video: Frames, uint8 `(frames, height, width, 3)`.
        action_map: `(time, height, width)`, S of the clip.
        context_map: The same for C.
        frame_rate: Frames per second of `video`.
        centers: Of the maps' locations, as `location_centers` gives them.
            Defaults to `None`: those of equal cells.
        title: Title above the frames. Defaults to `""`.
        side: Longer side of each of the three pictures, in pixels. Defaults
            to `None`: 240 in a GIF and 480 in an MP4.

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
    check_above_zero("frame_rate", frame_rate, "frames per second")
    check_video(video)
    if write is _write_gif and frame_rate > _MOST_GIF_FRAMES:
        count = max(1, round(len(video) * _MOST_GIF_FRAMES / frame_rate))
        # Each shows the middle of its time, as the maps are resized.
        chosen = (np.arange(count) + 0.5) * len(video) / count
        frame_rate *= count / len(video)
        video = video[chosen.astype(int)]
    side = side or (240 if write is _write_gif else 480)
    frames = _side_by_side(
        video,
        video.shape[:3],
        (action_map, context_map),
        centers,
        [title] * len(video) if title else (),
        side,
    )
    write(path, frames, frame_rate)


def save_timeline_video(
    path: str | os.PathLike,
    timeline: "Timeline",
    video: str | os.PathLike,
    start: float = 0.0,
    end: float | None = None,
    side: int = 480,
) -> None:
    """Writes a video of any length beside its maps over time, as MP4.

    As `save_attention_video`, but the frames are read as they are drawn. Above
    each stands the class that is surest then, and its score.

    Args:
        path: Path of the file, `.mp4`. It is written whole or not at all.
        timeline: What `VideoPredictor.timeline` returned of the video.
        video: Path of the video file.
        start: Where in the file the clip begins, as it was for the timeline.
            Defaults to `0.0`.
        end: Where it ends. Defaults to `None`: the end of the file.
        side: Longer side of each of the three pictures, in pixels. Defaults
            to `480`.

    Raises:
        VideoError: If the video cannot be read.
        ValueError: If the timeline has no maps, or the path does not end in
            `.mp4`.
        ImportError: If a package for it is not installed.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"`path` must end in .mp4. Received: path={path}")
    if timeline.action_map is None or timeline.context_map is None:
        raise ValueError(
            "`timeline` must have maps. Received: that of a model without, or "
            "of one that sees windows by themselves"
        )
    rate = timeline.frame_rate
    sampling: dict[str, Any] = {
        "num_frames": timeline.num_frames,
        "start": start,
        "end": end,
    }
    first = next(iter(ClipFrames(video, **sampling)))
    size = shrunk(first.shape[:2], side)
    seconds = start + (np.arange(timeline.num_frames) + 0.5) / rate
    steps = np.searchsorted(timeline.times, seconds, side="right") - 1
    surest = [
        f"{timeline.class_names[scores.argmax()]} ({scores.max():.2f})"
        for scores in timeline.scores
    ]
    images = _side_by_side(
        ClipFrames(video, size=size, **sampling),
        (timeline.num_frames, *size),
        (timeline.action_map, timeline.context_map),
        timeline.centers,
        [surest[min(step, len(surest) - 1)] for step in steps],
        side,
    )
    _write_mp4(path, images, rate)


def _side_by_side(video, size, maps, centers, titles, longest) -> Iterator:
    """Yields images: frame, action and context in a row, a legend below."""
    Image = import_optional("PIL.Image", "Writing films")
    ImageDraw = import_optional("PIL.ImageDraw", "Writing films")
    ImageFont = import_optional("PIL.ImageFont", "Writing films")
    scale = longest / max(size[1:])
    height, width = (max(1, round(scale * n)) for n in size[1:])
    gap, line = 8, 22
    top = gap + (line if titles else 0)
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
    shares = [shares_of_frames(values, size, centers) for values in maps]
    titles = titles or itertools.repeat("", size[0])
    for title, frame, *values in zip(titles, video, *shares, strict=True):
        draw.rectangle((0, 0, canvas.width, top - 1), "white")
        draw.text((gap, gap // 2), title, "black", font)
        images = [frame, *(blend(frame, share) for share in values)]
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
    with atomic_write(path) as draft:
        indexed[0].save(
            draft,
            format="GIF",
            save_all=True,
            append_images=indexed[1:],
            duration=durations.tolist(),
            loop=0,
        )


def _common_palette(images):
    Image = import_optional("PIL.Image", "Writing films")
    chosen = images[:: max(1, len(images) // 8)]
    # Of each, a sixteenth of the pixels: all of them would take seconds.
    width, height = (-(-side // 4) for side in images[0].size)
    sheet = Image.new("RGB", (width, height * len(chosen)))
    for k, image in enumerate(chosen):
        part = image.resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(part, (0, k * height))
    # What is small and rare, such as the action, keeps its color.
    return sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE)


def _write_mp4(path, images, frame_rate):
    # Of the size that is usual on the web, since these are looked at.
    frames = map(np.asarray, images)
    write_video(path, frames, frame_rate, encoding={"crf": "20"})
