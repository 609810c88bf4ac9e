"""One resize: Python's frames and the graph's are equal to 1 of 255."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from actx_tf.backbones.description import resized
from actx_tf.data import read_clip
from actx_tf.data.resizing import resize_frame
from actx_tf.data.resizing import resize_frames

DATA = Path(__file__).parents[2] / "shared" / "data"
SIZES = [(224, 224), (256, 341), (61, 47), (480, 640), 256, 112, 97, None]


def real_frames():
    videos = sorted((DATA / "sc_fight" / "fight").glob("*.mp4"))[::20]
    if not videos:
        pytest.skip("needs the clips of sc_fight")
    for video in videos:
        yield read_clip(video, num_frames=3)[0]


def in_graph(size):
    """One trace for all sizes of frames, as in a SavedModel."""
    signature = [tf.TensorSpec((None, None, None, 3), tf.uint8)]
    return tf.function(
        lambda frames: resize_frames(frames, size), input_signature=signature
    )


@pytest.mark.parametrize("size", SIZES)
def test_real_frames_in_python_and_in_a_graph(size):
    graph = in_graph(size)
    for clip in real_frames():
        of_graph = graph(clip).numpy()
        target = resized(size, *clip.shape[1:3])
        of_python = np.stack([resize_frame(frame, target) for frame in clip])
        difference = np.abs(of_graph - of_python.astype("float32"))
        assert difference.max() <= 1
        assert difference.mean() < 0.3
        np.testing.assert_array_equal(of_graph, np.rint(of_graph))


@pytest.mark.parametrize("size", SIZES)
def test_any_size_of_frame(size):
    rng = np.random.default_rng(0)
    graph = in_graph(size)
    for height, width in itertools.product((1, 31, 240, 427), (2, 97, 320)):
        frame = rng.integers(0, 256, (height, width, 3), np.uint8)
        of_graph = graph(frame[None]).numpy()[0]
        of_python = resize_frame(frame, resized(size, height, width))
        assert np.abs(of_graph - of_python.astype("float32")).max() <= 1


def test_small_frames_are_means_and_not_samples():
    """A fine chessboard becomes grey: what antialiasing is for."""
    board = np.indices((256, 256)).sum(axis=0) % 2 * 255
    frame = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    small = resize_frame(frame, (32, 32))
    assert np.abs(small.astype(int) - 127.5).max() <= 2


def test_a_frame_of_the_size_is_left_as_it_is():
    frame = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    np.testing.assert_array_equal(resize_frame(frame, (8, 9)), frame)
    np.testing.assert_array_equal(in_graph((8, 9))(frame[None])[0], frame)
