"""Backbones of KerasHub's networks: tokens of a clip, and of its frames."""

import keras
import numpy as np
import pytest

from actx_tf.backbones import make_backbone
from tests.harness import assert_close
from tests.harness import run_fresh

keras_hub = pytest.importorskip("keras_hub")

FRAMES, HEIGHT, WIDTH, PATCH = 4, 24, 40, 8
ROWS, COLUMNS = HEIGHT // PATCH, WIDTH // PATCH


def clips(frames=FRAMES, width=WIDTH):
    rng = np.random.default_rng(0)
    clip = rng.uniform(0, 255, (1, frames, HEIGHT, width, 3))
    return clip.astype("float32")


def video_prism():
    """As `VideoPrismBackbone.from_preset` returns it, but small and random."""
    keras.utils.set_random_seed(0)
    return keras_hub.models.VideoPrismBackbone(
        num_frames=FRAMES,
        patch_size=PATCH,
        hidden_dim=8,
        intermediate_dim=16,
        num_heads=2,
        num_spatial_layers=1,
        num_temporal_layers=1,
        num_auxiliary_layers=0,
        image_shape=(HEIGHT, WIDTH, 3),
    )


def of_video_prism(network):
    return make_backbone(
        network, value_range=(0, 1), tokens=(FRAMES, ROWS, COLUMNS)
    )


@pytest.fixture(scope="module")
def backbone():
    return of_video_prism(video_prism())


def test_video_prism_becomes_a_map(backbone):
    clip = clips()
    tokens = backbone.network.network(clip / 255)
    assert tokens.shape == (1, FRAMES, ROWS * COLUMNS, 8)
    assert_close(
        backbone(clip), np.reshape(tokens, (1, FRAMES, ROWS, COLUMNS, 8)), 1e-5
    )


def test_video_prism_is_described(backbone):
    description = backbone.description
    assert description.num_frames == FRAMES
    assert description.size == (HEIGHT, WIDTH)
    assert description.channels == 8
    assert description.frames_per_step == 1
    assert description.height.stride == description.width.stride == PATCH
    # Attention over time, and over each frame.
    assert description.receptive_radius is None
    assert description.height.sees_all and description.width.sees_all
    time, height, width = description.centers(
        (FRAMES, ROWS, COLUMNS), (FRAMES, HEIGHT, WIDTH)
    )
    for centers in (time, height, width):
        cells = (np.arange(len(centers)) + 0.5) / len(centers)
        np.testing.assert_allclose(centers, cells)


def test_tokens_lie_where_their_patches_do(backbone):
    """Without attention a patch changes the features of its own location."""
    network = backbone.network.network
    weights = network.get_weights()
    for layer in network._flatten_layers():
        # What attention adds to a token is nothing.
        if type(layer).__name__ == "VideoPrismAttention":
            for weight in layer.weights:
                weight.assign(0 * weight)
    try:
        clip = clips()
        before = np.asarray(backbone(clip))
        for step, row, column in ((0, 0, 1), (2, 2, 0), (3, 1, 4)):
            changed = clip.copy()
            rows = slice(PATCH * row, PATCH * (row + 1))
            columns = slice(PATCH * column, PATCH * (column + 1))
            changed[0, step, rows, columns] = 0
            change = np.abs(np.asarray(backbone(changed)) - before)
            changes = np.argwhere(change[0].max(axis=-1) > 1e-5)
            np.testing.assert_array_equal(changes, [[step, row, column]])
    finally:
        network.set_weights(weights)


def dinov2(registers):
    keras.utils.set_random_seed(0)
    return keras_hub.models.DINOV2Backbone(
        patch_size=PATCH,
        num_layers=1,
        hidden_dim=8,
        num_heads=2,
        intermediate_dim=16,
        num_register_tokens=registers,
        image_shape=(HEIGHT, HEIGHT, 3),
        position_embedding_shape=(HEIGHT, HEIGHT),
    )


@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2_frame_by_frame(registers):
    network = dinov2(registers)
    backbone = make_backbone(
        network,
        frame_rate=4.0,
        frame_by_frame=True,
        tokens=(1, ROWS, ROWS),
        prefix_tokens=1 + registers,
        input="images",
        value_range=(-1, 1),
    )
    clip = clips(3, HEIGHT)
    tokens = np.asarray(network({"images": clip[0] / 127.5 - 1}))
    patches = tokens[:, 1 + registers :]
    assert_close(backbone(clip), patches.reshape(1, 3, ROWS, ROWS, 8), 1e-4)
    description = backbone.description
    assert description.size == (HEIGHT, HEIGHT)
    assert (description.frames_per_step, description.receptive_radius) == (1, 0)
    assert description.height.stride == PATCH
    assert description.height.sees_all


def test_files_in_a_fresh_process(backbone, tmp_path):
    images = make_backbone(
        dinov2(0),
        frame_by_frame=True,
        tokens=(1, ROWS, ROWS),
        prefix_tokens=1,
        input="images",
    )
    for name, one, clip in (
        ("video", backbone, clips()),
        ("images", images, clips(3, HEIGHT)),
    ):
        one.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", clip=clip, features=one(clip))
    digests = run_fresh(
        "import sys, numpy as np\n"
        "from actx_tf.models import load_model\n"
        "for name in ('video', 'images'):\n"
        "    model = load_model(f'{sys.argv[1]}/{name}.keras')\n"
        "    arrays = np.load(f'{sys.argv[1]}/{name}.npz')\n"
        "    features = model(arrays['clip'])\n"
        "    np.testing.assert_allclose(\n"
        "        features, arrays['features'], 1e-3, 1e-4)\n"
        "    print(model.description.digest)",
        tmp_path,
    )
    assert digests.split() == [
        one.description.digest for one in (backbone, images)
    ]
