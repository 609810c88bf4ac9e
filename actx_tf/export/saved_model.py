"""SavedModels for TF Serving, and files for LiteRT and ONNX Runtime."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from types import NoneType

import keras
import numpy as np
import tensorflow as tf

import actx_tf
from actx_tf.utils.atomic_write import atomic_write

_ACTIVATIONS = {"softmax": tf.nn.softmax, "sigmoid": tf.nn.sigmoid}
_METADATA = "assets/actx_tf.json"
_METADATA_KINDS = {
    "actx_tf": str,
    "class_names": list,
    "activation": str,
    "channels": int,
    "max_steps": int,
    "backbone": (str, NoneType),
    "frames_per_step": (int, NoneType),
    "frame_size": (list, NoneType),
    "frame_rate": (int, float, NoneType),
}
_MOST_PIXELS = 2**25  # of a JPEG: 8K video has as many
_WARM_UP = "assets.extra/tf_serving_warmup_requests"


def export_saved_model(
    model: keras.Model,
    base_dir: str | os.PathLike,
    version: int | None = None,
    *,
    class_names: Sequence[str] | None = None,
    activation: str = "softmax",
    backbone: keras.Model | None = None,
    frame_rate: float | None = None,
    samples: Mapping[str, np.ndarray] | None = None,
    max_steps: int = 4096,
) -> Path:
    """Writes a model as `<base_dir>/<version>/`, for TF Serving.

    The model is written beside its place and moved into it in one step, so
    that a server that polls the folder never sees half a model. The signatures
    and their inputs:

    - `serving_default`: `features`, float32 `(batch, time, height, width,
      channels)`, and `lengths`, int32 `(batch,)`, the number of steps of each
      clip. What lies behind them changes no output: requests that a server
      batches and pads (`pad_variable_length_inputs`) need them.
    - `unpadded`: `features` alone, of clips of one length.
    - `attention`, `unpadded_attention`: the same, of a model with maps.
    - `video`: `frames`, uint8 `(batch, frames, height, width, 3)`, RGB, and
      `lengths`, int32 `(batch,)`, the number of frames of each clip.
    - `jpeg`: `frames`, string `(batch, frames)`, each the bytes of a JPEG, the
      frames of a clip of one size; and `lengths`.

    `video` and `jpeg` need a backbone of RGB. All sizes but the channels are
    free. Each signature returns `scores`, float32 `(batch, classes)`,
    `label_index`, int64 `(batch,)`, that of the largest score, and `label`,
    string `(batch,)`. All but the first two also return `action_map` and
    `context_map`, float32 `(batch, time, height, width)`, zero behind a clip's
    end. Clips that the backbone sees are run one by one, as if each were
    alone, whatever they are padded with.

    `lengths` say what was padded of time alone: clips that a server batches
    together must have one height and width.

    A request that cannot be answered fails and says what is wrong: lengths
    that do not fit, more than `max_steps` steps, values that are not finite,
    JPEGs of more than 33 million pixels.

    What clients need to know is in the SavedModel: see `read_metadata`.

    Args:
        model: A built `PairedModel`.
        base_dir: Path of the folder that holds the versions; made if it is
            not there.
        version: Number of the version, above all that are there. Defaults to
            one above the highest, from 1 on.
        class_names: Names of the classes. Defaults to their numbers.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes. Defaults to `"softmax"`.
        backbone: What made the features that the model was trained on, for
            `video` and `jpeg`. Defaults to the model's own, if any.
        frame_rate: Frames per second that the backbone should see; it is told
            to clients. Defaults to `None`, not known.
        samples: Clips that TF Serving runs when it loads the model, so that no
            client waits for its first request to be compiled: `"features"`,
            float32 `(batch, time, height, width, channels)`, and `"frames"`,
            uint8 `(batch, frames, height, width, 3)`. Each signature gets a
            request of them. Needs tensorflow-serving-api. Defaults to `None`.
        max_steps: Largest number of steps of a clip; bounds what a request
            takes of the server. Defaults to 4096.

    Returns:
        Path of the version's folder.

    Raises:
        ValueError: If the model is not built, or an argument is wrong.
        FileExistsError: If the version is not above all that are there.
        ImportError: If `samples` are given and tensorflow-serving-api is not
            installed.
    """
    server = _Server(model, class_names, activation, backbone, max_steps)
    metadata = {**server.metadata(), "frame_rate": frame_rate}
    base_dir = Path(base_dir)
    requests = _warm_up_requests(
        server.endpoints(), samples or {}, base_dir.resolve().name
    )
    _next_version(base_dir, version)  # before any work
    base_dir.mkdir(parents=True, exist_ok=True)
    with _scratch_folder(base_dir) as scratch:
        # It finds the variables itself: `track` would write each a second time.
        archive = keras.export.ExportArchive()
        for name, (function, signature) in server.endpoints().items():
            archive.add_endpoint(name, function, input_signature=signature)
        archive.write_out(scratch / "model", verbose=False)
        path = scratch / "model" / _METADATA
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(metadata, indent=2), encoding="utf-8")
        if requests:
            path = scratch / "model" / _WARM_UP
            path.parent.mkdir(exist_ok=True)
            with tf.io.TFRecordWriter(str(path)) as writer:
                for request in requests:
                    writer.write(request.SerializeToString())
        return _publish(scratch / "model", base_dir, version)


def read_metadata(version_dir: str | os.PathLike) -> dict:
    """Reads what `export_saved_model` tells the clients of a model.

    Args:
        version_dir: Path of `<base_dir>/<version>`.

    Returns:
        A dictionary: `class_names`; `activation`; `channels` of the features;
        `max_steps`; of the backbone its name, `backbone`, `frames_per_step`
        and `frame_size` (height, width), and `frame_rate`, each `None` if
        there is none or if it is free; and `actx_tf`, the package's version.

    Raises:
        FileNotFoundError: If there is no such SavedModel.
        ValueError: If it tells something else.
    """
    path = Path(version_dir) / _METADATA
    if not path.is_file():
        raise FileNotFoundError(f"no SavedModel of actx_tf: there is no {path}")
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    for key, kinds in _METADATA_KINDS.items():
        if not isinstance(metadata, dict) or key not in metadata:
            raise ValueError(f"{path}: `{key}` is missing.")
        if not isinstance(metadata[key], kinds):
            raise ValueError(
                f"{path}: `{key}` is of another kind. "
                f"Received: {key}={metadata[key]!r:.80}"
            )
    return metadata


def export_litert(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    activation: str = "softmax",
    float16: bool = False,
) -> None:
    """Writes a model as a file for LiteRT (once TensorFlow Lite).

    Its one signature takes `features`, float32 `(batch, time, height, width,
    channels)`, all sizes but the channels free, and returns `scores`,
    `(batch, classes)`, and, of a model with maps, `action_map` and
    `context_map`, `(batch, time, height, width)`.

    Args:
        model: A built `PairedModel`. Its backbone is left out.
        path: Path of the file, which is replaced if it is there.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes. Defaults to `"softmax"`.
        float16: Whether to store the weights in half the size. Defaults to
            `False`.

    Raises:
        ValueError: If the model is not built, or `activation` is wrong.
    """
    function = _features_to_answers(model, activation)
    with tempfile.TemporaryDirectory() as folder:
        # Of a SavedModel the converter makes constants of the variables.
        archive = keras.export.ExportArchive()
        archive.add_endpoint("serving_default", function)
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if float16:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    with atomic_write(path) as draft:
        draft.write_bytes(content)


def export_onnx(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    activation: str = "softmax",
) -> None:
    """Writes a model as an ONNX file, for ONNX Runtime and OpenVINO.

    Inputs and outputs are those of `export_litert`. (Keras' own
    `model.export` of a model that was trained on pairs would ask for the
    conjugate clip too, and fix the sizes.)

    Args:
        model: A built `PairedModel`. Its backbone is left out.
        path: Path of the file, which is replaced if it is there.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes. Defaults to `"softmax"`.

    Raises:
        ValueError: If the model is not built, or `activation` is wrong.
        ImportError: If tf2onnx is not installed.
    """
    try:
        import tf2onnx
    except ImportError as error:
        raise ImportError(
            "ONNX files need tf2onnx, which `pip install actx_tf[onnx]` "
            "installs"
        ) from error
    function = _features_to_answers(model, activation)
    onnx_model, _ = tf2onnx.convert.from_function(
        function, input_signature=function.input_signature, opset=18
    )
    with atomic_write(path) as draft:
        draft.write_bytes(onnx_model.SerializeToString())


def _features_to_answers(model, activation):
    _check_model(model, activation)
    shape = (None, None, None, None, _channels(model))

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, "features")])
    def answer(features):
        outputs = model.classify(features)
        scores = _ACTIVATIONS[activation](outputs["logits"])
        maps = {"action_map", "context_map"} & outputs.keys()
        return {"scores": scores, **{name: outputs[name] for name in maps}}

    return answer


def _check_model(model, activation):
    if not model.built:
        raise ValueError(
            "`model` must be built: call it on a batch first. "
            f"Received: model={model}"
        )
    if activation not in _ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {tuple(_ACTIVATIONS)}. "
            f"Received: activation={activation!r}"
        )


class _Server:
    """What is served: TensorFlow functions around a model and a backbone."""

    def __init__(self, model, class_names, activation, backbone, max_steps):
        _check_model(model, activation)
        if max_steps < 1:
            raise ValueError(
                f"`max_steps` must be positive. Received: max_steps={max_steps}"
            )
        self.model = model
        self.backbone = backbone or model.backbone
        self.activation = activation
        self.max_steps = max_steps
        self.channels = _channels(model)
        outputs = model.classify(tf.zeros((1, 2, 2, 2, self.channels)))
        self.has_maps = "action_map" in outputs
        num_classes = outputs["logits"].shape[-1]
        if class_names is None:
            class_names = map(str, range(num_classes))
        self.class_names = list(class_names)
        if len(self.class_names) != num_classes:
            raise ValueError(
                f"`class_names` must name {num_classes} classes. "
                f"Received: class_names={self.class_names}"
            )
        if self.backbone is not None:
            self._read_backbone()

    def _read_backbone(self):
        _, _, height, width, colors = self.backbone.input_shape
        self.frame_size = (height, width) if height and width else None
        self.colors = colors
        # 840 frames are whole steps at any usual stride.
        shape = self.backbone.compute_output_shape(
            (1, 840, height or 224, width or 224, colors)
        )
        self.frames_per_step = 840 // shape[1]
        if shape[-1] != self.channels:
            raise ValueError(
                f"`backbone` must make the {self.channels} channels that "
                f"`model` takes. Received: {self.backbone.name}, which makes "
                f"{shape[-1]}"
            )

    def metadata(self):
        known = self.backbone is not None
        return {
            "actx_tf": actx_tf.__version__,
            "class_names": self.class_names,
            "activation": self.activation,
            "channels": self.channels,
            "max_steps": self.max_steps,
            "backbone": self.backbone.name if known else None,
            "frames_per_step": self.frames_per_step if known else None,
            "frame_size": self.frame_size if known else None,
        }

    def endpoints(self):
        """Returns (function, input signature) by the signature's name."""
        features = tf.TensorSpec(
            (None, None, None, None, self.channels), tf.float32, "features"
        )
        lengths = tf.TensorSpec((None,), tf.int32, "lengths")
        endpoints = {
            "serving_default": (self.classify, [features, lengths]),
            "unpadded": (self.classify, [features]),
        }
        if self.has_maps:
            endpoints |= {
                "attention": (self.attend, [features, lengths]),
                "unpadded_attention": (self.attend, [features]),
            }
        if self.backbone is not None and self.colors == 3:
            frames = (None, None, None, None, 3)
            video = tf.TensorSpec(frames, tf.uint8, "frames")
            jpeg = tf.TensorSpec(frames[:2], tf.string, "frames")
            endpoints |= {
                "video": (self.attend_video, [video, lengths]),
                "jpeg": (self.attend_jpeg, [jpeg, lengths]),
            }
        return endpoints

    def classify(self, features, lengths=None):
        outputs = self.attend(features, lengths)
        return {key: outputs[key] for key in ("scores", "label_index", "label")}

    def attend(self, features, lengths=None):
        features = _check_shape(features, "features")
        checks = _check_sizes(features, self.max_steps, "features", "steps")
        if lengths is not None:
            lengths = _check_shape(lengths, "lengths")
            checks += _check_lengths(lengths, features)
        with tf.control_dependencies(checks):
            features = tf.identity(features)
        return self._answer(features, lengths, "features")

    def attend_video(self, frames, lengths):
        return self._attend_clips(frames, lengths, lambda clip: clip)

    def attend_jpeg(self, frames, lengths):
        return self._attend_clips(frames, lengths, _decode_jpegs)

    def _attend_clips(self, clips, lengths, decode):
        clips = _check_shape(clips, "frames")
        lengths = _check_shape(lengths, "lengths")
        max_frames = self.max_steps * self.frames_per_step
        checks = _check_sizes(clips, max_frames, "frames", "frames")
        checks += _check_lengths(lengths, clips)
        with tf.control_dependencies(checks):
            lengths = tf.identity(lengths)
        steps = -(-lengths // self.frames_per_step)
        most = tf.reduce_max(steps)

        def features_of_one(arguments):
            clip, length = arguments
            clip = tf.cast(decode(clip[:length]), tf.float32)
            if self.frame_size is not None:
                clip = tf.image.resize(clip, self.frame_size, antialias=True)
            features = self.backbone(clip[tf.newaxis], training=False)[0]
            features = tf.cast(features, tf.float32)
            missing = most - tf.shape(features)[0]
            return tf.pad(features, [(0, missing), (0, 0), (0, 0), (0, 0)])

        features = tf.map_fn(
            features_of_one,
            (clips, lengths),
            fn_output_signature=tf.TensorSpec(
                (None, None, None, self.channels), tf.float32
            ),
            parallel_iterations=1,  # takes the memory of one clip
        )
        return self._answer(features, steps, "frames")

    def _answer(self, features, lengths, name):
        # ReLU makes 0 of a NaN on some processors: outputs do not tell it.
        finite = tf.reduce_all(tf.math.is_finite(features), axis=(2, 3, 4))
        if lengths is None:
            outputs = self.model.classify(features)
        else:
            mask = tf.sequence_mask(lengths, tf.shape(features)[1])
            finite |= ~mask
            # To mask what needs none would cost a tenth of the time.
            outputs = tf.cond(
                tf.reduce_all(mask),
                lambda: self.model.classify(features),
                lambda: self.model.classify(features, mask),
            )
        # Every output is checked, also of those that return the scores alone.
        checks = [
            tf.debugging.assert_equal(
                finite, True, f"`{name}` must be finite, not NaN or Inf"
            )
        ]
        checks += [
            tf.debugging.assert_all_finite(
                value, f"`{name}` must be finite: they make `{key}` NaN or Inf"
            )
            for key, value in outputs.items()
        ]
        with tf.control_dependencies(checks):
            logits = tf.identity(outputs["logits"])
        scores = _ACTIVATIONS[self.activation](logits)
        index = tf.argmax(scores, axis=-1)
        answers = {
            "scores": scores,
            "label_index": index,
            "label": tf.gather(tf.constant(self.class_names), index),
        }
        if self.has_maps:
            answers["action_map"] = outputs["action_map"]
            answers["context_map"] = outputs["context_map"]
        return answers


def _decode_jpegs(frames):
    def decode(frame):
        # A few kilobytes can claim gigabytes; what is no JPEG fails here, too.
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(frame, tf.int64))
        check = tf.debugging.assert_less_equal(
            height * width,
            tf.constant(_MOST_PIXELS, tf.int64),
            f"`frames` must have at most {_MOST_PIXELS} pixels each",
        )
        with tf.control_dependencies([check]):
            return tf.io.decode_jpeg(frame, channels=3)

    return tf.map_fn(
        decode,
        frames,
        fn_output_signature=tf.TensorSpec((None, None, 3), tf.uint8),
    )


