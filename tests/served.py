"""A small exported model, and what it must answer."""

import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from actx_tf.data import synthetic
from actx_tf.data.resizing import resize_frames
from actx_tf.export import export_saved_model
from actx_tf.export import load_trained
from actx_tf.models import ActX
from actx_tf.prediction import VideoPredictor
from actx_tf.prediction import video_model

CLASS_NAMES = ("wave", "jump", "pushing — away")
CHANNELS = 64


@dataclasses.dataclass(frozen=True)
class Served:
    """A model, the backbone before it, and the folder of its version."""

    model: keras.Model
    backbone: keras.Model
    path: Path

    @functools.cached_property
    def predictor(self):
        """Of the SavedModel, which takes a second to load."""
        return VideoPredictor(self.path)

    def answer(self, features):
        """What each clip `(time, height, width, channels)` alone gets."""
        # Not `predict`, which compiles for each new size.
        outputs = {
            name: ops.convert_to_numpy(value)[0]
            for name, value in self.model(features[None]).items()
        }
        logits = outputs["logits"].astype("float64")
        scores = np.exp(logits - logits.max())
        scores /= scores.sum()
        return {
            "scores": scores,
            "label_index": np.argmax(scores),
            "label": CLASS_NAMES[np.argmax(scores)].encode(),
            "action_map": outputs["action_map"],
            "context_map": outputs["context_map"],
        }

    def answer_video(self, frames):
        frames = resize_frames(frames, self.backbone.description.size)
        features = self.backbone(frames[None])
        return self.answer(ops.convert_to_numpy(features)[0])

    def check(self, answers, clips, tolerance=1e-5):
        """Asserts that the answers for clips, maybe padded, are the model's.

        `answers` are arrays by name, `clips` feature maps or uint8 frames.
        """
        for i, clip in enumerate(clips):
            answer = self.answer_video if clip.dtype == "uint8" else self.answer
            for name, value in answer(clip).items():
                if name not in answers:
                    assert name.endswith("_map"), f"no {name}"
                    continue
                got = answers[name][i]
                if not name.endswith("_map"):
                    assert np.shape(got) == np.shape(value)
                else:
                    assert not got[len(value) :].any()
                    got = got[: len(value)]
                if name == "label":
                    assert got == value
                else:
                    np.testing.assert_allclose(
                        got, value, rtol=0, atol=tolerance
                    )


@pytest.fixture(scope="module")
def loaded_once():
    """A SavedModel takes a second to load: a module does it once for each."""
    with pytest.MonkeyPatch.context() as patch:
        load = functools.cache(load_trained)
        patch.setattr(video_model, "load_trained", load)
        yield


def make_served(base_dir, **kwargs):
    """Exports a model whose head is not tied, as small as one gets."""
    keras.utils.set_random_seed(3)
    backbone = synthetic.backbone()
    model = ActX(
        len(CLASS_NAMES),
        rho=40.0,
        class_names=CLASS_NAMES,
        description=backbone.description,
    )
    model.build((None, None, None, None, CHANNELS))
    path = export_saved_model(model, base_dir, backbone=backbone, **kwargs)
    return Served(model, backbone, path)


def random_features(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*shape, CHANNELS)).astype("float32")


def pad(clips):
    """Pads with the first value of each, as TF Serving does, and the lengths.

    See `pad_variable_length_inputs` of its batching parameters.
    """
    lengths = np.array([len(clip) for clip in clips], "int32")
    padded = [
        np.pad(
            clip,
            [(0, max(lengths) - len(clip)), (0, 0), (0, 0), (0, 0)],
            constant_values=clip.flat[0],
        )
        for clip in clips
    ]
    return np.stack(padded), lengths
