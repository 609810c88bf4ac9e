"""Trains ActX end to end: the backbone is trained along with the attention."""

import dataclasses
import functools
import logging
import os
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from actx_tf import training
from actx_tf.backbones.backbone import Backbone
from actx_tf.data.augmentation import Augmentation
from actx_tf.data.clip_index import SPLITS
from actx_tf.data.clip_index import class_names_of
from actx_tf.data.clip_index import read_clip_index
from actx_tf.data.mixing import MIXINGS
from actx_tf.data.video_clips import find_readable
from actx_tf.data.video_pairs import Mixing
from actx_tf.data.video_pairs import make_video_dataset
from actx_tf.data.video_pairs import make_video_pair_dataset
from actx_tf.experiments import run_folder
from actx_tf.experiments.evaluation import figures_of
from actx_tf.experiments.fitting import compile_model
from actx_tf.experiments.fitting import fit
from actx_tf.experiments.fitting import make_strategy
from actx_tf.experiments.fitting import reproducible
from actx_tf.experiments.initial_model import InitialModel
from actx_tf.experiments.method_training import check_settings
from actx_tf.experiments.method_training import make_weigher
from actx_tf.experiments.methods import build_actx
from actx_tf.experiments.model_card import write_model_card
from actx_tf.experiments.run_data import Part
from actx_tf.experiments.run_data import RunClips
from actx_tf.experiments.run_data import Task
from actx_tf.experiments.run_data import labels_of
from actx_tf.experiments.tables import write_rows
from actx_tf.experiments.trained_layers import choose_trained
from actx_tf.experiments.trained_layers import make_optimizer
from actx_tf.experiments.view_scores import view_scores
from actx_tf.models import ActX
from actx_tf.settings import FINE_TUNING
from actx_tf.settings import FineTuningSettings
from actx_tf.settings import TrainingSettings
from actx_tf.utils.atomic_write import atomic_write

_LOG = logging.getLogger(__name__)
_RUN = "fine_tuning"


