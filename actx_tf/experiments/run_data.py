"""The data of a run: what is to be learned, and batches of clips."""

import dataclasses
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.clip_index import Clip
from actx_tf.data.epochs import make_epoch
from actx_tf.settings import DataSettings
from actx_tf.settings import FineTuningSettings


@dataclasses.dataclass(frozen=True)
class Task:
    """What a model learns to tell apart, and from which features.

    Attributes:
        class_names: Names of the classes, in the order of the logits.
        channels: Channels of the feature maps.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes. Defaults to `"softmax"`.
        description: Of what made the feature maps, `None` if it is not known.
        background: Those of the classes that show no action. Defaults to none.
        crop_steps: Steps of a training crop; `None` if clips are not cropped.
            Defaults to `None`.

    Raises:
        ValueError: If there is one class alone, of which each clip is.
    """

    class_names: tuple[str, ...]
    channels: int
    activation: str = "softmax"
    description: BackboneDescription | None = None
    background: tuple[str, ...] = ()
    crop_steps: int | None = None

    def __post_init__(self) -> None:
        if not self.is_multi_label and len(self.class_names) < 2:
            raise ValueError(
                "`index` must hold clips of two classes or more; what shows no "
                f"action can be one. Received: {list(self.class_names)}"
            )

    @property
    def is_multi_label(self) -> bool:
        """Whether a clip can be of several classes."""
        return self.activation == "sigmoid"

    @property
    def scored(self) -> np.ndarray:
        """Booleans `(classes,)`: those that show an action.

        They alone count for mean average precision.
        """
        return np.array([x not in self.background for x in self.class_names])


@dataclasses.dataclass(frozen=True)
class Part:
    """Clips that a model is evaluated on.

    Attributes:
        clips: The clips, as an index lists them.
        make_dataset: Function of the keywords `shard` and `num_shards`, both
            optional, that makes batches of whole clips.
        labels: `(clips,)`, places among the classes; or `(clips, classes)`,
            zeros and ones.
        read_videos: Function from places of clips to the frames of each; it
            raises `VideoError` if one cannot be read.
        paired: Booleans `(clips,)`, True where the index names conjugates;
            `None` where all clips have some.
        voxels: Booleans `(clips, time, height, width)`, where the action is;
            `None` if it is not known.
    """

    clips: Sequence[Clip]
    make_dataset: Callable[..., tf.data.Dataset]
    labels: np.ndarray
    read_videos: Callable[[Collection[int]], list[np.ndarray]]
    paired: np.ndarray | None = None
    voxels: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunClips:
    """The clips of a run, and what is to be learned from them.

    Attributes:
        settings: What the data were made of.
        task: What is to be learned.
        training: The training clips, as an index lists them.
        validation: The validation clips; `None` if there are none.
        test: The test clips.
        index: The whole index, with clips that were left out. Defaults to
            none, of the built-in set.
    """

    settings: DataSettings | FineTuningSettings
    task: Task
    training: Sequence[Clip]
    validation: Part | None
    test: Part
    index: Sequence[Clip] = ()

    @property
    def used(self) -> list[Clip]:
        """The clips of all parts."""
        clips = [*self.training, *self.test.clips]
        if self.validation is not None:
            clips += self.validation.clips
        # Clips for validation can be those of the test.
        return list({clip.clip: clip for clip in clips}.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunData(RunClips):
    """All that a run needs of a data set of feature maps.

    Attributes:
        settings: What it was made of.
        inputs: Keys of a training pair's inputs.
        make_training: Function of `seed`, and of the keywords `pairs` (False:
            no conjugates are read), `conjugates` (True: they are, also beside
            stored similarities), `epoch`, `shard` and `num_shards`, that makes
            batches of training pairs.
        whole_training: The training clips, uncropped.
        backbone: What made the features, if it was given.
    """

    settings: DataSettings
    inputs: frozenset[str]
    make_training: Callable[..., tf.data.Dataset]
    whole_training: tf.data.Dataset
    backbone: keras.Model | None = None


def labels_of(
    clips: Sequence[Clip], class_names: Sequence[str], multi_label: bool
) -> np.ndarray:
    """Returns the labels of clips: see `Part`.

    Args:
        clips: The clips.
        class_names: Names of the classes.
        multi_label: Whether a clip can be of several.
    """
    labels = [
        [name in clip.labels for name in class_names]
        if multi_label
        else class_names.index(clip.label)
        for clip in clips
    ]
    return np.array(labels, np.int32)


def batches_of_arrays(
    inputs: Any, labels: np.ndarray, batch_size: int
) -> Callable[..., tf.data.Dataset]:
    """Returns a function that makes batches of arrays.

    Args:
        inputs: An array, or a dictionary of arrays, a row a clip.
        labels: The clips' labels.
        batch_size: Clips in a batch.

    Returns:
        A function of the further keywords of `make_epoch`.
    """
    with tf.device("CPU"):  # once, and not into the memory of a GPU
        tensors = tf.nest.map_structure(tf.convert_to_tensor, (inputs, labels))

    def take(places):  # a batch at once: a third faster than one by one
        return tf.nest.map_structure(lambda x: tf.gather(x, places), tensors)

    def batches(**which):
        places = make_epoch(
            len(labels), lambda place, epoch: place, batch_size, **which
        )
        return places.map(take)

    return batches


def pick_inputs(
    dataset: tf.data.Dataset, keys: Collection[str]
) -> tf.data.Dataset:
    """Returns the dataset with these inputs alone.

    The mask is always there, as one of all locations: `(batch, time, height,
    width)`.
    """

    def pick(inputs, label):
        picked = {key: inputs[key] for key in keys if key in inputs}
        mask = inputs["mask"]
        if len(mask.shape) == 2:
            mask = mask[:, :, None, None]
        locations = tf.shape(inputs["features"])[:-1]
        picked["mask"] = tf.broadcast_to(mask, locations)
        return picked, label

    return dataset.map(pick)
