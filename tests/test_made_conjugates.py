"""Conjugates that are made of the clips themselves."""

import re

import numpy as np
import pytest

from actx_tf.data import Clip
from actx_tf.data import Masks
from actx_tf.data import emptied_conjugates
from actx_tf.data import frozen_conjugates
from actx_tf.data import made_conjugates
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index
from actx_tf.data import write_masks
from tests.lossless import write_lossless
from tests.moving_square import moving_square
from tests.test_camera import panned


@pytest.fixture
def clips(tmp_path):
    """Of a square that moves, a camera that does, and others."""
    write_lossless(tmp_path / "a.mp4", moving_square()[0])
    write_lossless(tmp_path / "b.mp4", panned(2))
    rows = (
        ("a", "a.mp4", "run", "train"),
        ("b", "b.mp4", "run", "train"),
        ("gone", "gone.mp4", "run", "train"),
        ("n", "a.mp4", "background", "train"),
        ("t", "a.mp4", "run", "test"),
    )
    return [
        Clip(
            name,
            str(tmp_path / file),
            label,
            split,
            source=f"of {name}",
            extra={"scene": "s"},
        )
        for name, file, label, split in rows
    ]


def made(clips):
    return {c.clip: c for c in clips if c.split == "conjugate"}


def test_frozen_conjugates(clips, tmp_path):
    videos = tmp_path / "new" / "frozen"
    found, missing = frozen_conjugates(clips, videos)
    names = [c.clip for c in found]
    assert names == ["a", "a.frozen", "b", "b.frozen", "gone", "n", "t"]
    assert [c.conjugates for c in found if c.conjugates] == [
        ("a.frozen",),
        ("b.frozen",),
    ]
    ((clip, reason),) = missing
    assert clip.clip == "gone" and "there is no such file" in reason
    # The others are what they were.
    assert [c for c in found if c.clip in ("gone", "n", "t")] == clips[2:]
    for clip in clips[:2]:
        conjugate = made(found)[f"{clip.clip}.frozen"]
        assert (conjugate.label, conjugate.split) == ("conjugate",) * 2
        assert conjugate.source == clip.source
        assert conjugate.extra == clip.extra
        frames, rate = read_clip(clip.file)
        held, held_rate = read_clip(conjugate.file)
        assert held.shape == frames.shape and held_rate == rate
        assert (held == held[0]).all()
        # Which one it is: the others differ from it by more than the codec.
        errors = abs(held[0] - frames.astype(float)).mean((1, 2, 3))
        assert errors.argmin() == round((len(frames) - 1) / 2)
    write_clip_index(tmp_path / "pairs.csv", found)
    assert read_clip_index(tmp_path / "pairs.csv") == found


def test_splits(clips, tmp_path):
    found, _ = frozen_conjugates(clips, tmp_path, splits=("train", "test"))
    assert set(made(found)) == {"a.frozen", "b.frozen", "t.frozen"}
    found, missing = emptied_conjugates(clips, tmp_path, splits=("test",))
    assert set(made(found)) == {"t.emptied"} and not missing
    with pytest.raises(ValueError, match=r"'validation' \(`splits`\)"):
        frozen_conjugates(clips, tmp_path / "none", splits=("validation",))
    assert not (tmp_path / "none").exists()


def test_a_part_of_a_file(clips, tmp_path):
    part = Clip(
        *("p", clips[0].file, "run", "train"),
        start=0.5,
        end=1.5,
        box=(10, 5, 61, 64),
    )
    frames, rate = read_clip(part.file, start=0.5, end=1.5, box=part.box)
    for at, number in ((0, 0), (1, 7)):
        found, _ = frozen_conjugates([part], tmp_path / str(at), at=at)
        conjugate = made(found)["p.frozen"]
        assert conjugate.part == {"start": 0, "end": None, "box": None}
        held, held_rate = read_clip(conjugate.file)
        assert held.shape == frames.shape == (8, 59, 51, 3)
        assert held_rate == rate
        # As the square has moved on since the file began.
        errors = abs(held[0] - frames.astype(float)).mean((1, 2, 3))
        assert errors.argmin() == number

    _, masks, behind = moving_square()
    for known in (None, {"p": masks[4:12]}):
        videos = tmp_path / ("median" if known is None else "masks")
        found, missing = emptied_conjugates([part], videos, known)
        assert not missing
        empty, empty_rate = read_clip(made(found)["p.emptied"].file)
        assert empty.shape == frames.shape and empty_rate == rate
        error = abs(empty - behind[5:64, 10:61].astype(float)).mean((1, 2, 3))
        assert error.max() < abs(frames - empty.astype(float)).mean() / 1.5


