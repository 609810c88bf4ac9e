"""Requests that TF Serving runs when it loads a model."""

from collections.abc import Callable
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from actx_tf.utils.optional import import_optional

PATH = "assets.extra/tf_serving_warmup_requests"  # in the folder of a version


def warm_up_requests(
    endpoints: Mapping[str, tuple[Callable, list[tf.TensorSpec]]],
    samples: Mapping[str, np.ndarray],
    model_name: str,
) -> list:
    """Returns a `PredictionLog` for each endpoint that takes a sample.

    Args:
        endpoints: (function, input signature) by name.
        samples: Clips by the name of the input: see `export_saved_model`.
        model_name: Name under which the model is served.

    Raises:
        ValueError: If a sample fits no input.
        ImportError: If tensorflow-serving-api is not installed.
    """
    if not samples:
        return []
    specs = {
        signature[0].name: signature[0]
        for _, signature in endpoints.values()
        if signature[0].dtype != tf.string
    }
    clips = {}
    for key, sample in samples.items():
        if key not in specs:
            raise ValueError(
                f"`samples` of this model are {' and '.join(specs)}. "
                f"Received: {key!r}"
            )
        clips[key] = np.asarray(sample, specs[key].dtype.as_numpy_dtype)
        if not specs[key].shape.is_compatible_with(clips[key].shape):
            raise ValueError(
                f"`samples[{key!r}]` must have the shape {specs[key].shape}. "
                f"Received: {clips[key].shape}"
            )
    prediction_log_pb2 = import_optional(
        "tensorflow_serving.apis.prediction_log_pb2", "A warm-up request"
    )
    logs = []
    for name, (_, signature) in endpoints.items():
        if signature[0].name not in clips:
            continue
        clip = clips[signature[0].name]
        count = clip.shape[0]
        lengths = np.full(count, clip.shape[1], np.int32)
        others = {
            "lengths": lengths,
            "begin": 0 * lengths,
            "total": lengths,
            "window": lengths,  # at least as many as there are steps
            "hop": lengths,
        }
        if signature[0].dtype == tf.string:
            clip = np.array(
                [[tf.io.encode_jpeg(f).numpy() for f in c] for c in clip]
            )
        log = prediction_log_pb2.PredictionLog()
        request = log.predict_log.request
        request.model_spec.name = model_name
        request.model_spec.signature_name = name
        for spec in signature:
            if spec is signature[0]:
                value = clip
            elif spec.name == "earlier":  # nothing was seen yet
                shape = (count, 0, *clip.shape[2:4], spec.shape[-1])
                value = np.zeros(shape, np.float32)
            else:
                value = others[spec.name]
            request.inputs[spec.name].CopyFrom(tf.make_tensor_proto(value))
        logs.append(log)
    return logs
