"""Pairs of clips that are read from video files as they are needed."""

import collections
import dataclasses
import threading
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from actx_tf.data import Augmentation
from actx_tf.data import Clip
from actx_tf.data import find_readable
from actx_tf.data import make_video_dataset
from actx_tf.data import make_video_pair_dataset
from actx_tf.data import video_clips
from actx_tf.data.augmentation import View
from actx_tf.data.backbone_input import seen_frames
from actx_tf.data.mixing import MIXINGS
from actx_tf.data.video_clips import read_stretch
from tests.described import describe
from tests.lossless import write_lossless

CLASSES = ("jump", "none", "run")
SIDE = 32
SEES = describe("net", 4, 2, frame_rate=8.0, size=(SIDE, SIDE))


def random_video(frames, seed, sides=(SIDE, SIDE)):
    """Of large squares: what resizing leaves recognizable."""
    random = np.random.default_rng(seed)
    squares = random.integers(0, 256, (frames, 4, 4, 3), np.uint8)
    return squares.repeat(sides[0] // 4, 1).repeat(sides[1] // 4, 2)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Six action clips and, of each, a conjugate with the same pixels."""
    folder = tmp_path_factory.mktemp("videos")
    clips = []
    for i in range(6):
        path = str(
            write_lossless(folder / f"{i}.mp4", random_video(8 + 2 * i, i))
        )
        label = ("jump", "run")[i % 2]
        clips.append(Clip(f"c{i}", path, label, "train", (f"n{i}",)))
        clips.append(Clip(f"n{i}", path, "none", "train"))
    return clips


@pytest.fixture(scope="module")
def videos(clips):
    videos, failed = find_readable(clips, SEES, progress=False)
    assert not failed
    return videos


def batches(videos, clips, description=SEES, crop_frames=8, **settings):
    dataset = make_video_pair_dataset(
        videos,
        [clip for clip in clips if clip.label != "none"],
        CLASSES,
        description,
        crop_frames,
        **{"background": ("none",), "epoch": 0, **settings},
    )
    return list(dataset.as_numpy_iterator())


def joined(batches, key):
    return np.concatenate([inputs[key] for inputs, _ in batches])


def test_what_is_there_is_found_and_the_rest_is_named(clips, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    broken = [
        Clip("gone", str(tmp_path / "gone.mp4"), "run", "train"),
        Clip("broken", str(tmp_path / "broken.mp4"), "run", "train"),
        dataclasses.replace(clips[0], clip="late", start=99.0),
    ]
    videos, failed = find_readable([*clips, *broken], SEES, progress=False)
    assert [clip.clip for clip, _ in failed] == ["gone", "broken", "late"]
    assert all(message for _, message in failed)
    for i in range(6):
        video = videos[f"c{i}"]
        assert video[1:] == (8 + 2 * i, SIDE, SIDE)


@pytest.mark.parametrize("rate", [8.0, 5.0, 12.0, None])
@pytest.mark.parametrize(
    "part", [{}, {"start": 0.5, "end": 1.5}, {"box": (8, 0, 24, 16)}]
)
def test_a_stretch_is_that_of_the_whole_clip(clips, rate, part):
    description = dataclasses.replace(SEES, frame_rate=rate)
    clip = dataclasses.replace(clips[-1], **part)
    videos, _ = find_readable([clip], description, progress=False)
    video = videos[clip.clip]
    whole = np.stack(list(seen_frames(description, clip.file, **part)))
    assert len(whole) == video.frames
    for first in range(video.frames):
        stretch = read_stretch(video, description, first, 4)
        np.testing.assert_array_equal(stretch, whole[first : first + 4])


def test_a_pair_shows_one_scene(videos, clips):
    """The conjugates here have the pixels of their clips."""
    shown = collections.defaultdict(set)
    for epoch in range(8):
        found = batches(
            videos, clips[:2], epoch=epoch, augmentation=Augmentation()
        )
        [(inputs, label)] = found
        np.testing.assert_array_equal(inputs["features"], inputs["conjugate"])
        assert inputs["has_conjugate"].all()
        assert inputs["conjugate_clip"].tolist() == [b"n0"]
        assert label.tolist() == [CLASSES.index("jump")]
        shown[label[0]].add(inputs["features"].tobytes())
    assert len(shown[0]) == 8  # another view in each epoch


def test_each_change_does_what_it_says():
    frame = random_video(1, 0)[0]
    random = np.random.default_rng(0)
    views = [Augmentation().draw(random) for _ in range(400)]
    boxes = np.array([view.box(100, 200) for view in views])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 200).all() and (boxes[:, 3] <= 100).all()
    sides = (boxes[:, 2:] - boxes[:, :2]) / (200, 100)
    assert 0.8 <= sides.min() < 0.82 and 0.98 < sides.max() <= 1
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], atol=0.01)
    assert 150 < sum(view.flip for view in views) < 250
    # A square, for backbones that take any proportions.
    x1, y1, x2, y2 = View(0.5, (1.0, 0.0)).box(100, 200, square=True)
    assert (x1, y1, x2, y2) == (150, 0, 200, 50)

    flipped = View(flip=True)
    np.testing.assert_array_equal(flipped.apply(frame), frame[:, ::-1])
    assert View().apply(frame) is frame

    # What is the same color stays the same; greys stay grey.
    view = Augmentation(color=0.5).draw(random)
    grey = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    recoloured = view.apply(grey)[..., ::-1] if view.flip else view.apply(grey)
    assert np.ptp(recoloured.astype(int), axis=-1).max() <= 1
    assert Augmentation(color=0).draw(random).colors is None
    whole = Augmentation(False, 1, 0).draw(random)
    assert whole.box(100, 200) == (0, 0, 200, 100) and not whole.flip


