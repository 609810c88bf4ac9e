"""Untrimmed videos, of which people noted what happens when."""

import dataclasses
import math
import os
import re
from collections.abc import Collection

from actx_tf.data.annotations.folder import LeftOut
from actx_tf.data.annotations.parsing import BACKGROUND
from actx_tf.data.clip_index import Clip
from actx_tf.data.conjugates import add_stretches
from actx_tf.data.video import VideoError
from actx_tf.data.video import video_duration
from actx_tf.segments import Segment
from actx_tf.utils.checks import check_not_negative

UNLABELLED = (BACKGROUND, "conjugates")
# Of a video in which an action is somewhere, and nobody knows where.
ALL = (0.0, math.inf)


@dataclasses.dataclass(frozen=True)
class UntrimmedVideo:
    """A video, and what happens in it.

    Attributes:
        name: Name of the video, unique in its data set.
        file: Path of the video file.
        split: Name of its split: `"train"`, `"validation"` or `"test"`.
        segments: What happens, from when to when.
        unsure: Stretches that may show an action or not, (start, end) in
            seconds: they are nobody's background.
        duration: Its length in seconds; None if the annotations do not tell.
        source: Name of what it was recorded from, such as a person. Defaults
            to `""`: the video itself.
    """

    name: str
    file: str
    split: str
    segments: tuple[Segment, ...]
    unsure: tuple[tuple[float, float], ...] = ()
    duration: float | None = None
    source: str = ""


@dataclasses.dataclass(frozen=True)
class UntrimmedVideos:
    """The videos of a data set, as truth and as clips.

    Attributes:
        videos: The videos.
        left_out: What the annotations hold and no clip is made of.
    """

    videos: tuple[UntrimmedVideo, ...]
    left_out: tuple[LeftOut, ...] = ()

    def truth(self, split: str) -> dict[str, list[Segment]]:
        """Returns the segments of each video of a split, by its name.

        What `actx_tf.metrics.mean_average_precision_of_segments` takes.

        Args:
            split: Name of the split.

        Raises:
            ValueError: If no video is of the split.
        """
        truth = {
            video.name: list(video.segments)
            for video in self.videos
            if video.split == split
        }
        if not truth:
            splits = sorted({video.split for video in self.videos})
            raise ValueError(
                f"`split` must be one of {splits}. Received: split={split!r}"
            )
        return truth

    def only(self, class_names: Collection[str]) -> "UntrimmedVideos":
        """Returns the same videos with the segments of some classes alone.

        What shows other classes is unlabelled then.

        Args:
            class_names: Names of the classes.

        Raises:
            ValueError: If no segment is of one of them.
        """
        known = {x.label for video in self.videos for x in video.segments}
        if not class_names or (set(class_names) - known):
            raise ValueError(
                f"`class_names` must be some of {sorted(known)}. "
                f"Received: class_names={class_names!r}"
            )
        return dataclasses.replace(
            self,
            videos=tuple(
                dataclasses.replace(
                    video,
                    segments=tuple(
                        x for x in video.segments if x.label in class_names
                    ),
                )
                for video in self.videos
            ),
        )

    def clips(
        self, unlabelled: str | None = None, min_seconds: float = 0.5
    ) -> list[Clip]:
        """Returns a clip of each segment, and of what is around if asked for.

        Clips can overlap, as segments do; segments without any length are
        none. What is unlabelled is where no segment is, nor what is `unsure`.
        The files of videos whose annotations do not tell how long they are are
        read for it; where one is missing or broken, what comes after its last
        segment is not taken.

        Args:
            unlabelled: What to make of unlabelled stretches. `"background"`:
                each is a clip of that class. `"conjugates"`: those that touch
                a clip of the split `train` are its conjugates, as long as it
                at most, as `conjugates_before_and_after` makes them. Defaults
                to `None`: nothing.
            min_seconds: Unlabelled stretches that are shorter are not taken.
                Defaults to `0.5`.

        Returns:
            A list of `Clip`, such as `Long_jump_video_test_0000062_1.5_4.0`,
            video by video. `extra` holds `scene`, the video's name.

        Raises:
            ImportError: If files must be read, and PyAV is missing.
            ValueError: If an argument is wrong.
        """
        if unlabelled not in (None, *UNLABELLED):
            raise ValueError(
                f"`unlabelled` must be None or one of {UNLABELLED}. "
                f"Received: unlabelled={unlabelled!r}"
            )
        check_not_negative("min_seconds", min_seconds)
        clips = []
        for video in self.videos:
            # A segment that is noted twice is one.
            segments = [
                x for x in dict.fromkeys(video.segments) if x.end > x.start
            ]
            made = [_to_clip(video, x.label, x.start, x.end) for x in segments]
            if unlabelled is None:
                clips += made
                continue
            end = _duration(video)
            if unlabelled == BACKGROUND:
                made += [
                    _to_clip(video, BACKGROUND, *gap)
                    for gap in _gaps(video, end)
                    if gap[1] - gap[0] >= min_seconds
                ]
                clips += sorted(made, key=lambda clip: clip.start)
                continue
            for segment, clip in zip(segments, made, strict=True):
                span = segment.start, segment.end
                others = [*video.unsure]
                others += [(x.start, x.end) for x in segments if x != segment]
                rows = []
                if video.split == "train":
                    rows = add_stretches(
                        clip, span, (0.0, end), others, min_seconds
                    )
                clips += rows or [clip]
        return clips


def _gaps(video, end):
    """Yields the stretches of a video that nothing covers, from 0 to `end`."""
    covered = [(x.start, x.end) for x in video.segments]
    last = 0.0
    for start, stop in sorted([*covered, *video.unsure, (end, end)]):
        if last < (start := min(start, end)):
            yield last, start
        last = max(last, stop)


def _duration(video):
    """Returns where a video ends; where its last segment does if unknown."""
    if video.duration is not None:
        return video.duration
    try:
        # Clips have thousandths of a second; not one after the end.
        return math.floor(1000 * video_duration(video.file)) / 1000
    except VideoError:
        return max((x.end for x in video.segments), default=0.0)


def _to_clip(video, label, start, end):
    name = re.sub(r"[^\w.-]+", "_", f"{label}_{video.name}_{start}_{end}")
    return Clip(
        clip=name,
        file=os.fspath(video.file),
        label=label,
        split=video.split,
        start=start,
        end=end,
        source=video.source or video.name,
        extra={"scene": video.name},
    )
