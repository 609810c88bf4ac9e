"""Who acts, found by what differs or moves."""

import numpy as np
import pytest

from actx_tf.data import UnfitClip
from actx_tf.data import masks_by_difference
from actx_tf.data import masks_by_motion
from actx_tf.data.actor_masks import mask_overlap
from tests.moving_square import background
from tests.moving_square import moving_square
from tests.test_camera import panned


def test_what_differs_from_the_scene():
    frames, masks, behind = moving_square()
    noisy = (
        np.stack([behind] * 3)
        + np.arange(3, dtype=np.uint8)[:, None, None, None]
    )
    for scene in (None, np.stack([behind] * 5), noisy):
        found = masks_by_difference(frames, scene)
        assert found.shape == masks.shape and found.dtype == bool
        assert mask_overlap(found, masks) > 0.75


def test_who_stays_is_in_the_conjugate_alone_to_be_told():
    frames, masks, behind = moving_square()
    still = np.stack([frames[10]] * 20)
    assert not masks_by_difference(still).any()
    found = masks_by_difference(still, np.stack([behind] * 3))
    assert mask_overlap(found, np.stack([masks[10]] * 20)) > 0.75


def test_nothing_differs_by_noise_alone():
    behind = background()
    noise = np.random.default_rng(0).integers(0, 6, (20, *behind.shape))
    assert not masks_by_difference((behind + noise).astype(np.uint8)).any()


def test_cameras_that_move_and_other_sizes():
    frames, _, behind = moving_square()
    moving = panned(2)
    with pytest.raises(UnfitClip, match="camera moves"):
        masks_by_difference(moving)
    with pytest.raises(UnfitClip, match="camera moves"):
        masks_by_difference(moving, moving[:1].repeat(3, 0))
    with pytest.raises(UnfitClip, match="frames of .* pixels"):
        masks_by_difference(frames, np.stack([behind[:32]] * 3))
    with pytest.raises(UnfitClip, match="too few"):
        masks_by_difference(frames, behind[None])


def test_motion_and_colour():
    frames, masks, behind = moving_square()
    for share in (0.2, 0.5):
        found = masks_by_motion(frames, share)
        assert found.shape == masks.shape and (found == found[0]).all()
        assert found[0].mean() == pytest.approx(share, abs=0.01)
    assert found[0][masks.any(0)].mean() > 0.8
    with pytest.raises(UnfitClip, match="nothing moves"):
        masks_by_motion(np.stack([behind] * 3))
    with pytest.raises(ValueError, match="`share` must be in"):
        masks_by_motion(frames, 1.0)
    for find in (masks_by_motion, masks_by_difference):
        with pytest.raises(ValueError, match="`frames` must be uint8"):
            find(frames / 255)


def test_what_has_the_colour_of_what_moves_is_taken_too():
    behind = background()
    frames = np.stack([behind] * 10)
    for number, frame in enumerate(frames):
        # Of a large block, one edge alone moves.
        frame[12:52, 20 : 60 + 2 * (number % 2)] = (250, 20, 20)
    found = masks_by_motion(frames)[0]
    assert found[16:48, 24:56].mean() > 0.95
    assert found[:, 66:].mean() < 0.4


def test_overlap():
    masks = np.zeros((2, 4, 4), bool)
    masks[:, :2] = True
    assert mask_overlap(masks, masks) == 1
    assert mask_overlap(~masks, masks) == 0
    assert mask_overlap(masks, np.ones_like(masks)) == 0.5
