"""The methods of the paper's tables, as Keras models on feature maps."""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers
from keras import ops

from actx_tf.data.mixing import changing_locations
from actx_tf.data.mixing import merge_background
from actx_tf.data.mixing import mix_frame_of_another
from actx_tf.data.mixing import mix_own_frame
from actx_tf.experiments.run_data import Task
from actx_tf.layers import AttentionalPooling
from actx_tf.layers import MaskPooling
from actx_tf.layers import RegionPooling
from actx_tf.models import ACF
from actx_tf.models import ActX
from actx_tf.settings import TrainingSettings

CLIP = ("features", "mask")
PAIR = (*CLIP, "conjugate", "conjugate_mask", "has_conjugate")


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of the paper's tables.

    Attributes:
        build: Function of a `Task` and `TrainingSettings` that returns a model:
            it returns the logits, or a dictionary that holds them.
        inputs: Keys of what the model takes in training. Evaluation gives it
            what belongs to the clip alone.
        localize: Function of the model and its inputs that returns a map of
            where it looks, `(clips, time, height, width)`; `None` where it
            looks nowhere in particular.
        mix: Function of a training batch's inputs and of a seed, two whole
            numbers, that returns the inputs with other features; `None` if they
            stay as they are. The labels do.
    """

    build: Callable[[Task, TrainingSettings], keras.Model]
    inputs: tuple[str, ...] = CLIP
    localize: (
        Callable[[keras.Model, Mapping[str, np.ndarray]], np.ndarray] | None
    ) = None
    mix: Callable[[dict[str, Any], Any], dict[str, Any]] | None = None


def check_methods(settings: TrainingSettings, names: Collection[str]) -> None:
    """Raises `ValueError` if a method is unknown or a setting of it wrong.

    Args:
        settings: The settings.
        names: Names of methods, among `METHODS`.
    """
    if unknown := set(names) - set(METHODS):
        raise ValueError(
            f"`methods` must be among {sorted(METHODS)}. "
            f"Received: {sorted(unknown)}"
        )
    for name in names:
        METHODS[name].build(Task(("a", "b"), channels=4), settings)


def build_actx(
    task: Task,
    settings: TrainingSettings,
    backbone: keras.Model | None = None,
    use_attention_map: bool = True,
) -> ActX:
    """Returns an ActX that carries what its users need to know.

    Args:
        task: What it learns.
        settings: Its hyperparameters.
        backbone: As in `ActX`. Defaults to `None`.
        use_attention_map: As in `ActX`. Defaults to `True`.
    """
    return ActX(
        len(task.class_names),
        rho=settings.rho,
        alpha=settings.alpha,
        beta=settings.beta,
        gamma=settings.gamma,
        xi=settings.xi,
        similarity_weight=settings.similarity_weight,
        difference_weight=settings.difference_weight,
        conjugate_weight=settings.conjugate_weight,
        context_dropout=settings.context_dropout,
        use_attention_map=use_attention_map,
        transformation=settings.transformation,
        theta_rank=settings.theta_rank,
        backbone=backbone,
        **_to_carry(task),
    )


def _build_actx_without_attention(task, settings):
    return build_actx(task, settings, use_attention_map=False)


def _build_acf(task, settings):
    return ACF(
        len(task.class_names),
        similarity_weight=settings.acf_similarity_weight,
        difference_weight=settings.acf_difference_weight,
        **_to_carry(task),
    )


def _to_carry(task):
    """What the users of a trained model need to know."""
    return {
        "description": task.description,
        "class_names": task.class_names,
        "activation": task.activation,
        "background": task.background,
        "crop_steps": task.crop_steps,
    }


def _build_attentional(task, settings):
    inputs = _clip_inputs(task.channels)
    pooling = AttentionalPooling(
        len(task.class_names), settings.rank, name="pooling"
    )
    logits = pooling(inputs["features"], mask=inputs["mask"])
    return keras.Model(inputs, logits)


def _pool_and_classify(pool, **further_inputs):
    """Makes `build` of a function of the inputs that returns features.

    `further_inputs` are the shapes of inputs beside the clip's.
    """

    def build(task, settings):
        inputs = _clip_inputs(task.channels)
        for key, shape in further_inputs.items():
            inputs[key] = keras.Input(shape, name=key)
        pooled = pool(inputs)
        head = layers.Dense(len(task.class_names), dtype="float32", name="head")
        return keras.Model(inputs, head(pooled))

    return build


def _clip_inputs(channels):
    return {
        "features": keras.Input((None, None, None, channels), name="features"),
        "mask": keras.Input((None, None, None), dtype="bool", name="mask"),
    }


def _average_pooling(inputs):
    everywhere = ops.ones_like(inputs["mask"], dtype="float32")
    return MaskPooling()(inputs["features"], everywhere, mask=inputs["mask"])


def _average_of_steps(inputs):
    real = ops.cast(inputs["mask"], "float32")[..., None]
    total = ops.sum(inputs["features"] * real, axis=(2, 3))
    return total / ops.maximum(ops.sum(real, axis=(2, 3)), 1.0)


def _max_pooling(inputs):
    real = inputs["mask"][..., None]
    return ops.max(ops.where(real, inputs["features"], -1e9), axis=(1, 2, 3))


def _mask_pooling(inputs):
    return MaskPooling()(
        inputs["features"], inputs["pose_mask"], mask=inputs["mask"]
    )


def _region_pooling(inputs):
    return RegionPooling()(
        inputs["features"], inputs["boxes"], mask=inputs["mask"]
    )


def _where_the_mask_is(model, inputs):
    return inputs["pose_mask"].astype("float32")


def _where_the_context_is_not(model, inputs):
    return 1.0 - model.predict(inputs, verbose=0)["context_map"]


def _where_the_answer_is(model, inputs):
    """Of the class that is answered."""
    logits, maps, _ = model.get_layer("pooling")(
        inputs["features"], mask=inputs["mask"], return_attention_maps=True
    )
    answer = ops.argmax(logits, axis=-1)[:, None, None, None, None]
    maps = ops.take_along_axis(maps, answer, axis=-1)
    return ops.convert_to_numpy(maps[..., 0])


def _where_the_answer_points(model, inputs):
    """The class activation map of the answer (Zhou et al., CVPR 2016).

    Of average pooling and one dense layer it is Grad-CAM's too.
    """
    answer = ops.argmax(model(inputs), axis=-1)
    weights = ops.take(model.get_layer("head").kernel, answer, axis=1)
    maps = ops.einsum("bthwc,cb->bthw", inputs["features"], weights)
    return ops.convert_to_numpy(ops.relu(maps))


def _mix_own_step(inputs, seed):
    features, mask = inputs["features"], inputs["mask"]
    return {**inputs, "features": mix_own_frame(features, seed, mask=mask)}


def _mix_step_of_another(inputs, seed):
    features, mask = inputs["features"], inputs["mask"]
    mixed = mix_frame_of_another(features, seed, mask=mask)
    return {**inputs, "features": mixed}


def _merge_what_changes_least(inputs, seed):
    features, mask = inputs["features"], inputs["mask"]
    foreground = changing_locations(features, mask=mask)
    mixed = merge_background(features, foreground, seed, mask=mask)
    return {**inputs, "features": mixed}


def steps_model(model: keras.Model, channels: int) -> keras.Model:
    """Returns what a trained model pools from each step.

    Args:
        model: Of average pooling, or an `ActX`.
        channels: Channels of the feature maps.

    Returns:
        A model of a clip's features and mask: `(batch, time, units)`.
    """
    inputs = _clip_inputs(channels)
    if isinstance(model, ActX):
        steps = model.pooling(
            inputs["features"], mask=inputs["mask"], keep_time=True
        )
    else:
        steps = _average_of_steps(inputs)
    return keras.Model(inputs, steps)


METHODS = {
    "average pooling": Method(
        _pool_and_classify(_average_pooling), localize=_where_the_answer_points
    ),
    # Baselines of the literature on static bias; of features a frame is a step.
    "average pooling + BE": Method(
        _pool_and_classify(_average_pooling),
        localize=_where_the_answer_points,
        mix=_mix_own_step,
    ),
    "average pooling + StillMix": Method(
        _pool_and_classify(_average_pooling),
        localize=_where_the_answer_points,
        mix=_mix_step_of_another,
    ),
    "average pooling + FAME": Method(
        _pool_and_classify(_average_pooling),
        localize=_where_the_answer_points,
        mix=_merge_what_changes_least,
    ),
    "max pooling": Method(_pool_and_classify(_max_pooling)),
    "PoseMask": Method(
        _pool_and_classify(_mask_pooling, pose_mask=(None, None, None)),
        (*CLIP, "pose_mask"),
        _where_the_mask_is,
    ),
    "k-Region": Method(
        _pool_and_classify(_region_pooling, boxes=(None, None, 4)),
        (*CLIP, "boxes"),
    ),
    "Attentional": Method(_build_attentional, localize=_where_the_answer_is),
    "ACF": Method(_build_acf, PAIR),
    "ActX w/o S_att": Method(
        _build_actx_without_attention, PAIR, _where_the_context_is_not
    ),
    "ActX": Method(build_actx, PAIR, _where_the_context_is_not),
}


def count_weights(model: keras.Model) -> int:
    """Returns how many weights training changes."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)