def fine_tune(
    data_settings: FineTuningSettings,
    settings: TrainingSettings = FINE_TUNING,
    *,
    output: str | os.PathLike,
    backbone: Callable[[], Backbone] | None = None,
    backbone_settings: Mapping[str, Any] | None = None,
    mixing: Mixing | None = None,
    strategy: str = "none",
    report: Callable[[str], None] = print,
) -> tuple[ActX | None, dict[str, float]]:
    """Trains ActX and its backbone on the clips of an index.

    Frames are read from the files as they are needed. Of each clip a random
    stretch is shown in training; batch normalization keeps its statistics.
    After each epoch the stretches in the middle of the validation clips are
    answered, and in the end the test clips, or without any those of
    validation: each as a whole, or in several views.

    Writes to `output`: `settings.json`, `history/` and `tensorboard/` (the
    logs), `actx.keras`, `scores.csv` (a row a test clip), `results.csv` and
    `model_card.md`. Interrupted, the same call goes on after the last epoch;
    with more epochs, it goes on after the end. With as many epochs as are done,
    or fewer, it ends the training there.

    Args:
        data_settings: Which clips, and how they are shown.
        settings: How the model is trained.
        output: Path of the folder.
        backbone: Function that makes the backbone; it is called within the
            strategy's scope. Defaults to `None`: the backbone is that of
            `init`.
        backbone_settings: What the backbone is made of, as JSON can hold it.
            It is kept with the other settings. Defaults to none.
        mixing: As in `make_video_pair_dataset`, in the place of that of the
            settings. Defaults to none.
        strategy: As of `make_strategy`. Defaults to `"none"`.
        report: Function of a line of what is done. Defaults to `print`.

    Returns:
        The model and its figures; of a worker that is not the chief, `None` and
        none.

    Raises:
        ValueError: If a setting or a file is wrong, they do not fit together,
            or `output` was begun with other settings.
        OSError: If a file is missing, or cannot be written.
        FloatingPointError: If a loss is not finite.
        ConnectionError: If another worker was lost.
        ImportError: If tqdm is missing.
    """
    devices = make_strategy(strategy)
    is_chief = training.is_chief(devices)
    index = read_clip_index(
        data_settings.index, data_settings.conjugates_column
    )
    with reproducible(settings, data_settings.seed):
        with devices.scope():
            initial, network = _load(data_settings, settings, backbone)
        data, make_training, make_validation, videos = _read(
            data_settings, index, network, mixing, report
        )
        # What is wrong is reported before anything is written.
        check_settings(settings, data)
        weigh = make_weigher(settings, data)
        make_training = _weighed(make_training, weigh)
        make_validation = _weighed(make_validation, weigh)
        make_training(epoch=0)
        _check_shares(data, devices.num_replicas_in_sync)
        if is_chief:
            run_folder.keep_settings(
                output,
                {
                    **{
                        f"backbone {name}": value
                        for name, value in (backbone_settings or {}).items()
                    },
                    "mixing function": (
                        getattr(mixing, "__qualname__", "yes")
                        if mixing
                        else None
                    ),
                    **dataclasses.asdict(data_settings),
                    **dataclasses.asdict(settings),
                },
                paths=("index", "init", "backbone name", "backbone weights"),
                free=["epochs", "temporal_views", "spatial_views"],
            )
        with devices.scope():
            model = build_actx(data.task, settings, network)
            model.build(network.input_shape)
            if initial is not None:
                for sentence in initial.give_to(model):
                    report(sentence)
            optimizer = make_optimizer(
                model,
                settings.learning_rate,
                data_settings.backbone_rate,
                data_settings.layer_decay,
            )
            clips = [data.training]
            if data.validation is not None:
                clips.append(data.validation.clips)
            compile_model(
                model,
                data.task,
                settings,
                max(map(len, clips)),
                optimizer,
            )
        report(_trained_share(network))
        fit(
            model,
            make_training,
            settings.epochs,
            output,
            _RUN,
            make_validation=make_validation,
            patience=settings.patience,
            resumable=True,
        )
        if not is_chief:
            return None, {}
        # Without the replicas, and without the optimizer: that of a backbone
        # knows its weights by names that differ once the model is loaded.
        trained = model
        _, network = _load(data_settings, settings, backbone)
        model = build_actx(data.task, settings, network)
        model.build(network.input_shape)
        model.set_weights(trained.get_weights())
        model.rename_trained_backbone()
        with atomic_write(Path(output) / "actx.keras") as draft:
            model.save(draft)
        scores = view_scores(
            model,
            [videos[clip.clip] for clip in data.test.clips],
            crop_frames=_crop_frames(data_settings, network),
            temporal_views=data_settings.temporal_views,
            spatial_views=data_settings.spatial_views,
        )
    return model, _write_figures(
        model, data, settings, scores, output, data_settings.seed
    )


def _load(settings, training_settings, make):
    """Returns the model to begin with, if any, and the backbone."""
    initial = None
    if settings.init is not None:
        initial = InitialModel(settings.init)
    backbone = initial and initial.backbone
    if (backbone is None) == (make is None):
        has = "no" if backbone is None else "a"
        raise ValueError(
            "`backbone` must be given, unless `init` has one, which then is "
            f"the backbone. Received: init={settings.init}, with {has} backbone"
        )
    if backbone is None:
        backbone = make()
    if initial is not None:
        initial.check(backbone, training_settings)
    # What is loaded from a file has the policy that it was saved with.
    for layer in backbone._flatten_layers():
        layer.dtype_policy = keras.config.dtype_policy()
    choose_trained(backbone, settings.frozen)
    if settings.recompute:
        backbone.recompute_activations()
    return initial, backbone


def _check_shares(data, devices):
    """Refuses batches of which a device gets no clip, or not its part.

    TensorFlow's convolutions of no clips fail.
    """
    size = data.settings.batch_size
    counts = [len(data.training)]
    if data.validation is not None:
        counts.append(len(data.validation.clips))
    for count in counts:
        rest = count % size
        if (
            size % devices
            or 0 < rest < devices
            or count < size
            and (rest % devices)
        ):
            raise ValueError(
                f"`batch_size` must be a multiple of {devices}, the number of "
                "devices, and leave no fewer clips than that for the last "
                f"batch. Received: batch_size={size}, and {count} clips"
            )


def _crop_frames(settings, backbone):
    return backbone.description.num_frames or settings.crop_frames


