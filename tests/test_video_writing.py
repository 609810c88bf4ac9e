"""Video files that hold what they are given."""

import itertools

import numpy as np
import pytest

from actx_tf.data import read_clip
from actx_tf.data.video_writing import read_comment
from actx_tf.data.video_writing import write_video
from tests.harness import ROOT
from tests.moving_square import background
from tests.moving_square import moving_square
from tests.test_video import write_video as write_any_video

POUR = ROOT.parent / "shared/data/jhmdb/videos/pour_52.mp4"


# Also where height or width are odd, or not those of whole blocks of 16.
@pytest.mark.parametrize("size", [(64, 96), (50, 70), (49, 71)])
def test_what_is_held_is_still(tmp_path, size):
    image = background(*size)
    image = image // 2 + np.arange(size[1], dtype=np.uint8)[:, None] // 2
    path = tmp_path / "a.mp4"
    write_video(path, itertools.repeat(image, 300), 30000 / 1001, held=True)
    frames, rate = read_clip(path)
    assert frames.shape == (300, *size, 3)
    assert rate == pytest.approx(30000 / 1001)
    assert (frames == frames[0]).all()
    # Random colours of small blocks are the hardest.
    assert abs(frames[0].mean((0, 1)) - image.mean((0, 1))).max() < 3
    assert abs(frames[0].mean(-1) - image.mean(-1)).mean() < 6


@pytest.mark.skipif(not POUR.exists(), reason="needs real clips")
def test_a_real_frame_is_still(tmp_path):
    """One in which predictions from two frames differ from both."""
    image = read_clip(POUR)[0][20]
    path = tmp_path / "a.mp4"
    write_video(path, itertools.repeat(image, 40), 30, held=True)
    frames, _ = read_clip(path)
    assert (frames == frames[0]).all()


@pytest.mark.parametrize("rate", [8, 12.5, 60])
def test_what_moves_is_near(tmp_path, rate):
    frames, _, _ = moving_square(20, 96, 128)
    frames = frames.mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8)
    write_video(tmp_path / "a.mp4", frames, rate, comment="of a, ü")
    read, read_rate = read_clip(tmp_path / "a.mp4")
    assert read.shape == frames.shape and read_rate == pytest.approx(rate)
    assert abs(read - frames.astype(float)).mean() < 3
    assert read_comment(tmp_path / "a.mp4") == "of a, ü"


def test_colours(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40)]
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    frames[:] = np.array(colours, np.uint8)[:, None, None]
    write_video(tmp_path / "a.mp4", frames, 4)
    read, _ = read_clip(tmp_path / "a.mp4")
    assert abs(read - frames.astype(float)).max() <= 4


def test_a_file_is_whole_or_not_there(tmp_path):
    def breaks_off():
        yield from moving_square(5)[0]
        raise KeyboardInterrupt

    path = tmp_path / "a.mp4"
    with pytest.raises(KeyboardInterrupt):
        write_video(path, breaks_off(), 8)
    with pytest.raises(ValueError, match="`frames` must not be empty"):
        write_video(path, [], 8)
    assert not list(tmp_path.iterdir())
    write_video(path, moving_square(5)[0], 8)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_video(path, breaks_off(), 8)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_files_have_no_comment(tmp_path):
    write_any_video(tmp_path / "a.mp4")
    assert read_comment(tmp_path / "a.mp4") == ""
