"""SavedModels for TF Serving."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from actx_tf.backbones.backbone import Backbone
from actx_tf.export import metadata
from actx_tf.export import warm_up
from actx_tf.export.served_model import ServedModel
from actx_tf.export.warm_up import warm_up_requests
from actx_tf.models.paired_model import PairedModel


def export_saved_model(
    model: PairedModel,
    base_dir: str | os.PathLike,
    version: int | None = None,
    *,
    backbone: Backbone | None = None,
    samples: Mapping[str, np.ndarray] | None = None,
    max_steps: int = 4096,
    memory: float = 4.0,
    compute_dtype: str = "float32",
) -> Path:
    """Writes a model as `<base_dir>/<version>/`, for TF Serving.

    The model is written beside its place and moved into it in one step, so
    that a server that polls the folder never sees half a model. The signatures
    and their inputs:

    - `serving_default`: `features`, float32 `(batch, time, height, width,
      channels)`, and `lengths`, int32 `(batch,)`, the number of steps of each
      clip. What comes after them changes no output: requests that a server
      batches and pads (`pad_variable_length_inputs`) need them.
    - `unpadded`: `features` alone, of clips of one length.
    - `attention`, `unpadded_attention`: the same, of a model with maps.
    - `keep_context`, `mean_context`: as `serving_default`, of an ActX that was
      trained, with that `context`, whatever the model's own is.
    - `video`: `frames`, uint8 `(batch, frames, height, width, 3)`, RGB, and
      `lengths`, int32 `(batch,)`, the number of frames of each clip.
    - `jpeg`: `frames`, string `(batch, frames)`, each the bytes of a JPEG or,
      without loss, of a PNG, the frames of a clip of one size; and `lengths`.
    - `video_features`: `frames` alone, as in `video`. It returns `features`,
      of which the others answer.
    - `windows`: a part of a long video, of which it answers windows: `frames`
      as in `jpeg`, `lengths`, and int32 `(batch,)` each `begin`, `total`,
      `window` and `hop`: see `actx_tf.client.ask_in_parts`. Not of a backbone
      whose steps see the whole clip.
    - `stream`, of an ActX: `features`, of a window, and `earlier`, float32
      `(batch, steps, height, width, maps)`, the `confidences` that it returned
      for the steps before: see `ActX.classify_after`.
    - `describe`: `about`, string `(batch,)`, whatever it says. It returns
      `description`, string `(batch,)`: JSON of what `read_metadata` returns,
      from which a client learns how to read a video for the model.

    Those of frames need a backbone of RGB, and resize the frames as it wants
    them. All sizes but the channels are free. The signatures that answer return
    `scores`, float32 `(batch, classes)`, `label_index`, int64 `(batch,)`, that
    of the largest score, and `label`, string `(batch,)`. `attention`,
    `unpadded_attention`, `video` and `jpeg` also return `action_map` and
    `context_map`, float32 `(batch, time, height, width)`, zero after a clip's
    end.
    Clips that the backbone sees are run one by one, as if each were alone,
    whatever they are padded with.

    A request of frames takes bounded memory, however long its clips are: the
    backbone is run in windows that overlap, with the values of the whole clip
    (see `actx_tf.data.extract_features`), and images are decoded as they are
    run. What is held of all clips are what was sent and the feature maps.

    The names of the classes, the activation and the description of the
    backbone are the model's: see `PairedModel`.

    `lengths` say what was padded of time alone: clips that a server batches
    together must have one height and width.

    A request that cannot be answered fails and says what is wrong: lengths
    that do not fit, more than `max_steps` steps, values that are not finite,
    images of more than 33 million pixels; and what `memory` cannot hold: the
    feature maps of the clips of a request, frames too large for the shortest
    window, a clip that a backbone must see as a whole.

    What clients need to know is in the SavedModel: see `read_metadata`.

    Args:
        model: A built `PairedModel`.
        base_dir: Path of the folder that holds the versions; made if it is
            not there.
        version: Number of the version, above all that are there. Defaults to
            one above the highest, from 1 on.
        backbone: What made the features that the model was trained on, for
            the signatures of frames. Defaults to the model's own, if any.
        samples: Clips that TF Serving runs when it loads the model, so that no
            client waits for its first request to be compiled: `"features"`,
            float32 `(batch, time, height, width, channels)`, and `"frames"`,
            uint8 `(batch, frames, height, width, 3)`. Each signature gets a
            request of them. Needs tensorflow-serving-api. Defaults to `None`.
        max_steps: Largest number of steps of a clip. Defaults to `4096`.
        memory: GiB that a window of frames may take, and that the feature maps
            of a request may take, in the signatures of frames. Where the size
            of the backbone is fixed, a window is longer if less than half of
            it would be new: see `BackboneDescription.frames_in_memory`.
            Defaults to `4.0`.
        compute_dtype: Arithmetic of the backbone in the signatures of frames,
            `"float32"` or `"bfloat16"`. The latter takes about half of the time
            on processors that have it, which those of the server must be; on
            others it takes longer and is less exact. Defaults to `"float32"`.

    Returns:
        Path of the version's folder.

    Raises:
        TypeError: If the backbone does not say what it sees.
        ValueError: If the model is not built, or the backbone is not that of
            its features, or an argument is wrong.
        FileExistsError: If the version is not above all that are there.
        ImportError: If `samples` are given and tensorflow-serving-api is not
            installed.
    """
    served = ServedModel(model, backbone, max_steps, memory, compute_dtype)
    endpoints = served.endpoints()
    base_dir = Path(base_dir)
    requests = warm_up_requests(
        endpoints, samples or {}, base_dir.resolve().name
    )
    _next_version(base_dir, version)  # before any work
    base_dir.mkdir(parents=True, exist_ok=True)
    about = tf.TensorSpec((None,), tf.string, "about")
    endpoints["describe"] = (served.describe, [about])
    with _scratch_folder(base_dir) as scratch:
        functions = {
            name: tf.function(function, signature, autograph=False)
            for name, (function, signature) in endpoints.items()
        }
        served.save(functions, scratch / "model")
        path = scratch / "model" / metadata.PATH
        path.parent.mkdir(exist_ok=True)
        path.write_text(served.metadata, encoding="utf-8")
        if requests:
            path = scratch / "model" / warm_up.PATH
            path.parent.mkdir(exist_ok=True)
            with tf.io.TFRecordWriter(str(path)) as writer:
                for request in requests:
                    writer.write(request.SerializeToString())
        return _publish(scratch / "model", base_dir, version)


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
