"""A trained model together with what makes its features of a video."""

import contextlib
import math
import os
from collections.abc import Iterator
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from actx_tf.backbones.backbone import Backbone
from actx_tf.data.backbone_input import seen_frames
from actx_tf.data.compute_dtype import check_compute_dtype
from actx_tf.data.extraction import FeatureExtractor
from actx_tf.data.extraction import WindowedNetwork
from actx_tf.data.extraction import progress_bar
from actx_tf.data.video import VideoError
from actx_tf.export.served_model import check_backbone
from actx_tf.export.trained_model import ExportedModel
from actx_tf.export.trained_model import check_switch
from actx_tf.export.trained_model import load_trained
from actx_tf.export.windowed_backbone import COPIES
from actx_tf.models import load_model

# GiB. I3D then stays below 3 GiB, with all that the process holds.
MEMORY = 1.0


def check_scores(scores: np.ndarray, class_names: Sequence[str]) -> None:
    """Raises `VideoError` if the scores of a video are not finite.

    The largest of them would be an answer that means nothing.

    Args:
        scores: `(..., classes)`.
        class_names: Names of the classes.
    """
    wrong = np.argwhere(~np.isfinite(scores))
    if len(wrong):
        first = tuple(wrong[0].tolist())
        raise VideoError(
            "the model answers it with scores that are not finite: "
            f"{scores[first]} of {class_names[first[-1]]!r}"
        )


class VideoModel:
    """A trained model and its backbone: from video files to feature maps.

    Args:
        model: As in `predict_video`.
        backbone: As in `predict_video`.
        memory: As in `predict_video`.
        progress: Whether to show a bar of the frames of each video.
        compute_dtype: As in `predict_video`.
        context: As in `predict_video`.

    Attributes:
        model: The model, loaded.
        context: As given.
        network: What makes the feature maps, in windows.
        progress: As given.
        most_steps: Steps that the model takes at once.
        description: `BackboneDescription` of how videos are read.

    Raises:
        FileNotFoundError: If there is no model at the path.
        TypeError: If the backbone does not say what it sees.
        ValueError: If an argument is wrong, the model takes features and no
            backbone is given, or the backbone is not that of its features.
    """

    def __init__(
        self,
        model: keras.Model | ExportedModel | str | os.PathLike,
        backbone: Backbone | str | os.PathLike | None,
        memory: float,
        progress: bool = False,
        compute_dtype: str = "float32",
        context: str | None = None,
    ) -> None:
        if isinstance(model, (str, os.PathLike)):
            model = load_trained(model)
        if isinstance(backbone, (str, os.PathLike)):
            backbone = load_model(backbone)
        check_switch(model, context)
        self.model = model
        self.context = context
        self.network: WindowedNetwork
        most_steps: float = math.inf
        if isinstance(model, ExportedModel):
            check_compute_dtype(compute_dtype)
            if compute_dtype != "float32":
                raise ValueError(
                    "`compute_dtype` must be float32 for a SavedModel, which "
                    "computes as it was exported. "
                    f"Received: compute_dtype={compute_dtype!r}"
                )
            self.network = _exported_network(model, memory)
            most_steps = model.max_steps
            if self.network.window is None:  # it is sent whole clips
                memory = min(memory, model.memory)
        else:
            self.network = _keras_network(
                model, backbone, memory, compute_dtype
            )
        self.description = self.network.description
        self.progress = progress
        self._memory = memory
        self.most_steps = most_steps

    def class_names(self, count: int) -> list[str]:
        """Returns the names of the classes; numbers if the model has none.

        Args:
            count: Number of the scores.

        Raises:
            ValueError: If there are more or fewer names.
        """
        names = list(self.model.class_names or map(str, range(count)))
        if len(names) != count:
            raise ValueError(
                f"`model` must name its {count} classes. "
                f"Received: class_names={names}"
            )
        return names

    def check_map(self, map_shape: tuple[int, ...]) -> None:
        """Raises `VideoError` if a feature map is too large to be answered.

        Args:
            map_shape: (time, height, width).
        """
        size = 4 * self.description.channels * math.prod(map_shape)
        gibibytes = COPIES * size / 2**30
        if gibibytes > self._memory:
            raise VideoError(
                f"{map_shape[0]} steps are too many to be answered as a "
                f"whole: it would take {gibibytes:.2g} GiB, and `memory` is "
                f"{self._memory:g}. {_INSTEAD}"
            )
        if map_shape[0] > self.most_steps:
            raise VideoError(
                f"{map_shape[0]} steps are too many to be answered as a "
                f"whole: the SavedModel takes {self.most_steps} (`max_steps` "
                f"of its export). {_INSTEAD}"
            )

    def check_frames(self, clip_shape: tuple[int, ...]) -> None:
        """Raises `VideoError` if a network that sees all cannot see so many.

        Args:
            clip_shape: (frames, height, width).
        """
        if self.network.window is not None or self.description.num_frames:
            return
        bytes_per_pixel = self.description.bytes_per_pixel
        gibibytes = bytes_per_pixel * math.prod(clip_shape) / 2**30
        if gibibytes > self._memory:
            raise VideoError(
                f"more than {clip_shape[0] - 1} frames are too many: "
                f"{self.description.name} sees a clip as a whole, which would "
                f"take more than the {self._memory:g} GiB of `memory`. "
                f"{_INSTEAD}"
            )


