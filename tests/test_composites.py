"""Pasting actors on scenes, and scenes that no camera saw."""

import numpy as np
import pytest

from actx_tf.data import composites


def test_pasted_actors_are_theirs_inside_and_the_scene_outside():
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (3, 20, 30, 3), np.uint8)
    scene = random.integers(0, 256, (20, 30, 3), np.uint8)
    masks = np.zeros((3, 20, 30), bool)
    masks[:, 5:15, 8:22] = True
    alphas = composites.feathered(masks, 1.0)
    assert alphas.dtype == np.float32
    assert not alphas[~masks].any()  # feathered inwards
    assert alphas.max() == 1
    assert ((alphas > 0.1) & (alphas < 0.9)).any()
    found = composites.pasted(frames, alphas, scene)
    np.testing.assert_array_equal(found[alphas == 1], frames[alphas == 1])
    outside = np.broadcast_to(scene, found.shape)[alphas == 0]
    np.testing.assert_array_equal(found[alphas == 0], outside)


def test_few_frames_go_back_and_forth():
    for length in (2, 15, 23):
        places = composites.there_and_back(length, 24)
        assert len(places) == 24
        assert set(places) == set(range(length))
        assert set(np.abs(np.diff(places))) == {1}
    places = composites.there_and_back(40, 24, 9)
    np.testing.assert_array_equal(places, np.arange(9, 33))
    np.testing.assert_array_equal(composites.there_and_back(1, 3), [0, 0, 0])


@pytest.mark.parametrize("size", [(30, 40), (90, 20), (11, 13), (60, 81)])
def test_scenes_cover_what_they_are_shown_in(size):
    frame = np.zeros((60, 80, 3), np.uint8)
    frame[25:35, 35:45] = 255  # in the middle
    found = composites.covering(frame, size)
    assert found.shape == (*size, 3) and found.dtype == np.uint8
    weights = found[..., 0] / found[..., 0].sum()
    for axis, side in enumerate(size):
        middle = (weights.sum(1 - axis) * np.arange(side)).sum()
        assert middle == pytest.approx((side - 1) / 2, abs=1)


@pytest.mark.parametrize("draw", [composites.stripes, composites.noise])
def test_drawn_scenes(draw):
    size = (48, 64)
    first = draw(size, 1)
    assert first.shape == (*size, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, draw(size, 1))
    assert (first != draw(size, 2)).mean() > 0.3


def test_stripes_are_of_two_opposite_colours():
    for seed in range(20):
        colors = np.unique(
            composites.stripes((48, 64), seed).reshape(-1, 3), axis=0
        )
        assert len(colors) == 2
        np.testing.assert_array_equal(colors.sum(0), [255] * 3)
