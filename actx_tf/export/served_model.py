"""What an exported model answers: a function for each signature."""

import functools
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from actx_tf.backbones.backbone import Backbone
from actx_tf.data.compute_dtype import for_inference
from actx_tf.export.frame_source import decoded_clip
from actx_tf.export.frame_source import encoded_clip
from actx_tf.export.frame_source import image_sides
from actx_tf.export.metadata import metadata_text
from actx_tf.export.window_plan import count_locations
from actx_tf.export.window_plan import plan_windows
from actx_tf.export.windowed_backbone import WindowedBackbone
from actx_tf.models.actx import ActX
from actx_tf.models.context_switch import CONTEXTS
from actx_tf.models.paired_model import PairedModel
from actx_tf.ops.activations import scores as scores_of
from actx_tf.ops.types import Tensor
from actx_tf.utils.backend import check_tensorflow
from actx_tf.utils.checks import check_above_zero
from actx_tf.utils.checks import check_positive


class ServedModel:
    """TensorFlow functions around a model and a backbone.

    Args:
        model: A built `PairedModel`.
        backbone: What made the features that it was trained on; `None`: its
            own, if any.
        max_steps: Largest number of steps of a clip.
        memory: GiB that a request of frames may take: see `WindowedBackbone`.
        compute_dtype: Arithmetic of the backbone: see `for_inference`.

    Raises:
        TypeError: If the backbone does not describe itself.
        ValueError: If the model is not built, or the backbone is not that of
            its features, or cannot be exported.
    """

    def __init__(
        self,
        model: PairedModel,
        backbone: Backbone | None = None,
        max_steps: int = 4096,
        memory: float = 4.0,
        compute_dtype: str = "float32",
    ) -> None:
        check_tensorflow("Exporting a model")
        check_above_zero("memory", memory, "GiB")
        check_positive("max_steps", max_steps)
        if not model.built:
            raise ValueError(
                "`model` must be built: call it on a batch first. "
                f"Received: model={model}"
            )
        self.model = model
        self.max_steps = max_steps
        self.memory = float(memory)
        self.channels = _channels(model)
        backbone = check_backbone(backbone or model.backbone, model)
        _check_exportable(backbone)
        self.backbone = backbone and for_inference(backbone, compute_dtype)
        self._windowed = self.backbone and WindowedBackbone(
            self.backbone, self.memory
        )
        # Traced once for all signatures, not once for each of them.
        self._classify = tf.function(model.classify, autograph=False)
        outputs = model.classify(tf.zeros((1, 2, 2, 2, self.channels)))
        self.has_maps = "action_map" in outputs
        is_switched = isinstance(model, ActX) and (
            model.context_switch.is_known()
        )
        self.contexts = CONTEXTS if is_switched else ()
        num_classes = outputs["logits"].shape[-1]
        self.class_names = model.class_names or list(
            map(str, range(num_classes))
        )

    @property
    def metadata(self) -> str:
        """See `parse_metadata`."""
        description = self.model.description
        if self.backbone is not None:
            description = self.backbone.description
        return metadata_text(
            description,
            class_names=self.class_names,
            activation=self.model.activation,
            background=self.model.background,
            channels=self.channels,
            max_steps=self.max_steps,
            crop_steps=self.model.crop_steps,
            memory=self.memory,
            signatures=[*self.endpoints(), "describe"],
        )

    def save(self, functions: Mapping[str, Any], folder: Path) -> None:
        """Writes `tf.function`s of it as a SavedModel, by their signatures.

        Keras' ExportArchive would trace each of them twice.
        """
        weights = [variable.value for variable in self.model.variables]
        written = tf.Module()
        for name, function in functions.items():
            setattr(written, name, function)
            # Not all of a network's need be variables of Keras.
            weights += function.get_concrete_function().variables
        written.weights = list({id(x): x for x in weights}.values())
        tf.saved_model.save(written, str(folder), dict(functions))

    def describe(self, about: tf.Tensor) -> dict[str, tf.Tensor]:
        """The metadata, once for each entry of `about`: REST needs an input."""
        return {"description": tf.fill(tf.shape(about), self.metadata)}

    def endpoints(self) -> dict[str, tuple[Callable, list[tf.TensorSpec]]]:
        """(function, input signature) of what answers, by the name."""
        features = tf.TensorSpec(
            (None, None, None, None, self.channels), tf.float32, "features"
        )
        lengths = tf.TensorSpec((None,), tf.int32, "lengths")
        endpoints: dict[str, tuple[Callable, list[tf.TensorSpec]]] = {
            "serving_default": (self.classify, [features, lengths]),
            "unpadded": (self.classify, [features]),
        }
        if self.has_maps:
            endpoints |= {
                "attention": (self.attend, [features, lengths]),
                "unpadded_attention": (self.attend, [features]),
            }
        for context in self.contexts:
            classify = functools.partial(self.classify, context=context)
            endpoints[f"{context}_context"] = (classify, [features, lengths])
        if isinstance(self.model, ActX):
            maps = 1 + self.model.use_attention_map
            earlier = tf.TensorSpec(
                (None, None, None, None, maps), tf.float32, "earlier"
            )
            endpoints["stream"] = (self.attend_after, [features, earlier])
        if self.backbone is not None and self.backbone.description.colors == 3:
            frames = (None, None, None, None, 3)
            video = tf.TensorSpec(frames, tf.uint8, "frames")
            jpeg = tf.TensorSpec(frames[:2], tf.string, "frames")
            endpoints |= {
                "video": (self.attend_video, [video, lengths]),
                "jpeg": (self.attend_jpeg, [jpeg, lengths]),
                "video_features": (self.video_features, [video]),
            }
            if self.backbone.description.is_windowed:
                numbers = [
                    tf.TensorSpec((None,), tf.int32, name)
                    for name in ("begin", "total", "window", "hop")
                ]
                endpoints["windows"] = (
                    self.attend_windows,
                    [jpeg, lengths, *numbers],
                )
        return endpoints

    def classify(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        context: str | None = None,
    ) -> dict[str, Tensor]:
        outputs = self.attend(features, lengths, context)
        return {key: outputs[key] for key in ("scores", "label_index", "label")}

    def attend(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        context: str | None = None,
    ) -> dict[str, Tensor]:
        features = _check_shape(features, "features")
        checks = _check_sizes(features, self.max_steps, "features", "steps")
        if lengths is not None:
            lengths = _check_shape(lengths, "lengths")
            checks += _check_numbers(lengths, features, "lengths")
        with tf.control_dependencies(checks):
            features = tf.identity(features)
        classify: Callable[..., dict[str, Tensor]] = self._classify
        if isinstance(self.model, ActX) and self.contexts:
            context = context or self.model.context
            classify = functools.partial(classify, context=context)
        return self._answer(features, lengths, "features", classify)

    def attend_after(
        self, features: Tensor, earlier: Tensor
    ) -> dict[str, Tensor]:
        features = _check_shape(features, "features")
        earlier = _check_shape(earlier, "earlier")
        checks = _check_sizes(features, self.max_steps, "features", "steps")
        checks += [
            tf.debugging.assert_less_equal(
                tf.shape(earlier)[1],
                self.max_steps,
                f"`earlier` must have at most {self.max_steps} steps",
            ),
            tf.debugging.assert_equal(
                tf.gather(tf.shape(earlier), [0, 2, 3]),
                tf.gather(tf.shape(features), [0, 2, 3]),
                "`earlier` must be of the clips, heights and widths of "
                "`features`",
            ),
            tf.debugging.assert_all_finite(earlier, "`earlier` must be finite"),
        ]
        with tf.control_dependencies(checks):
            features = tf.identity(features)
        classify = functools.partial(self.model.classify_after, earlier=earlier)
        return self._answer(features, None, "features", classify)

    def attend_video(
        self, frames: Tensor, lengths: Tensor
    ) -> dict[str, Tensor]:
        return self._attend_clips(frames, lengths, decoded_clip)

    def attend_jpeg(self, frames: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return self._attend_clips(frames, lengths, encoded_clip)

    def video_features(self, frames: Tensor) -> dict[str, Tensor]:
        frames = _check_shape(frames, "frames")
        with tf.control_dependencies(self._check_frames(frames)):
            frames = tf.identity(frames)
        lengths = tf.fill(tf.shape(frames)[:1], tf.shape(frames)[1])
        return {"features": self._features_of(frames, lengths, decoded_clip)}

    def attend_windows(
        self,
        frames: Tensor,
        lengths: Tensor,
        begin: Tensor,
        total: Tensor,
        window: Tensor,
        hop: Tensor,
    ) -> dict[str, Tensor]:
        frames = _check_shape(frames, "frames")
        numbers = {"lengths": lengths, "begin": begin, "total": total}
        numbers |= {"window": window, "hop": hop}
        numbers = {k: _check_shape(x, k) for k, x in numbers.items()}
        checks = self._check_frames(frames)
        for name, values in numbers.items():
            checks += _check_numbers(values, frames, name)
        with tf.control_dependencies(checks):
            numbers = {k: tf.identity(x) for k, x in numbers.items()}
            frames = tf.identity(frames)
        # There is no such endpoint without a backbone.
        assert self.backbone is not None and self._windowed is not None
        in_memory = tf.map_fn(
            self._windowed.steps_in_memory,
            image_sides(frames[:, 0]),
            fn_output_signature=tf.TensorSpec((), tf.int64),
        )
        plan = plan_windows(
            self.backbone.description,
            **numbers,
            max_steps=self.max_steps,
            in_memory=in_memory,
        )
        with tf.control_dependencies(plan.checks):
            frames = tf.identity(frames)
        most = tf.reduce_max(plan.count), tf.reduce_max(plan.window)
        spec = {"scores": tf.TensorSpec((None, None), tf.float32)}
        if self.has_maps:
            shape = tf.TensorSpec((None, None, None, None), tf.float32)
            spec |= {"action_map": shape, "context_map": shape}

        def answers_of_one(arguments):
            clip, used, begins, length, skipped = arguments
            features = self._windowed(encoded_clip(clip[:used]))
            begins = begins[begins >= 0] - skipped
            places = begins[:, tf.newaxis] + tf.range(length)
            answers = self._answer(tf.gather(features, places), None, "frames")
            missing = most[0] - tf.shape(begins)[0], most[1] - length
            padded = {"scores": tf.pad(answers["scores"], _ends(missing[0], 0))}
            for name in spec.keys() - padded.keys():
                ends = _ends(*missing, 0, 0)
                padded[name] = tf.pad(answers[name], ends)
            return padded

        answers = tf.map_fn(
            answers_of_one,
            (frames, plan.used, plan.begins, plan.window, plan.first),
            fn_output_signature=spec,
            parallel_iterations=1,
        )
        return answers | {
            "begins": plan.begins,
            "next_begin": plan.next_begin,
            "next_frame": plan.next_frame,
        }

    def _attend_clips(self, clips, lengths, source):
        clips = _check_shape(clips, "frames")
        lengths = _check_shape(lengths, "lengths")
        checks = self._check_frames(clips)
        checks += _check_numbers(lengths, clips, "lengths")
        with tf.control_dependencies(checks):
            lengths = tf.identity(lengths)
        features = self._features_of(clips, lengths, source)
        steps = count_locations(self.backbone.description.time, lengths)
        return self._answer(features, steps, "frames")

    def _check_frames(self, clips):
        most = self.max_steps * self.backbone.description.frames_per_step
        return _check_sizes(clips, most, "frames", "frames")

    def _features_of(self, clips, lengths, source):
        """The feature maps of clips, with zeros after the end of each."""
        time = self.backbone.description.time
        steps = count_locations(time, lengths)
        enough = tf.debugging.assert_positive(
            steps,
            "`frames` must be enough for a step: at least "
            f"{time.least_size(1)}",
        )
        # Ahead of the clips too, of which each is checked again.
        with tf.control_dependencies([enough]):
            most = tf.reduce_max(steps)
            clips = tf.identity(clips)
        of_all = tf.size(lengths, tf.int64) * tf.cast(most, tf.int64)

        def features_of_one(arguments):
            clip, length = arguments
            features = self._windowed(source(clip[:length]), of_all)
            return tf.pad(
                features, _ends(most - tf.shape(features)[0], 0, 0, 0)
            )

        return tf.map_fn(
            features_of_one,
            (clips, lengths),
            fn_output_signature=tf.TensorSpec(
                (None, None, None, self.channels), tf.float32
            ),
            parallel_iterations=1,  # takes the memory of one clip
        )

    def _answer(self, features, lengths, name, classify=None):
        classify = classify or self._classify
        # ReLU makes 0 of a NaN on some processors: outputs do not tell it.
        finite = tf.reduce_all(tf.math.is_finite(features), axis=(2, 3, 4))
        if lengths is None:
            outputs = classify(features)
        else:
            mask = tf.sequence_mask(lengths, tf.shape(features)[1])
            finite |= ~mask
            # To mask what needs none would cost a tenth of the time.
            outputs = tf.cond(
                tf.reduce_all(mask),
                lambda: classify(features),
                lambda: classify(features, mask),
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
        scores = scores_of(logits, self.model.activation)
        index = tf.argmax(scores, axis=-1)
        answers = {
            "scores": scores,
            "label_index": index,
            "label": tf.gather(tf.constant(self.class_names), index),
        }
        if self.has_maps:
            answers["action_map"] = outputs["action_map"]
            answers["context_map"] = outputs["context_map"]
        if "confidences" in outputs:
            answers["confidences"] = outputs["confidences"]
        return answers


def clips_to_answers(served: ServedModel) -> Any:
    """Returns the function of clips that files for other runtimes hold.

    It takes feature maps; frames, as the backbone sees them, if there is one.
    """
    shape = (None, None, None, None, served.channels)
    name, dtype = "features", tf.float32
    if served.backbone is not None:
        shape = served.backbone.input_shape
        name = "frames"
        dtype = tf.uint8 if shape[-1] == 3 else tf.float32  # flow

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype, name)])
    def answer(clips):
        if served.backbone is not None:
            clips = tf.cast(clips, tf.float32)
            clips = served.backbone(clips, training=False)
        outputs = served.model.classify(clips)
        scores = scores_of(outputs["logits"], served.model.activation)
        maps = {"action_map", "context_map"} & outputs.keys()
        return {"scores": scores, **{name: outputs[name] for name in maps}}

    return answer


