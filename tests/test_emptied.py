"""People are removed, and nothing else."""

import numpy as np
import pytest

from actx_tf.data import UnfitClip
from actx_tf.data import emptied
from tests.moving_square import background
from tests.moving_square import moving_square
from tests.test_camera import panned


@pytest.mark.parametrize("count", [3, 20, 21, 90])
def test_the_median_is_what_is_behind(count):
    frames, _, behind = moving_square(count)
    found = emptied(frames)
    assert found.shape == frames.shape and found.dtype == np.uint8
    assert (found == behind).all()


def test_who_stays_is_left():
    frames, _, behind = moving_square()
    frames[:11] = frames[0]
    assert (emptied(frames) == frames[0]).all()


def test_a_camera_that_moves_has_no_median():
    with pytest.raises(UnfitClip, match=r"its camera moves, by 2\d\.\d%"):
        emptied(panned(2))
    assert emptied(panned(2), most_movement=50).shape == panned(2).shape
    with pytest.raises(UnfitClip, match="cannot be seen"):
        emptied(np.zeros((5, 64, 64, 3), np.uint8))
    with pytest.raises(UnfitClip, match="2 frames are too few"):
        emptied(moving_square(2)[0])


def test_masked_pixels_are_filled_from_other_times():
    frames, masks, behind = moving_square()
    # Something else moves, and stays as it is.
    frames[np.arange(20), 60, np.arange(20)] = 255
    expected = np.where(masks[..., None], behind, frames)
    for margin in (0, 3):
        found = emptied(frames, masks, margin)
        np.testing.assert_array_equal(found, expected)
    # A margin is for what the masks do not cover.
    narrow = masks & np.roll(masks, 2, 2) & np.roll(masks, -2, 2)
    assert (emptied(frames, narrow, 0) != expected).any()
    np.testing.assert_array_equal(emptied(frames, narrow, 4), expected)


def test_what_is_never_seen_is_painted():
    frames, masks, behind = moving_square()
    masks[:, 40:50, 30:40] = True
    frames[:, 40:50, 30:40] = (0, 255, 0)
    frames[:, 30:60, 20:50][~masks[:, 30:60, 20:50]] = 100  # around it
    found = emptied(frames, masks, 0)
    # But for what the inpainting rounds.
    assert (abs(found[:, 40:50, 30:40] - 100.0) <= 5).all()
    assert (found[~masks] == frames[~masks]).all()


def test_a_moving_camera_is_painted_frame_by_frame():
    frames = panned(2)
    masks = np.zeros(frames.shape[:3], bool)
    masks[1:, 30:40, 50:60] = True
    frames[masks] = (255, 0, 255)
    found = emptied(frames, masks, 0)
    assert (found[~masks] == frames[~masks]).all()
    # No value that is not around it.
    assert found[masks].max() <= 200 and found[masks].min() >= 40


def test_masks_that_do_not_help():
    frames, masks, _ = moving_square()
    with pytest.raises(UnfitClip, match="nobody to remove"):
        emptied(frames, np.zeros_like(masks))
    with pytest.raises(UnfitClip, match="cover all of a frame"):
        emptied(frames, np.ones_like(masks))


@pytest.mark.parametrize(
    ("frames", "masks", "words"),
    [
        (np.zeros((3, 8, 8, 3)), None, "`frames` must be uint8"),
        (background(), None, "`frames` must be uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), None, "`frames` must be uint8"),
        (
            np.zeros((3, 8, 8, 3), np.uint8),
            np.zeros((3, 8, 8), np.uint8),
            "`masks` must be booleans",
        ),
        (
            np.zeros((3, 8, 8, 3), np.uint8),
            np.zeros((2, 8, 8), bool),
            "`masks` must be booleans",
        ),
    ],
)
def test_wrong_arguments(frames, masks, words):
    with pytest.raises(ValueError, match=words):
        emptied(frames, masks)
    with pytest.raises(ValueError, match="`margin` must be"):
        emptied(moving_square()[0], margin=-1)