def test_emptied_conjugates(clips, tmp_path):
    found, missing = emptied_conjugates(clips, tmp_path / "median")
    assert [(c.clip, reason.split(",")[0]) for c, reason in missing] == [
        ("b", "its camera moves"),
        ("gone", f"{clips[2].file!r}: there is no such file"),
    ]
    (conjugate,) = made(found).values()
    assert conjugate.clip == "a.emptied"
    empty, _ = read_clip(conjugate.file)
    assert (empty == empty[0]).all()
    _, masks, behind = moving_square()
    where = masks.any(0)
    assert abs(empty[0] - behind.astype(float))[where].mean() < 25
    given, _ = read_clip(clips[0].file)
    assert abs(given - behind.astype(float))[masks].mean() > 75

    # With masks, of a file, that of the moving camera too.
    masks_of_b = np.zeros((9, 80, 120), bool)
    masks_of_b[:, 20:40, 50:60] = True
    path = tmp_path / "masks.npz"
    write_masks(path, [("a", masks), ("b", masks_of_b)])
    found, missing = emptied_conjugates(clips, tmp_path / "by", Masks(path))
    assert [c.clip for c, _ in missing] == ["gone"]
    for clip, known in ((clips[0], masks), (clips[1], masks_of_b)):
        frames, _ = read_clip(clip.file)
        empty, _ = read_clip(made(found)[f"{clip.clip}.emptied"].file)
        error = abs(empty - frames.astype(float)).mean(-1)
        assert error[known].mean() > 2 * error[~known].mean()


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (np.ones((19, 64, 96), bool), r"of \(19, 64, 96\) frames and pixels"),
        (np.ones((20, 48, 96), bool), "and the clip of"),
        (np.ones((20, 64, 104), bool), "and the clip of"),
        (np.zeros((20, 64, 100), bool), "nobody to remove"),
    ],
)
def test_masks_that_do_not_fit(clips, tmp_path, masks, words):
    _, missing = emptied_conjugates(clips[:1], tmp_path, {"a": masks})
    ((_, reason),) = missing
    assert re.search(words, reason)


def test_a_call_goes_on_after_an_interruption(clips, tmp_path, monkeypatch):
    videos = tmp_path / "frozen"
    write = made_conjugates.write_video

    def interrupted(path, *arguments):
        if "b.frozen" in path:
            raise KeyboardInterrupt
        write(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(made_conjugates, "write_video", interrupted)
        with pytest.raises(KeyboardInterrupt):
            frozen_conjugates(clips, videos)
    assert [path.name for path in videos.iterdir()] == ["a.frozen.mp4"]
    before = (videos / "a.frozen.mp4").stat().st_mtime_ns
    found, missing = frozen_conjugates(clips, videos)
    assert sorted(made(found)) == ["a.frozen", "b.frozen"]
    assert (videos / "a.frozen.mp4").stat().st_mtime_ns == before
    assert frozen_conjugates(clips, videos) == (found, missing)


def test_other_files_are_not_replaced(clips, tmp_path):
    frozen_conjugates(clips, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for call in (
        lambda: frozen_conjugates(clips, tmp_path, at=0),
        # Another clip of the same name.
        lambda: frozen_conjugates(
            [Clip("a", clips[1].file, "run", "train")], tmp_path
        ),
    ):
        with pytest.raises(ValueError, match="`videos` must not hold"):
            call()
    emptied_conjugates(clips[:1], tmp_path)
    with pytest.raises(ValueError, match="a.emptied.mp4"):
        emptied_conjugates(clips[:1], tmp_path, most_movement=2)
    (tmp_path / "b.emptied.mp4").write_text("of somebody")
    with pytest.raises(ValueError, match="no video"):
        emptied_conjugates(clips[:2], tmp_path)
    assert (
        before.items()
        <= {path: path.read_bytes() for path in tmp_path.iterdir()}.items()
    )


@pytest.mark.parametrize("way", [frozen_conjugates, emptied_conjugates])
def test_wrong_clips(clips, tmp_path, way):
    with pytest.raises(ValueError, match="an action clip of the split 'train'"):
        way(clips[3:], tmp_path / "v")
    found, _ = way(clips, tmp_path / "v")
    with pytest.raises(ValueError, match="is the index mined already"):
        way(found, tmp_path / "v")
    with pytest.raises(ValueError, match="`at`|`margin`"):
        way(
            clips,
            tmp_path / "w",
            **({"at": 2} if way is frozen_conjugates else {"margin": -1}),
        )
