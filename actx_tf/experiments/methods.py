"""The methods of the paper's tables: Keras models on feature maps, runs."""

import dataclasses
from collections.abc import Callable

import experiment
import keras
import numpy as np
import tensorflow as tf
from absl import flags
from keras import layers
from keras import ops

from actx_tf import metrics
from actx_tf.layers import AttentionalPooling
from actx_tf.layers import MaskPooling
from actx_tf.layers import RegionPooling
from actx_tf.models import ACF
from actx_tf.models import ActX

FLAGS = flags.FLAGS
flags.DEFINE_float("rho", 30.0, "ActX: percentage of a clip that is action")
flags.DEFINE_float("alpha", 1.0, "ActX: sharpness of the action map")
flags.DEFINE_float("beta", 1.0, "ActX: sharpness of the attention")
flags.DEFINE_float("gamma", 20.0, "ActX: sharpness of the matching")
flags.DEFINE_float("xi", 0.0, "ActX: similarity that costs nothing")
flags.DEFINE_float("similarity_weight", 0.1, "ActX: weight of L_s")
flags.DEFINE_float("difference_weight", 30.0, "ActX: weight of L_d")
flags.DEFINE_float("acf_similarity_weight", 1.0, "ACF: weight of its L_s")
flags.DEFINE_float("acf_difference_weight", 1.0, "ACF: weight of its L_d")
flags.DEFINE_integer("rank", 1, "attentional pooling: rank", lower_bound=1)
flags.DEFINE_integer("components", 3, "EEP: basis functions", lower_bound=1)

