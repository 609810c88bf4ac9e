"""SavedModels laid out as TF Serving wants them."""

import os
import shutil
import tempfile
from pathlib import Path

import keras
import tensorflow as tf


def export_saved_model(model, base_dir):
    """Writes a model of feature maps as `<base_dir>/<version>/`.

    The version is one above the highest that is there, from 1 on. The model is
    written beside its place and moved into it in one step, so that a server
    that polls the folder never sees half a model.

    The signature `serving_default` takes `features`, float32 `(batch, time,
    height, width, channels)`, all but the channels of any size, and returns
    `logits`, `action_map` and `context_map`.

    Args:
        model: a built `PairedModel` without a backbone.
        base_dir: path of the folder that holds the versions; made if it is
            not there.

    Returns:
        `pathlib.Path` of the version's folder.

    Raises:
        ValueError: if the model is not built or has a backbone.
    """
    if not model.built:
        raise ValueError(
            "`model` must be built: call it on a batch of feature maps first. "
            f"Received: model={model}"
        )
    if model.backbone is not None:
        raise ValueError(
            "`model` must take feature maps. "
            f"Received: a model with the backbone {model.backbone.name}"
        )
    base_dir = Path(base_dir)
    base_dir.mkdir(parents=True, exist_ok=True)
    taken = [int(p.name) for p in base_dir.iterdir() if p.name.isdecimal()]
    target = base_dir / str(max(taken, default=0) + 1)
    features = tf.TensorSpec(
        (None, None, None, None, model.pooling.input_spec.axes[-1]),
        "float32",
        name="features",
    )
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda features: model(features, training=False),
        input_signature=[features],
    )
    scratch = tempfile.mkdtemp(prefix=".exporting-", dir=base_dir)
    try:
        archive.write_out(scratch, verbose=False)
        os.chmod(scratch, 0o755)  # mkdtemp's folders are private
        os.rename(scratch, target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return target
