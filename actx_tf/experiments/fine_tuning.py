"""Trains ActX end to end: the backbone is trained along with the attention."""

import dataclasses
import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from actx_tf import training
from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.inception_i3d import InceptionI3D
from actx_tf.data.clip_index import Clip
from actx_tf.data.clip_index import class_names_of
from actx_tf.data.clip_index import read_clip_index
from actx_tf.data.pairs import make_evaluation_dataset
from actx_tf.data.pairs import make_pair_dataset
from actx_tf.data.video import VideoError
from actx_tf.data.video import read_clip
from actx_tf.experiments import run_folder
from actx_tf.models import ActX
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.utils.checks import check_not_negative
from actx_tf.utils.checks import check_positive
from actx_tf.utils.optional import import_optional

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FineTuningSettings:
    """How ActX and an I3D are trained on video files.

    Attributes:
        index: Path of the clip index (CSV).
        conjugates_column: The index's column of conjugates. Defaults to
            `"conjugates"`.
        background: Labels that show no action: they get no conjugates. Defaults
            to none.
        weights: Weights of `InceptionI3D`: see there. Defaults to random ones.
        frozen: What the names of layers begin with that are not trained.
            Defaults to all before `Mixed_5`.
        size: (height, width) of the frames. Defaults to `(224, 224)`.
        frame_rate: Frames per second. Defaults to `25`.
        crop_frames: Frames of a training crop. Defaults to `64`.
        batch_size: Pairs in a batch. Defaults to `4`.
        epochs: Number of epochs. Defaults to `10`.
        learning_rate: Of the head. Defaults to `1e-3`.
        backbone_learning_rate: Of the backbone. Defaults to `1e-5`.
        seed: Seed of all that is random. Defaults to `0`.
        deterministic: Whether the same call gives the same weights on the same
            machine. Defaults to `True`.

    Raises:
        ValueError: If a number is out of range.
    """

    index: str
    conjugates_column: str = "conjugates"
    background: tuple[str, ...] = ()
    weights: str | None = None
    frozen: tuple[str, ...] = ("Conv3d_1a", "Conv3d_2", "Mixed_3", "Mixed_4")
    size: tuple[int, int] = (224, 224)
    frame_rate: float = 25.0
    crop_frames: int = 64
    batch_size: int = 4
    epochs: int = 10
    learning_rate: float = 1e-3
    backbone_learning_rate: float = 1e-5
    seed: int = 0
    deterministic: bool = True

    def __post_init__(self) -> None:
        for name in ("crop_frames", "batch_size", "epochs"):
            check_positive(name, getattr(self, name))
        for name in ("learning_rate", "backbone_learning_rate", "seed"):
            check_not_negative(name, getattr(self, name))
        for name in ("background", "frozen", "size"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.size) != 2 or min(self.size) < 32:
            raise ValueError(
                "`size` must be (height, width), of at least 32 each. "
                f"Received: size={self.size}"
            )


def fine_tune(
    settings: FineTuningSettings, output: str | os.PathLike
) -> tuple[ActX, dict[str, list[float]]]:
    """Trains ActX end to end on the clips of an index.

    The clips' frames are held in memory. Of each clip a random stretch is shown
    in training, and all of it in testing. Batch normalization keeps its
    statistics everywhere.

    Writes to `output`: `settings.json`, `actx.keras`, `history.csv`,
    `tensorboard/` and `checkpoint.npz`. The same call goes on after the last
    epoch, also with more epochs.

    Args:
        settings: The settings.
        output: Path of the folder.

    Returns:
        The model and its history.

    Raises:
        ValueError: If a setting or a file is wrong, or `output` was begun with
            other settings.
        OSError: If a file is missing, or cannot be written.
        FloatingPointError: If a loss is not finite.
        ImportError: If tqdm is missing.
    """
    import_optional("tqdm", "Training")
    from tqdm.keras import TqdmCallback

    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(settings.seed)
    output = Path(output)
    index = read_clip_index(settings.index, settings.conjugates_column)
    backbone = _make_backbone(settings)
    frames = read_frames(index, backbone)
    clips = [clip for clip in index if clip.clip in frames]
    seen = [clip for clip in clips if clip.split == "train"]
    unseen = [clip for clip in clips if clip.split == "test"]
    names = class_names_of(seen)
    make_pairs = functools.partial(
        make_pair_dataset,
        frames,
        seen,
        names,
        settings.crop_frames,
        settings.batch_size,
        background=settings.background,
        seed=settings.seed,
    )
    make_pairs()  # what is wrong is reported before anything is written
    per_step = _to_masks_of_steps(backbone.description.frames_per_step)
    whole = None
    if unseen:
        whole = make_evaluation_dataset(
            frames, unseen, names, settings.batch_size
        ).map(per_step)
    run_folder.keep_settings(
        output, dataclasses.asdict(settings), free=["epochs"]
    )
    model = ActX(len(names), backbone=backbone, class_names=names)
    model.compile(
        optimizer=_make_optimizer(backbone, settings),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = training.fit(
        model,
        lambda **which: make_pairs(**which).map(per_step),
        settings.epochs,
        validation_data=whole,
        callbacks=[
            TqdmCallback(verbose=0),
            run_folder.HistoryFile(output / "history.csv"),
            keras.callbacks.TensorBoard(str(output / "tensorboard")),
        ],
        checkpoint=output / "checkpoint.npz",
        bad_batch=output / "bad_batch.npz",
    )
    with atomic_write(output / "actx.keras") as draft:
        model.save(draft)
    return model, history


def read_frames(
    clips: Sequence[Clip], backbone: Backbone
) -> dict[str, np.ndarray]:
    """Reads clips as their backbone sees them; those that cannot be are logged.

    Args:
        clips: The clips.
        backbone: The backbone.

    Returns:
        The frames of each clip that can be read, by name.
    """
    tqdm = import_optional("tqdm", "Reading clips")
    frames = {}
    for clip in tqdm.tqdm(clips, unit="clip"):
        try:
            frames[clip.clip], _ = read_clip(
                clip.file,
                **backbone.description.sampling,
                start=clip.start,
                end=clip.end,
                box=clip.box,
            )
        except VideoError as error:
            _LOG.warning("left out: %s", error)
    return frames


def _make_backbone(settings):
    backbone = InceptionI3D(
        include_top=False,
        weights=settings.weights,
        input_shape=(None, *settings.size, 3),
        frame_rate=settings.frame_rate,
    )
    layers = [layer for layer in backbone.network.layers if layer.weights]
    for prefix in settings.frozen:
        if not any(layer.name.startswith(prefix) for layer in layers):
            raise ValueError(
                "`frozen` must be what names of layers begin with. "
                f"Received: {prefix!r}"
            )
    for layer in layers:
        layer.trainable = not (
            isinstance(layer, keras.layers.BatchNormalization)
            or layer.name.startswith(settings.frozen)
        )
    return backbone


def _make_optimizer(backbone, settings):
    """Adam with one learning rate for the backbone and one for the head."""
    slow = keras.optimizers.Adam(settings.backbone_learning_rate)
    paths = [variable.path for variable in backbone.trainable_variables]
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.Adam(settings.learning_rate),
            dict.fromkeys(paths, slow),
        )
    )


def _to_masks_of_steps(frames_per_step):
    """Makes of the masks of frames those of the backbone's steps."""

    def per_step(inputs, label):
        masks = {
            key: inputs[key][:, ::frames_per_step]
            for key in inputs
            if "mask" in key
        }
        return {**inputs, **masks}, label

    return per_step