def _check_shape(tensor, name):
    """The tensor, after a check at run time: sessions feed any shape."""
    # What stands behind this may not be taken to have the signature's shape.
    fed = tf.raw_ops.PlaceholderWithDefault(
        input=tensor, shape=tf.TensorShape(None), name=f"fed_{name}"
    )
    return tf.ensure_shape(fed, tensor.shape)


def _check_sizes(clips, most, name, unit):
    """Returns the checks of the sizes of `(batch, time, ...)`."""
    return [
        tf.debugging.assert_positive(
            tf.size(clips), f"`{name}` must not be empty"
        ),
        tf.debugging.assert_less_equal(
            tf.shape(clips)[1],
            most,
            f"`{name}` must have at most {most} {unit}",
        ),
    ]


def _check_lengths(lengths, clips):
    """Returns the checks of lengths against `(batch, time, ...)`."""
    return [
        tf.debugging.assert_equal(
            tf.shape(lengths)[0],
            tf.shape(clips)[0],
            "`lengths` must have one entry a clip",
        ),
        tf.debugging.assert_positive(lengths, "`lengths` must be positive"),
        tf.debugging.assert_less_equal(
            lengths,
            tf.shape(clips)[1],
            "`lengths` must be at most what is sent of each clip",
        ),
    ]