def test_a_class_of_which_left_and_right_matter_is_not_mirrored(videos, clips):
    whole = read_stretch(videos["c0"], SEES, 0, 8)
    for sided, expected in (((), {False, True}), (("jump",), {False})):
        found = set()
        for epoch in range(12):
            [(inputs, _)] = batches(
                videos,
                clips[:2],
                epoch=epoch,
                augmentation=Augmentation(True, 1, 0),
                sided=sided,
            )
            mirrored = np.array_equal(inputs["features"][0], whole[:, :, ::-1])
            assert mirrored or np.array_equal(inputs["features"][0], whole)
            found.add(mirrored)
        assert found == expected


def test_an_epoch_depends_on_its_number_alone(videos, clips):
    settings = {"augmentation": Augmentation(), "batch_size": 4}
    one = batches(videos, clips, **settings)
    again = batches(videos, clips, **settings)
    other = batches(videos, clips, **settings, epoch=1)
    shards = [
        batches(videos, clips, **settings, shard=i, num_shards=2)
        for i in range(2)
    ]
    for key in one[0][0]:
        np.testing.assert_array_equal(joined(one, key), joined(again, key))
        for place, (inputs, _) in enumerate(one):
            parts = [shard[place][0][key] for shard in shards]
            np.testing.assert_array_equal(np.concatenate(parts), inputs[key])
    assert (joined(one, "features") != joined(other, "features")).any()


def test_of_a_short_clip_the_last_frame_is_held(videos, clips):
    [(inputs, _)] = batches(videos, clips[:2], crop_frames=12)
    frames = inputs["features"][0]
    np.testing.assert_array_equal(frames[8:], frames[7:8].repeat(4, axis=0))
    assert inputs["mask"].tolist() == [[True] * 4 + [False] * 2]


def test_clips_without_a_conjugate(videos, clips):
    alone = [dataclasses.replace(clips[0], conjugates=("gone",))]
    for chosen, background in ((alone, ("none",)), (clips[:2], CLASSES)):
        [(inputs, _)] = batches(videos, chosen, background=background)
        assert not inputs["has_conjugate"].any()
        assert not inputs["conjugate"].any()
        assert not inputs["conjugate_mask"].any()


def test_the_middle_is_what_is_evaluated(videos, clips):
    chosen = [clips[4], clips[10]]
    dataset = make_video_dataset(videos, chosen, CLASSES, SEES, 8)
    [(inputs, label)] = dataset.as_numpy_iterator()
    assert set(inputs) == {"features", "mask"} and inputs["mask"].all()
    for clip, frames in zip(chosen, inputs["features"], strict=True):
        video = videos[clip.clip]
        first = (video.frames - 8) // 2
        expected = read_stretch(video, SEES, first, 8)
        np.testing.assert_array_equal(frames, expected)


