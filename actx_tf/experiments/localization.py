"""Measures whether maps find where and when an action happens."""

import os
from typing import Any

import numpy as np

from actx_tf.data import synthetic
from actx_tf.data.clip_index import read_clip_index
from actx_tf.data.feature_store import FeatureStore
from actx_tf.data.masks import Masks
from actx_tf.data.tubes import draw_tubes
from actx_tf.data.tubes import masks_to_voxels
from actx_tf.data.tubes import read_tubes
from actx_tf.data.video import ClipFrames
from actx_tf.data.video import VideoError
from actx_tf.data.video import read_clip
from actx_tf.data.video import video_duration
from actx_tf.experiments.localization_figures import CHANCE
from actx_tf.experiments.localization_figures import center_map
from actx_tf.experiments.localization_figures import localization_figures
from actx_tf.export.trained_model import ExportedModel
from actx_tf.export.trained_model import answer
from actx_tf.export.trained_model import check_features
from actx_tf.export.trained_model import load_trained
from actx_tf.utils.checks import check_positive
from actx_tf.utils.checks import check_share


def localize(
    model: str | os.PathLike,
    *,
    index: str | os.PathLike | None = None,
    features: str | os.PathLike | None = None,
    boxes: str | os.PathLike | None = None,
    masks: str | os.PathLike | None = None,
    conjugates_column: str = "conjugates",
    split: str | None = None,
    test_clips: int = 100,
    share: float = 0.1,
    threshold: float = 0.5,
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Measures the maps of a model, clip by clip.

    S and 1 - C are the model's maps of action and of what is not context. The
    others are baselines that have learned nothing: the norm of the features, a
    Gaussian in the middle of the frame, and a constant map, which is chance.

    Boxes and masks of pixels are put on the grid of the feature map: see
    `masks_to_voxels`.

    Args:
        model: Path of a model with maps: see `load_trained`.
        index: Path of the clip index. Defaults to none: the test clips of the
            built-in set.
        features: Path of the clips' features. Defaults to none: the videos are
            shown to the SavedModel.
        boxes: Path of the clips' tubes: see `read_tubes`.
        masks: In place of boxes: path of an `.npz` of masks of pixels, see
            `actx_tf.data.Masks`, of the clips' frames; or of a store like that
            of the features, of one channel.
        conjugates_column: The index's column of conjugates. Defaults to
            `"conjugates"`.
        split: Of the clips. Defaults to all.
        test_clips: Clips of the built-in set. Defaults to `100`.
        share: As in `masks_to_voxels`. Defaults to `0.1`.
        threshold: As in `metrics.temporal_overlap`. Defaults to `0.5`.

    Returns:
        Rows of a clip and map each, with its figures, NaN where the clip does
        not count; and the clips left out, as (name, reason). The figures:

        - AUC: over voxels, `metrics.localization_auc`;
        - pointing: whether the largest value of each step, or of the clip, is
          in the action;
        - energy: the share of the map inside the action;
        - temporal IoU: of the action and the steps whose mean value is at least
          `threshold` of the way from the smallest to the largest;
        - temporal AUC: over the mean values of the steps.

        The last two leave out clips that act throughout.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is wrong, they do not fit together, or no clip is
            left.
    """
    if (features or boxes or masks) and index is None:
        raise ValueError(
            "`index` must go with `features`, `boxes` and `masks`. "
            f"Received: index={index}"
        )
    if index is not None and bool(boxes) == bool(masks):
        raise ValueError(
            "`boxes` or `masks` must go with `index`, one of them. "
            f"Received: boxes={boxes}, masks={masks}"
        )
    check_share("share", share)
    check_share("threshold", threshold)
    check_positive("test_clips", test_clips)
    trained = load_trained(model)
    if index is None:
        clips = _built_in_clips(trained, test_clips)
    else:
        clips = _indexed_clips(
            trained,
            [
                clip
                for clip in read_clip_index(index, conjugates_column)
                if split in (None, clip.split)
            ],
            features and FeatureStore(features),
            boxes,
            masks,
            share,
        )
    rows, left_out = [], []
    for name, maps, voxels in clips:
        if isinstance(voxels, str):
            left_out.append((name, voxels))
        elif not voxels.any():
            left_out.append((name, "no action"))
        else:
            for kind, scores in maps.items():
                figures = localization_figures(voxels, scores, threshold)
                rows.append({"clip": name, "map": kind, **figures})
    if not rows:
        raise ValueError(
            "`index` must have a clip with features and action. "
            f"Received: {len(left_out)} clips, left out for "
            f"{sorted({reason for _, reason in left_out})}"
        )
    return rows, left_out


def _add_baselines(maps, features=None):
    """Adds maps of what has learned nothing, and the constant one of chance."""
    if features is not None:
        features = np.asarray(features, "float32")
        maps["norm of features"] = np.linalg.norm(features, axis=-1)
    size = maps["S"].shape
    return {**maps, "center": center_map(size), CHANCE: np.ones(size)}


def _built_in_clips(model, test_clips):
    """Yields the name, the maps and the true voxels of each clip."""
    backbone = synthetic.backbone()
    if model.description is not None:
        if differences := model.description.differences(backbone.description):
            raise ValueError(
                "`model` must be trained on the built-in set, unless `index` "
                "is given, with `features` and `boxes` or `masks`. "
                f"Received: a model of {', '.join(differences)}"
            )
    clips = synthetic.make_part("test", test_clips)
    features = backbone.predict(clips.videos, verbose=0)
    voxels = synthetic.to_voxels(clips.actor_masks)
    for i, clip in enumerate(features):
        yield (
            str(i),
            _add_baselines(_maps(answer(model, clip)), clip),
            voxels[i],
        )


def _indexed_clips(model, clips, store, boxes, masks, share):
    """The same of an index; in place of voxels, why there are none."""
    description = _description_of(model, store)
    in_pixels = boxes is not None or os.fspath(masks).endswith(".npz")
    if in_pixels and description is None:
        raise ValueError(
            f"{store.path} does not say what made its features, so that boxes "
            "and masks of pixels cannot be put on their grid: give a store of "
            "`masks`"
        )
    if boxes:
        known = read_tubes(boxes)
    else:
        known = Masks(masks) if in_pixels else FeatureStore(masks)
    for clip in clips:
        name = clip.clip
        if name not in known:
            yield name, None, "no masks" if boxes is None else "no boxes"
        elif store is not None and name not in store:
            yield name, None, "no features"
        else:
            try:
                maps, rate, count = _attend(model, clip, store, description)
                if not in_pixels:
                    voxels = known[name][..., 0] > 0.5
                else:
                    steps = np.arange(len(maps["S"]) + 1)
                    frames = steps * description.frames_per_step
                    seconds = clip.start + np.minimum(frames, count) / rate
                    voxels = _to_voxels(clip, known[name], maps, seconds, share)
            except VideoError as error:
                yield name, None, str(error)
            else:
                yield name, maps, voxels


def _description_of(model, store):
    """Of what the model sees; it must be what the store holds."""
    if store is None:
        if not (isinstance(model, ExportedModel) and model.takes_videos):
            raise ValueError(
                "`features` must be given, unless `model` is a SavedModel that "
                "takes videos. Received: features=None"
            )
        return model.description
    check_features(model, store.description, store.path)
    return store.description


def _attend(model, clip, store, description):
    """The maps of a clip, and the rate and number of the frames seen."""
    if store is not None:
        features = store[clip.clip]
        maps = _add_baselines(_maps(answer(model, features)), features)
        attributes = store.attributes(clip.clip)
        return maps, attributes["frame_rate"], attributes["frames"]
    frames, rate = read_clip(clip.file, **description.sampling, **clip.part)
    maps = _maps(answer(model, model.features(frames)))
    return _add_baselines(maps), rate, len(frames)


def _maps(answers):
    if "action_map" not in answers:
        raise ValueError(
            "`model` must have maps, as ActX has. Received: one without"
        )
    return {
        "S": answers["action_map"],
        "1 - C": 1.0 - answers["context_map"],
    }


def _to_voxels(clip, truth, maps, seconds, share):
    """Puts tubes or masks on the maps' grid, whose steps have these borders."""
    video = ClipFrames(clip.file)
    size = (video.count(), *next(iter(video)).shape[:2])
    frame_rate = size[0] / video_duration(clip.file)
    if isinstance(truth, list):
        masks = draw_tubes(truth, size)
    else:
        masks = truth[:, : size[1], : size[2]]
        if masks.shape != size:
            raise VideoError(
                f"{clip.file}: the masks are of {truth.shape} frames and "
                f"pixels, and the video of {size}"
            )
    return masks_to_voxels(
        masks,
        maps["S"].shape,
        seconds * frame_rate,
        clip.box,
        share,
    )