def _warm_up_requests(endpoints, samples, model_name):
    """Returns a `PredictionLog` for each endpoint that takes a sample."""
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
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise ImportError(
            "`samples` need tensorflow-serving-api, which "
            "`pip install actx_tf[serving]` installs"
        ) from error
    logs = []
    for name, (_, signature) in endpoints.items():
        if signature[0].name not in clips:
            continue
        clip = clips[signature[0].name]
        lengths = np.full(clip.shape[0], clip.shape[1], np.int32)
        if signature[0].dtype == tf.string:
            clip = np.array(
                [[tf.io.encode_jpeg(f).numpy() for f in c] for c in clip]
            )
        log = prediction_log_pb2.PredictionLog()
        request = log.predict_log.request
        request.model_spec.name = model_name
        request.model_spec.signature_name = name
        for spec, value in zip(signature, (clip, lengths), strict=False):
            request.inputs[spec.name].CopyFrom(tf.make_tensor_proto(value))
        logs.append(log)
    return logs


def _channels(model):
    """Number of channels of the feature maps that a built model takes."""
    shape = model.get_build_config()["input_shape"]
    if isinstance(shape, dict):
        shape = shape["features"]
    if model.backbone is not None:
        shape = model.backbone.compute_output_shape(tuple(shape))
    return shape[-1]


def _next_version(base_dir, version):
    taken = [0]
    if base_dir.exists():
        taken += [int(p.name) for p in base_dir.iterdir() if p.name.isdecimal()]
    if version is None:
        return max(taken) + 1
    if version <= max(taken):
        raise FileExistsError(
            f"`version` must be above {max(taken)}, the highest in {base_dir}. "
            f"Received: version={version}"
        )
    return version


@contextlib.contextmanager
def _scratch_folder(base_dir):
    """A folder beside the versions, which servers leave unread."""
    scratch = Path(tempfile.mkdtemp(prefix=".exporting-", dir=base_dir))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _publish(path, base_dir, version):
    """Moves a whole model to its place, which no other process has taken."""
    while True:
        target = base_dir / str(_next_version(base_dir, version))
        try:
            os.rename(path, target)
        except OSError:
            if not target.exists():
                raise
        else:
            return target