CLIP = ("features", "mask")
PAIR = (*CLIP, "conjugate", "conjugate_mask", "has_conjugate")


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of the paper's tables.

    Attributes:
        build: (channels, number of classes) -> model that returns the logits,
            or a dictionary that holds them.
        inputs: the keys of what it takes in training; of these, an evaluation
            has what belongs to the clip alone.
        localize: (model, inputs) -> map of where it looks, `(clips, time,
            height, width)`; None where it looks nowhere in particular.
    """

    build: Callable
    inputs: tuple[str, ...] = CLIP
    localize: Callable | None = None


def build_actx(channels, num_classes, use_attention_map=True):
    return ActX(
        num_classes,
        rho=FLAGS.rho,
        alpha=FLAGS.alpha,
        beta=FLAGS.beta,
        gamma=FLAGS.gamma,
        xi=FLAGS.xi,
        similarity_weight=FLAGS.similarity_weight,
        difference_weight=FLAGS.difference_weight,
        use_attention_map=use_attention_map,
    )


def build_acf(channels, num_classes):
    return ACF(
        num_classes,
        similarity_weight=FLAGS.acf_similarity_weight,
        difference_weight=FLAGS.acf_difference_weight,
    )


def stack(pool, **companions):
    """Makes `build` of a function of the inputs that returns features.

    `companions` are the shapes of further inputs.
    """

    def build(channels, num_classes):
        inputs = _clip_inputs(channels)
        for key, shape in companions.items():
            inputs[key] = keras.Input(shape, name=key)
        pooled = pool(inputs)
        head = layers.Dense(num_classes, dtype="float32", name="head")
        return keras.Model(inputs, head(pooled))

    return build


def build_attentional(channels, num_classes):
    inputs = _clip_inputs(channels)
    pooling = AttentionalPooling(num_classes, FLAGS.rank, name="pooling")
    logits = pooling(inputs["features"], mask=inputs["mask"])
    return keras.Model(inputs, logits)


def _clip_inputs(channels):
    return {
        "features": keras.Input((None, None, None, channels), name="features"),
        "mask": keras.Input((None, None, None), dtype="bool", name="mask"),
    }


def average_pooling(inputs):
    everywhere = ops.ones_like(inputs["mask"], dtype="float32")
    return MaskPooling()(inputs["features"], everywhere, mask=inputs["mask"])


def average_of_steps(inputs):
    real = ops.cast(inputs["mask"], "float32")[..., None]
    total = ops.sum(inputs["features"] * real, axis=(2, 3))
    return total / ops.maximum(ops.sum(real, axis=(2, 3)), 1.0)


def max_pooling(inputs):
    real = inputs["mask"][..., None]
    return ops.max(ops.where(real, inputs["features"], -1e9), axis=(1, 2, 3))


def mask_pooling(inputs):
    return MaskPooling()(
        inputs["features"], inputs["pose_mask"], mask=inputs["mask"]
    )


def region_pooling(inputs):
    return RegionPooling()(
        inputs["features"], inputs["boxes"], mask=inputs["mask"]
    )


def where_the_context_is_not(model, inputs):
    return 1.0 - model.predict(inputs, verbose=0)["context_map"]


def where_the_answer_is(model, inputs):
    """The map of the class that is answered."""
    logits, maps, _ = model.get_layer("pooling")(
        inputs["features"], mask=inputs["mask"], return_attention_maps=True
    )
    answer = ops.argmax(logits, axis=-1)[:, None, None, None, None]
    maps = ops.take_along_axis(maps, answer, axis=-1)
    return ops.convert_to_numpy(maps[..., 0])


def steps_model(model, channels):
    """What a trained model pools from each step: clip -> `(time, units)`."""
    inputs = _clip_inputs(channels)
    if isinstance(model, ActX):
        steps = model.pooling(
            inputs["features"], mask=inputs["mask"], keep_time=True
        )
    else:
        steps = average_of_steps(inputs)
    return keras.Model(inputs, steps)


METHODS = {
    "average pooling": Method(stack(average_pooling)),
    "max pooling": Method(stack(max_pooling)),
    "PoseMask": Method(
        stack(mask_pooling, pose_mask=(None, None, None)),
        (*CLIP, "pose_mask"),
        lambda model, inputs: inputs["pose_mask"].astype("float32"),
    ),
    "k-Region": Method(
        stack(region_pooling, boxes=(None, None, 4)), (*CLIP, "boxes")
    ),
    "Attentional": Method(build_attentional, localize=where_the_answer_is),
    "ACF": Method(build_acf, PAIR),
    "ActX w/o S_att": Method(
        lambda *args: build_actx(*args, use_attention_map=False),
        PAIR,
        where_the_context_is_not,
    ),
    "ActX": Method(build_actx, PAIR, where_the_context_is_not),
}


def train(
    name,
    data,
    seed,
    output,
    run,
    validate=False,
    strategy=None,
    resumable=False,
):
    """Trains a method from a seed.

    Returns:
        The model, a copy for this device alone if the strategy has several,
        and the seconds of a step.
    """
    method = METHODS[name]
    strategy = strategy or tf.distribute.get_strategy()
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(FLAGS.dtype_policy)

    def build():
        return method.build(data.channels, len(data.class_names))

    with strategy.scope():
        model = build()
        experiment.compile_model(model)
    pairs = "conjugate" in method.inputs
    inputs = (*method.inputs, "clip", "conjugate_clip")
    if pairs:  # which may be stored in the place of the conjugates
        inputs = (*inputs, "conjugate_similarity")

    def make_training(**which):
        return experiment.pick(data.make_training(seed, pairs, **which), inputs)

    def make_validation(**which):
        return experiment.pick(
            data.validation.make_dataset(**which), method.inputs
        )

    validate = validate and data.validation is not None
    seconds = experiment.fit(
        model,
        make_training,
        make_validation if validate else None,
        output,
        run,
        resumable,
        data.show_validation,
    )
    if strategy.num_replicas_in_sync == 1:
        return model, seconds
    copy = build()
    clips = experiment.pick(data.test.dataset, method.inputs)
    copy(next(iter(clips))[0])  # makes its weights
    copy.set_weights(model.get_weights())
    return copy, seconds


def evaluate(name, model, part):
    """Runs a trained method on a part of the data.

    Returns:
        The class probabilities, the figures (`experiment.figures`, and the AUC
        where the true voxels are known), and all outputs by name.
    """
    method = METHODS[name]
    dataset = experiment.pick(part.dataset, method.inputs)
    outputs = model.predict(dataset, verbose=0)
    if not isinstance(outputs, dict):
        outputs = {"logits": outputs}
    probabilities = experiment.scores(outputs["logits"])
    row = experiment.figures(part, probabilities)
    if part.voxels is not None and method.localize is not None:
        inputs = [inputs for inputs, _ in dataset.as_numpy_iterator()]
        maps = [method.localize(model, batch) for batch in inputs]
        auc = metrics.localization_auc(part.voxels, np.concatenate(maps))
        row["localization AUC"] = float(auc)
    return probabilities, row, outputs