def _whole_steps(frames, description):
    """As many frames or more, which fill the steps that they begin."""
    stride = description.frames_per_step
    return max(-(-frames // stride) * stride, description.time.least_size(1))


def _read(settings, index, backbone, mixing, report):
    """Returns the clips, and functions that make batches of them."""
    description = backbone.description
    shown = {x for c in index if c.split == "train" for x in c.conjugates}
    needed = [c for c in index if c.split in SPLITS or c.clip in shown]
    videos, failed = find_readable(needed, description)
    for clip, message in failed:
        _LOG.warning("left out: %s: %s", clip.clip, message)
    report(f"clips: {len(videos)} of {len(needed)} can be read")
    splits = {
        split: [c for c in index if c.split == split and c.clip in videos]
        for split in SPLITS
    }
    tested = splits["test"] or splits["validation"]
    if not splits["train"] or not tested:
        raise ValueError(
            f"{settings.index}: clips of the splits 'train' and 'test' are "
            f"expected that can be read. Received: {len(splits['train'])} of "
            f"'train', {len(tested)} of 'test' or 'validation'"
        )
    names = class_names_of(
        [clip for clip in index if clip.clip in videos], settings.multi_label
    )
    crop_frames = _crop_frames(settings, backbone)
    # No more than the longest clip fills: the rest would be masked.
    if description.num_frames is None:
        longest = max(video.frames for video in videos.values())
        most = _whole_steps(longest, description)
        if crop_frames > most:
            report(f"crop_frames: {most}, for no clip is longer")
            crop_frames = most
    shared = {
        "class_names": names,
        "description": description,
        "crop_frames": crop_frames,
        "batch_size": settings.batch_size,
        "multi_label": settings.multi_label,
    }
    make_training = functools.partial(
        make_video_pair_dataset,
        videos,
        splits["train"],
        **shared,
        augmentation=Augmentation(
            settings.flip, settings.smallest_crop, settings.color
        ),
        sided=settings.sided,
        mixing=mixing or MIXINGS.get(settings.mixing),
        background=settings.background,
        seed=settings.seed,
    )

    def part(clips):
        return Part(
            clips,
            functools.partial(make_video_dataset, videos, clips, **shared),
            labels_of(clips, names, settings.multi_label),
            read_videos=lambda places: [],
            paired=np.array([bool(clip.conjugates) for clip in clips]),
        )

    validation = part(splits["validation"]) if splits["validation"] else None
    data = RunClips(
        settings=settings,
        task=Task(
            tuple(names),
            description.channels,
            activation="sigmoid" if settings.multi_label else "softmax",
            description=description,
            background=settings.background,
            crop_steps=description.time.count(_crop_frames(settings, backbone))
            or None,
        ),
        training=splits["train"],
        validation=validation,
        test=part(tested),
        index=index,
    )
    make_validation = validation and validation.make_dataset
    return data, make_training, make_validation, videos


def _weighed(make, weigh):
    """The same function, of batches with the weights of their classes."""
    return make and (lambda **which: weigh(make(**which)))


def _trained_share(backbone):
    trained = sum(
        int(np.prod(weight.shape)) for weight in backbone.trainable_weights
    )
    total = backbone.count_params()
    return f"trained: {trained:,} of {total:,} weights of the backbone"


def _write_figures(model, data, settings, scores, output, seed):
    """Writes the scores of each test clip, the figures and the card."""
    part, names = data.test, data.task.class_names
    output = Path(output)
    rows = []
    for clip, row in zip(part.clips, scores, strict=True):
        answer = names[int(row.argmax())]
        of_classes = {
            f"score_{name}": float(score)
            for name, score in zip(names, row, strict=True)
        }
        rows.append(
            {
                "clip": clip.clip,
                "label": clip.label,
                "answer": answer,
                **of_classes,
            }
        )
    write_rows(rows, output / "scores.csv")
    figures = figures_of(part, data.task, scores)
    write_model_card(
        output / "model_card.md",
        model,
        data,
        settings,
        seed=seed,
        scores=scores,
        context_maps=np.zeros((len(scores), 1, 1, 1)),  # no truth to compare
    )
    write_rows(
        [{"method": "ActX", "seed": seed, **figures}], output / "results.csv"
    )
    return figures
