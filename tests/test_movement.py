"""Whether maps lie where things move."""

import dataclasses

import numpy as np
import pytest

from actx_tf.experiments.movement import movement_auc
from actx_tf.experiments.movement import movement_map
from actx_tf.prediction import VideoPrediction


def cells(*counts):
    return tuple((np.arange(count) + 0.5) / count for count in counts)


def test_the_map_is_the_mean_change_of_each_cell():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (9, 6, 8, 3), np.uint8)
    actual = movement_map(frames, cells(2, 3, 4))
    changes = np.abs(np.diff(frames.astype(int), axis=0)).mean(axis=-1)
    for step, part in enumerate((changes[:4], changes[4:])):
        blocks = part.reshape(-1, 3, 2, 4, 2)
        np.testing.assert_allclose(
            actual[step], blocks.mean(axis=(0, 2, 4)), atol=1e-9
        )


def walk(num_frames=32, size=40):
    """A bright square that walks from the left to the right, then stops."""
    frames = np.full((num_frames, size, size, 3), 60, np.uint8)
    for i in range(num_frames):
        left = min(i, num_frames // 2)
        frames[i, 16:24, left : left + 8] = 230
    return frames


def prediction(frames, action_map):
    return VideoPrediction(
        num_frames=len(frames),
        read_frames=lambda: (frames, 25.0),
        action_map=action_map,
        context_map=1 - action_map,
        centers=cells(*action_map.shape),
        scores=np.ones(1),
        class_names=["walk"],
    )


def test_a_map_on_the_walker_is_told_from_others():
    frames = walk()
    on_it = np.zeros((4, 5, 5), np.float32)
    # Frames change at its edges, and no more from the middle on.
    on_it[0, 2, :2] = on_it[1, 2, :3] = on_it[2, 2, 1:3] = 1
    assert movement_auc(prediction(frames, on_it)) > 0.9
    assert movement_auc(prediction(frames, 1 - on_it)) < 0.1
    nowhere = np.zeros_like(on_it)
    assert movement_auc(prediction(frames, nowhere)) == pytest.approx(0.5)


def test_where_nothing_moves_there_is_no_figure():
    still = np.repeat(walk()[:1], 8, axis=0)
    maps = np.ones((2, 5, 5), np.float32)
    for frames in (still, still[:1]):
        assert np.isnan(movement_auc(prediction(frames, maps)))


def test_maps_are_needed():
    without = dataclasses.replace(
        prediction(walk(), np.ones((2, 5, 5))), action_map=None
    )
    with pytest.raises(TypeError, match="must be of a model with maps"):
        movement_auc(without)