def _check_shape(tensor, name):
    """The tensor, after a check at run time: sessions feed any shape."""
    # What comes after this may not be taken to have the signature's shape.
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


def _check_numbers(numbers, clips, name):
    """Returns the checks of a number a clip, such as `lengths`, and its range.

    Clips are `(batch, time, ...)`.
    """
    least = 0 if name == "begin" else 1
    checks = [
        tf.debugging.assert_equal(
            tf.shape(numbers)[0],
            tf.shape(clips)[0],
            f"`{name}` must have one entry a clip",
        ),
        tf.debugging.assert_greater_equal(
            numbers, least, f"`{name}` must be at least {least}"
        ),
    ]
    if name == "lengths":
        checks.append(
            tf.debugging.assert_less_equal(
                numbers,
                tf.shape(clips)[1],
                "`lengths` must be at most what is sent of each clip",
            )
        )
    return checks


def _ends(*counts):
    """The paddings of `tf.pad` that are all at the ends."""
    return [(0, count) for count in counts]


def _channels(model):
    """Number of channels of the feature maps that a built model takes."""
    shape = model.get_build_config()["input_shape"]
    if not isinstance(shape, dict):
        shape = tuple(shape)
    return model.feature_shape(shape)[-1]


def _check_exportable(backbone):
    if backbone is not None and backbone.export_obstacle:
        raise ValueError(
            f"`backbone` must be exportable: {backbone.export_obstacle}. "
            f"Received: {backbone.name}"
        )


def check_backbone(
    backbone: keras.Model | None, model: PairedModel
) -> Backbone | None:
    """Returns the backbone, if it made the model's features; or `None`.

    Raises:
        TypeError: If it does not say what it sees.
        ValueError: If it is another one.
    """
    if backbone is None:
        return None
    if not isinstance(backbone, Backbone):
        raise TypeError(
            "`backbone` must say what it sees: make it with "
            "actx_tf.backbones.make_backbone. "
            f"Received: backbone={backbone!r:.100}"
        )
    description = backbone.description
    if model.description not in (None, description):
        differences = ", ".join(model.description.differences(description))
        raise ValueError(
            "`backbone` must be what made the features that `model` was "
            f"trained on. Received: {differences}"
        )
    channels = _channels(model)
    if description.channels != channels:
        raise ValueError(
            f"`backbone` must make the {channels} channels that `model` takes. "
            f"Received: {description.name}, which makes {description.channels}"
        )
    return backbone
