"""Backbones of SavedModels, against the networks they were exported from."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from actx_tf.backbones import from_saved_model
from actx_tf.backbones.description import Axis
from actx_tf.models import load_model
from tests.harness import assert_close
from tests.harness import run_fresh

CLIP = np.random.default_rng(0).uniform(0, 255, (2, 18, 8, 12, 3))
CLIP = CLIP.astype("float32")


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((None, None, None, 3)),
            layers.Conv3D(4, (9, 4, 4), (9, 4, 4)),
            layers.BatchNormalization(),
        ]
    )


@pytest.fixture
def folder(network, tmp_path):
    network.export(tmp_path / "x3d" / "1", verbose=False)
    return tmp_path / "x3d" / "1"


def expected(network):
    return network(CLIP / 127.5 - 1)


def test_equals_the_network(network, folder):
    backbone = from_saved_model(folder, frame_rate=8.0, value_range=(-1, 1))
    shutil.rmtree(folder)  # it was copied
    assert_close(backbone(CLIP), expected(network), 1e-5)
    description = backbone.description
    assert description.name.startswith("x3d_")
    assert description.time == Axis(((9, 9, (0, 0)),))
    assert description.height == Axis(((4, 4, (0, 0)),))
    assert description.frame_rate == 8.0
    assert backbone.export_obstacle is None


def test_names_tell_the_files_apart(network, folder):
    name = from_saved_model(folder).description.name
    assert from_saved_model(folder).description.name == name
    network.layers[-1].moving_mean.assign([1, 2, 3, 4])
    network.export(folder.parent / "2", verbose=False)
    assert from_saved_model(folder.parent / "2").description.name != name


def test_a_file_in_a_fresh_process(network, folder, tmp_path):
    backbone = from_saved_model(folder, value_range=(-1, 1), num_frames=18)
    path = tmp_path / "backbone.keras"
    backbone.save(path)
    with pytest.raises(ValueError, match="SavedModel.*safe_mode=False"):
        load_model(path)
    shutil.rmtree(folder)
    np.save(tmp_path / "clip.npy", CLIP)
    np.save(tmp_path / "features.npy", expected(network))
    digest = run_fresh(
        "import sys, keras, numpy as np, actx_tf.backbones\n"
        "path = sys.argv[1] + '/backbone.keras'\n"
        "model = keras.saving.load_model(path, safe_mode=False)\n"
        "clip, features = (np.load(f'{sys.argv[1]}/{n}.npy')\n"
        "                  for n in ('clip', 'features'))\n"
        "np.testing.assert_allclose(model(clip), features, 1e-4, 1e-5)\n"
        "model.save(sys.argv[1] + '/again.keras')\n"
        "print(model.description.digest)",
        tmp_path,
    )
    assert digest.strip() == backbone.description.digest
    again = keras.saving.load_model(tmp_path / "again.keras", safe_mode=False)
    assert_close(again(CLIP), expected(network), 1e-5)


def test_a_served_model_holds_it(network, folder, tmp_path):
    backbone = from_saved_model(folder, value_range=(-1, 1))
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        "serve",
        backbone.call,
        input_signature=[
            tf.TensorSpec((None, None, None, None, 3), name="frames")
        ],
    )
    archive.write_out(tmp_path / "served", verbose=False)
    del archive, backbone
    shutil.rmtree(folder)
    served = tf.saved_model.load(str(tmp_path / "served"))
    assert_close(served.serve(CLIP), expected(network), 1e-5)


def test_a_signature_of_integers_and_several_outputs(tmp_path):
    module = tf.Module()

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, None, None, 3), tf.uint8, "frames")
        ]
    )
    def run(frames):
        values = tf.cast(frames, tf.float32)
        return {"map": values[:, ::2], "pooled": tf.reduce_mean(values)}

    module.run = run
    tf.saved_model.save(module, str(tmp_path / "module"), {"run": run})
    backbone = from_saved_model(tmp_path / "module", "run", output="map")
    assert_close(backbone(CLIP), np.rint(CLIP)[:, ::2])
    assert backbone.description.frames_per_step == 2
    with pytest.raises(ValueError, match=r"`output` must be one of \['map'"):
        from_saved_model(tmp_path / "module", "run")


def test_mistakes_are_told(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="`path` must be the folder"):
        from_saved_model(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="`signature` must be one of"):
        from_saved_model(folder, "predict")
    with pytest.raises(ValueError, match="`input` must be one of"):
        from_saved_model(folder, input="pixels")
