"""The built-in set as the data of a run."""

import numpy as np

from actx_tf.data import synthetic
from actx_tf.data.clip_index import Clip
from actx_tf.experiments.run_data import Part
from actx_tf.experiments.run_data import RunData
from actx_tf.experiments.run_data import Task
from actx_tf.experiments.run_data import batches_of_arrays
from actx_tf.settings import DataSettings


def built_in_data(settings: DataSettings) -> RunData:
    """Makes the built-in set, and its features.

    Its scenes mislead on all but the training part.

    Args:
        settings: `train_clips`, `test_clips` and `batch_size` count.
    """
    backbone = synthetic.backbone()

    def arrays(name, num_clips):
        clips = synthetic.make_part(name, num_clips)
        inputs = {
            "features": backbone.predict(clips.videos, verbose=0),
            "mask": np.ones((num_clips, synthetic.FEATURE_SIZE[0]), bool),
            "pose_mask": synthetic.to_voxels(clips.thing_masks),
            "boxes": synthetic.step_boxes(clips.boxes),
        }
        return clips, inputs

    def batches(clips, inputs):
        return batches_of_arrays(inputs, clips.labels, settings.batch_size)

    def part(name):
        clips, inputs = arrays(name, settings.test_clips)
        return Part(
            _listed(name, clips),
            batches(clips, inputs),
            clips.labels,
            read_videos=lambda places: list(clips.videos[places]),
            voxels=synthetic.to_voxels(clips.actor_masks),
        )

    clips, inputs = arrays("train", settings.train_clips)
    whole = batches(clips, inputs)()
    inputs = {
        **inputs,
        "conjugate": backbone.predict(clips.conjugates, verbose=0),
        "conjugate_mask": inputs["mask"],
        "has_conjugate": np.ones(len(clips.labels), bool),
    }
    make_pairs = batches(clips, inputs)

    def make_training(seed, pairs=True, conjugates=True, **which):
        return make_pairs(shuffle=True, seed=seed, **which)

    return RunData(
        settings=settings,
        task=Task(
            synthetic.CLASS_NAMES,
            inputs["features"].shape[-1],
            description=backbone.description,
        ),
        inputs=frozenset(inputs),
        training=_listed("train", clips),
        make_training=make_training,
        whole_training=whole,
        validation=part("validation"),
        test=part("test"),
        backbone=backbone,
    )


def _listed(part, clips):
    """The clips as an index would list them; they have no files."""
    return [
        Clip(f"{part}_{i}", "", synthetic.CLASS_NAMES[label], part)
        for i, label in enumerate(clips.labels)
    ]
