import sys

import numpy as np
import pytest

from actx_tf.data import optical_flow

cv2 = pytest.importorskip("cv2")

MIDDLE = (slice(16, -16), slice(16, -16))


def texture(dx=0.0, dy=0.0, seed=0, size=(72, 96)):
    """A sum of waves, moved by `dx` to the right and by `dy` down."""
    random = np.random.default_rng(seed)
    y, x = np.indices(size, dtype="float64")
    image = np.zeros(size)
    for _ in range(40):
        u, v = random.uniform(-0.4, 0.4, 2)
        phase = random.uniform(0, 2 * np.pi)
        image += np.cos(u * (x - dx) + v * (y - dy) + phase)
    return np.clip(128 + 12 * image, 0, 255)


def grey_clip(*places):
    frames = np.stack([texture(*place) for place in places])
    return np.repeat(np.round(frames)[..., None], 3, axis=-1).astype("uint8")


METHODS = [
    "dis",
    pytest.param(
        "tvl1",
        marks=pytest.mark.skipif(
            not hasattr(cv2, "optflow"), reason="no opencv-contrib"
        ),
    ),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "dx, dy", [(1, 0), (0, 1), (3, -2), (-2.5, 1.25), (0.5, -0.5)]
)
def test_known_motion(method, dx, dy):
    flow = optical_flow(grey_clip((0, 0), (dx, dy)), method)
    assert flow.shape == (2, 72, 96, 2)
    assert flow.dtype == np.float32
    middle = 20 * flow[0][MIDDLE]
    np.testing.assert_allclose(middle.mean((0, 1)), (dx, dy), atol=0.05)
    np.testing.assert_allclose(
        middle, np.broadcast_to((dx, dy), middle.shape), atol=0.3
    )


def test_a_frame_has_the_motion_to_the_next_and_the_last_repeats_it():
    flow = 20 * optical_flow(grey_clip((0, 0), (2, 0), (2, -3)))
    middle = np.stack([frame[MIDDLE].mean((0, 1)) for frame in flow])
    np.testing.assert_allclose(middle, [(2, 0), (0, -3), (0, -3)], atol=0.05)
    np.testing.assert_array_equal(flow[2], flow[1])


def test_what_stands_still():
    np.testing.assert_array_equal(optical_flow(grey_clip((0, 0))), 0)
    flow = optical_flow(grey_clip((0, 0), (0, 0), (4, 0)))
    np.testing.assert_allclose(flow[0], 0, atol=1e-3)
    assert flow[1][MIDDLE].mean() > 0.05


def test_motion_is_clipped():
    clip = grey_clip((0, 0), (8, -1)).repeat(4, 1).repeat(4, 2)
    flow = optical_flow(clip)
    assert np.abs(flow).max() == 1
    middle = np.median(flow[0], (0, 1))
    np.testing.assert_allclose(middle, (1, -4 / 20), atol=0.02)


def test_grey_is_the_luma_of_rgb():
    # Red moves to the right and blue, which is darker, to the left.
    frames = np.zeros((2, 72, 96, 3))
    for number in range(2):
        frames[number, ..., 0] = texture(3 * number, seed=1)
        frames[number, ..., 2] = texture(-3 * number, seed=2)
    frames = np.round(frames).astype("uint8")
    luma = np.round(frames @ (0.299, 0.587, 0.114))  # BT.601
    luma = np.repeat(luma[..., None], 3, axis=-1).astype("uint8")
    flow, expected = optical_flow(frames), optical_flow(luma)
    assert np.abs(20 * (flow - expected)).mean() < 0.05
    assert 20 * np.median(flow[0][MIDDLE][..., 0]) > 1.5


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 32, 32, 3)),
        np.zeros((2, 32, 32), "uint8"),
        np.zeros((2, 32, 32, 1), "uint8"),
        np.zeros((0, 32, 32, 3), "uint8"),
        np.zeros((2, 11, 32, 3), "uint8"),
    ],
)
def test_wrong_frames(frames):
    with pytest.raises(ValueError, match="`frames` must be.*Received"):
        optical_flow(frames)


def test_wrong_arguments():
    frames = np.zeros((1, 32, 32, 3), "uint8")
    with pytest.raises(ValueError, match="`method`.*'dis'.*method='farneback'"):
        optical_flow(frames, "farneback")


def test_what_must_be_installed(monkeypatch):
    frames = np.zeros((1, 32, 32, 3), "uint8")
    monkeypatch.delattr(cv2, "optflow", raising=False)
    with pytest.raises(ImportError, match="opencv-contrib-python-headless"):
        optical_flow(frames, "tvl1")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"actx_tf\[video\]"):
        optical_flow(frames)
