"""Watching a model learn where to look."""

import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from actx_tf.utils.backend import check_tensorflow
from actx_tf.utils.checks import check_positive
from actx_tf.visualization.overlays import check_video
from actx_tf.visualization.overlays import map_colors

_OPACITY = 0.65
_HEIGHT = 96  # of a drawn map, in pixels
_MOST_STEPS = 8  # that are drawn of a clip
_LOSSES = (
    "classification_loss",
    "similarity_loss",
    "difference_loss",
    "conjugate_loss",
)


class AttentionMapLogger(keras.callbacks.Callback):
    """Logs the maps of a few clips, and what they amount to, to TensorBoard.

    After an epoch, for each of the clips an image, `attention/<name>`: from
    left to right its steps, eight at most, from top to bottom the frame in the
    middle of each (if there are `frames`), the action map S over it, and the
    context map C over it. Maps are drawn as a share of their largest value in
    the clip. And as scalars, of the maps a mean over the clips:

    - `attention/action_mean`: mean of S_act = 1 - C;
    - `attention/action_share`: share of the locations where S_act > 0.5;
    - `attention/entropy`: entropy of S_att, divided by log N, N the number of
      the clip's locations: 1 where it is uniform (average pooling), 0 where it
      is a single location (max pooling). S_att = S / S_act; locations where
      S_act is zero in float32 have none and are left out. With
      `use_attention_map=False` there is no S_att, and no such scalar;
    - `losses/classification_loss`, `losses/similarity_loss` and
      `losses/difference_loss`: L_c, L_s and L_d of the epoch, as `fit` logs
      them.

    Masked locations count nowhere and are not drawn.

    Args:
        log_dir: Path of the folder of the logs. TensorBoard takes it for a
            run of its own; inside that of `keras.callbacks.TensorBoard` it is
            listed with its `train` and `validation`.
        clips: A few clips, as the model takes them: `(batch, time, height,
            width, channels)`, or a dictionary with `"features"` and perhaps
            `"mask"`; what else it holds is left unread. They are run at once.
        frames: The frames of each clip without padding, uint8 `(frames,
            height, width, 3)`, at any size and frame rate. Defaults to `None`:
            maps are drawn alone.
        names: The clips' names. Defaults to `None`: their numbers.
        every: Number of epochs from one log to the next, from the first epoch
            on. Defaults to `1`.

    Raises:
        ValueError: If an argument is wrong; when training begins, if the model
            does not take the clips or returns no maps.
        ImportError: If matplotlib is missing.

    Example:

    ```python
    logger = actx_tf.callbacks.AttentionMapLogger("logs/maps", features[:4])
    model.fit(pairs, epochs=20, callbacks=[logger])
    ```
    """

    def __init__(
        self,
        log_dir: str | os.PathLike,
        clips: np.ndarray | Mapping[str, np.ndarray],
        frames: Sequence[np.ndarray] | None = None,
        names: Sequence[str] | None = None,
        every: int = 1,
    ) -> None:
        check_tensorflow("AttentionMapLogger")
        super().__init__()
        if not isinstance(clips, Mapping):
            inputs = tf.convert_to_tensor(clips)
            count = inputs.shape[0]
        elif "features" in clips:
            inputs = {
                key: tf.convert_to_tensor(clips[key])
                for key in ("features", "mask")
                if clips.get(key) is not None
            }
            count = inputs["features"].shape[0]
        else:
            raise ValueError(
                "`clips` must be clips or a dictionary with the key "
                f'"features". Received: clips with the keys {sorted(clips)}'
            )
        for name, value in (("frames", frames), ("names", names)):
            if value is not None and len(value) != count:
                raise ValueError(
                    f"`{name}` must be of as many clips as `clips`, {count}. "
                    f"Received: len({name})={len(value)}"
                )
        check_positive("every", every)
        self.log_dir = os.fspath(log_dir)
        self.clips = inputs
        self.names = list(map(str, names or range(count)))
        self.every = every
        self._colors = map_colors().astype("float32")
        self._frames = None
        if frames is not None:
            self._frames = [np.asarray(video) for video in frames]
            for video in self._frames:
                check_video(video, "frames")
        self._pictures = {}  # of the frames, those that are drawn
        self._writer: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        # A model that does not fit fails now, not after the first epoch.
        self._maps()
        self._writer = tf.summary.create_file_writer(self.log_dir)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if epoch % self.every:
            return
        action_maps, context_maps, masks = self._maps()
        # Another callback may have chosen steps that are not recorded.
        with self._writer.as_default(step=epoch), tf.summary.record_if(True):
            for loss in _LOSSES:
                if logs and loss in logs:
                    tf.summary.scalar(f"losses/{loss}", logs[loss])
            for name, value in self._figures(
                action_maps, context_maps, masks
            ).items():
                tf.summary.scalar(f"attention/{name}", value)
            for clip, name in enumerate(self.names):
                image = self._draw(clip, action_maps, context_maps, masks)
                _write_image(f"attention/{name}", image)
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._writer.close()

    def _maps(self):
        """S, C, and where they are real: `(clips, time, height, width)`."""
        outputs = self.model(self.clips, training=False)
        if not isinstance(outputs, Mapping) or not (
            {"action_map", "context_map"} <= outputs.keys()
        ):
            raise ValueError(
                "the model must return a dictionary with 'action_map' and "
                f"'context_map', as ActX does. Received: {self.model.name}"
            )
        action_maps = outputs["action_map"].numpy()
        masks = np.ones((1, 1), bool)
        if isinstance(self.clips, dict) and "mask" in self.clips:
            masks = self.clips["mask"].numpy().astype(bool)
        masks = masks.reshape(masks.shape + (1,) * (4 - masks.ndim))
        masks = np.broadcast_to(masks, action_maps.shape)
        return action_maps, outputs["context_map"].numpy(), masks

    def _figures(self, action_maps, context_maps, masks):
        figures = {"action_mean": [], "action_share": [], "entropy": []}
        for s, c, mask in zip(action_maps, context_maps, masks, strict=True):
            if not mask.any():
                continue
            s_act = 1.0 - c[mask].astype("float64")
            figures["action_mean"].append(s_act.mean())
            figures["action_share"].append((s_act > 0.5).mean())
            if (entropy := _entropy(s[mask], s_act)) is not None:
                figures["entropy"].append(entropy)
        if not getattr(self.model, "use_attention_map", True):
            del figures["entropy"]
        return {name: np.mean(x) for name, x in figures.items() if x}

    def _draw(self, clip, action_maps, context_maps, masks):
        real = np.argwhere(masks[clip])
        # Of a clip that is padding throughout, the first location.
        sizes = real.max(axis=0) + 1 if len(real) else (1, 1, 1)
        real = tuple(slice(size) for size in sizes)
        count = min(sizes[0], _MOST_STEPS)
        shown = ((np.arange(count) + 0.5) * sizes[0] / count).astype(int)
        size = _HEIGHT, round(_HEIGHT * sizes[2] / sizes[1])
        rows = []
        if self._frames is not None and clip not in self._pictures:
            video, self._frames[clip] = self._frames[clip], None
            middles = ((shown + 0.5) * len(video) / sizes[0]).astype(int)
            width = round(_HEIGHT * video.shape[2] / video.shape[1])
            self._pictures[clip] = _resize(video[middles], (_HEIGHT, width))
        if (pictures := self._pictures.get(clip)) is not None:
            size = pictures.shape[1:3]
            rows.append(pictures)
        for maps in (action_maps[clip][real], context_maps[clip][real]):
            share = maps[shown] / max(maps.max(), 1e-12)
            share = np.clip(_resize(share[..., np.newaxis], size), 0.0, 1.0)
            colors = self._colors[np.rint(255 * share[..., 0]).astype(int)]
            if pictures is not None:
                colors = pictures + _OPACITY * (colors - pictures)
            rows.append(colors)
        image = np.concatenate([np.concatenate(row, axis=1) for row in rows])
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _entropy(action_map, s_act):
    """Of S_att, as a share of the largest, log N; None if it has no value."""
    known = s_act > 0
    s_att = action_map[known] / s_act[known]
    s_att = s_att[s_att > 0]
    if not len(s_att):
        return None
    if len(action_map) == 1:
        return 1.0  # the uniform distribution, and the only one
    s_att /= s_att.sum()
    return -np.sum(s_att * np.log(s_att)) / np.log(len(action_map))


def _write_image(tag, image):
    # tf.summary.image compresses ten times as long, for a file a sixth smaller.
    png = tf.io.encode_png(image, compression=1).numpy()
    height, width, channels = image.shape
    summary = tf.compat.v1.Summary()
    summary.value.add(tag=tag).image.CopyFrom(
        tf.compat.v1.Summary.Image(
            height=height,
            width=width,
            colorspace=channels,
            encoded_image_string=png,
        )
    )
    tf.summary.experimental.write_raw_pb(summary.SerializeToString())


def _resize(pictures, size):
    return tf.image.resize(pictures, size).numpy()