_INSTEAD = (
    "Answer a part of it (`start`, `end`), or (shorter) windows (`segments`, "
    "`window`), or give more `memory` (to the export of a SavedModel, too)"
)


class SeenClip:
    """A clip of a video, as a model's backbone sees it, to be read once.

    Args:
        model: The model.
        video: Path of the video file.
        start: Where in the file the clip begins, in seconds.
        end: Where it ends; `None`: the end of the file.
        whole: Whether the clip must be answered as a whole: one that is too
            long for that is refused. Defaults to `False`.

    Attributes:
        shape: (frames, height, width) of what was seen so far.
        frame_rate: Frames per second; known when all frames were seen.
    """

    def __init__(
        self,
        model: VideoModel,
        video: str | os.PathLike,
        start: float,
        end: float | None,
        whole: bool = False,
    ) -> None:
        self._model = model
        self._video = video
        self._whole = whole
        self._frames = seen_frames(model.description, video, start, end)
        self._seen = 0
        self._total: int | None = None
        self._size = (0, 0)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self._seen, *self._size)

    @property
    def frame_rate(self) -> float | None:
        return self._frames.frame_rate

    def steps(self) -> Iterator[tuple[np.ndarray, int]]:
        """Yields the feature map, part by part: see `steps_in_windows`.

        Raises:
            VideoError: If the clip cannot be read, or is too long.
        """
        parts = self._model.network.steps(self._read(), self.count)
        yield from self._with_bar(parts) if self._model.progress else parts
        if self._whole:  # a clip of one window was not counted
            self._check_whole(self._seen)

    def count(self) -> int:
        """Returns the number of frames; the file is decoded for it."""
        self._total = self._frames.count()
        if self._whole:
            self._check_whole(self._total)
        return self._total

    def check_map(self, map_shape: tuple[int, ...]) -> None:
        """As that of the model, with the name of the file."""
        with self._naming():
            self._model.check_map(map_shape)

    def _with_bar(self, parts):
        with progress_bar(None, 0, True, "frame", leave=False) as bar:
            for features, done in parts:
                bar.total = self._total
                bar.update(done - bar.n)
                yield features, done

    def _check_whole(self, count):
        map_shape = self._model.description.map_shape(count, *self._size)
        self.check_map(map_shape)

    def _read(self):
        for frame in self._frames:
            self._size = frame.shape[:2]
            self._seen += 1
            with self._naming():
                self._model.check_frames(self.shape)
            yield frame

    @contextlib.contextmanager
    def _naming(self):
        try:
            yield
        except VideoError as error:
            raise VideoError(f"{os.fspath(self._video)!r}: {error}") from None


def _exported_network(model, memory):
    if not model.takes_videos:
        raise ValueError(
            "`model` must take frames: export it with the backbone that "
            "made its features (`export_saved_model(..., backbone=...)`, "
            "`actx train --backbone`), or give the .keras file and "
            f"`backbone`. Received: model={model.path}, with the "
            f"signatures {model.signatures}"
        )
    description = model.description
    window = description.frames_in_memory(memory)
    if window is not None:
        window = min(window, model.max_steps * description.frames_per_step)

    def run(frames):
        try:
            return model.features(frames)
        except tf.errors.InvalidArgumentError as error:
            raise VideoError(
                f"the SavedModel refuses {len(frames)} frames of it: "
                f"{error.message.splitlines()[0]}"
            ) from None

    return WindowedNetwork(run, description, memory=memory, window=window)


def _keras_network(model, backbone, memory, compute_dtype):
    backbone = check_backbone(backbone or model.backbone, model)
    if backbone is None:
        raise ValueError(
            "`backbone` must be given, for `model` takes feature maps and "
            "not frames: pass the network that made those it was trained "
            "on (`actx fit` writes it as backbone.keras, `actx extract "
            "--save_backbone` where you say), or a SavedModel that has it. "
            f"Received: backbone={backbone}"
        )
    return FeatureExtractor(
        backbone, memory=memory, compute_dtype=compute_dtype
    )
