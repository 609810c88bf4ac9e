"""How far the camera of a clip moves."""

import math

import numpy as np
import pytest

from actx_tf.data import camera_movement
from actx_tf.data import read_clip
from tests.moving_square import background
from tests.moving_square import moving_square
from tests.test_conjugates import SC_FIGHT


def panned(step, count=9, height=80, width=120):
    """The picture moves to the left by so many pixels a frame."""
    scene = background(height, width + step * count)
    return np.stack(
        [scene[:, step * i : step * i + width] for i in range(count)]
    )


def test_a_still_camera():
    frames, _, _ = moving_square()
    assert camera_movement(frames) < 0.1
    assert camera_movement(frames[:1]) == 0


@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_camera_that_pans(step):
    # In percent of the 80 pixels of the shorter side, after 8 steps.
    expected = 100 * 8 * step / 80
    assert camera_movement(panned(step)) == pytest.approx(expected, rel=0.02)
    # Larger frames are the same picture.
    larger = panned(step).repeat(6, 1).repeat(6, 2)
    assert camera_movement(larger) == pytest.approx(expected, rel=0.05)


def test_it_is_the_farthest_that_counts():
    there = panned(2)
    frames = np.concatenate([there, there[::-1]])
    assert camera_movement(frames) == pytest.approx(20, rel=0.02)


def test_what_is_masked_does_not_count():
    frames = panned(3)
    masks = np.zeros(frames.shape[:3], bool)
    masks[:, 30:] = True
    frames[:, :30] = frames[0, :30]
    assert camera_movement(frames) > 10  # most of the picture moves
    assert camera_movement(frames, masks) < 0.5


def test_what_cannot_be_told():
    assert math.isnan(camera_movement(np.zeros((5, 64, 64, 3), np.uint8)))
    cut = np.stack([background(seed=0), background(seed=1)])
    assert math.isnan(camera_movement(cut))


@pytest.mark.skipif(not SC_FIGHT.exists(), reason="needs real clips")
def test_real_cameras():
    """One on a wall, one that is swung."""
    still, _ = read_clip(SC_FIGHT / "fight/fi118.mp4")
    moving, _ = read_clip(SC_FIGHT / "fight/fi108.mp4")
    assert camera_movement(still) < 0.2
    assert camera_movement(moving) > 10