def test_few_clips_are_read_ahead_and_few_frames_held(
    videos, clips, monkeypatch
):
    opened = []
    lock = threading.Lock()

    def counted(*arguments):
        with lock:
            opened.append(arguments)
        return seen_frames(*arguments)

    monkeypatch.setattr(video_clips, "seen_frames", counted)
    many = [
        dataclasses.replace(clips[0], clip=f"c{i}", conjugates=())
        for i in range(100)
    ]
    videos = {clip.clip: videos["c0"]._replace(clip=clip) for clip in many}
    dataset = make_video_pair_dataset(videos, many, CLASSES, SEES, 8, 2)
    iterator = dataset.as_numpy_iterator()
    next(iterator)
    threading.Event().wait(2.0)  # it reads ahead as far as it will
    assert len(opened) < 20
    assert len(list(iterator)) == 49 and len(opened) == 100


@pytest.mark.parametrize("rate", [8.0, None])
def test_of_a_long_clip_no_more_is_held_than_the_crop(tmp_path, rate):
    description = dataclasses.replace(SEES, frame_rate=rate, size=(64, 64))
    path = write_lossless(tmp_path / "long.mp4", random_video(600, 0, (64, 64)))
    clip = Clip("long", str(path), "run", "train")
    videos, _ = find_readable([clip], description, progress=False)
    tracemalloc.start()
    frames = read_stretch(videos["long"], description, 590, 8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert frames.shape == (8, 64, 64, 3)
    assert peak < 5 * frames.nbytes


def test_clips_are_mixed_with_others_of_the_batch(videos, clips):
    settings = {"shuffle": False, "batch_size": 3}
    plain = batches(videos, clips, **settings)

    def mix(clips, seed):
        quarter = clips // 4
        return quarter + tf.roll(quarter, 1, 0) + tf.cast(seed[0] % 9, "uint8")

    mixed = batches(videos, clips, **settings, mixing=mix)
    for (inputs, _), (expected, _) in zip(mixed, plain, strict=True):
        assert set(inputs) == set(expected)
        given = inputs["has_conjugate"]
        features, conjugate = expected["features"], expected["conjugate"]
        shown = np.where(given[:, None, None, None, None], conjugate, features)
        added = []
        # Conjugates are mixed as their clips are: of the same seed, and with
        # the clip where another has none.
        for key, frames in (("features", features), ("conjugate", shown)):
            quarter = frames // 4
            more = inputs[key] - quarter - np.roll(quarter, 1, axis=0)
            added.append(more if key == "features" else more[given])
        assert np.ptp(np.concatenate(added)) == 0
        assert not inputs["conjugate"][~given].any()
    again = batches(videos, clips, **settings, mixing=mix)
    np.testing.assert_array_equal(
        joined(mixed, "features"), joined(again, "features")
    )
    other = batches(videos, clips, **settings, mixing=mix, seed=1)
    assert (joined(mixed, "features") != joined(other, "features")).any()
    for wrong in (
        lambda clips, seed: clips[:, :1],
        lambda clips, seed: tf.cast(clips, tf.float32),
    ):
        with pytest.raises(ValueError, match="`mixing` must return clips"):
            batches(videos, clips, mixing=wrong)


@pytest.mark.parametrize("name", MIXINGS)
def test_the_mixings_of_the_papers_change_clips_and_keep_labels(
    name, videos, clips
):
    settings = {"shuffle": False, "batch_size": 3}
    plain = batches(videos, clips, **settings)
    mixed = batches(videos, clips, **settings, mixing=MIXINGS[name])
    before, after = (joined(x, "features") for x in (plain, mixed))
    assert before.dtype == after.dtype and (before != after).any()
    for (inputs, label), (_, known) in zip(mixed, plain, strict=True):
        np.testing.assert_array_equal(label, known)
        missing = ~inputs["has_conjugate"]
        assert not inputs["conjugate"][missing].any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"crop_frames": 0}, "`crop_frames` must be a positive"),
        ({"sided": ("left",)}, "`sided` must be among"),
        ({"background": ("idle",)}, "`background` must be among"),
        ({"description": dataclasses.replace(SEES, size=None)}, "`backbone`"),
        ({"epoch": -1}, "`epoch` must be"),
    ],
)
def test_what_cannot_be_is_refused(videos, clips, settings, words):
    with pytest.raises(ValueError, match=words):
        batches(videos, clips, **settings)
    with pytest.raises(ValueError, match="`videos` must hold every clip"):
        batches({}, clips)
    for wrong in ({"smallest_crop": 0}, {"color": 1}, {"smallest_crop": 1.5}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            Augmentation(**wrong)
