import csv
import dataclasses
import math
import re
import sys

import numpy as np
import pytest

from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import annotations
from actx_tf.data import conjugates
from actx_tf.data import conjugates_around_crops
from actx_tf.data import conjugates_before_and_after
from actx_tf.data import make_pair_dataset
from actx_tf.data import mean_embeddings
from actx_tf.data import nearest_negatives
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.data import video_duration
from actx_tf.data import write_clip_index
from tests.harness import ROOT
from tests.test_video import numbers
from tests.test_video import write_video

DATA = ROOT.parent / "shared" / "data"
KTH = DATA / "kth_2clips"
FALL = DATA / "gmdcsa_fall"
SC_FIGHT = DATA / "sc_fight"
DURATION = 10.0  # seconds of each file of a random index


@pytest.fixture
def files_of_ten_seconds(monkeypatch):
    """Files need not exist. Returns those whose duration was asked for."""
    asked = []

    def duration(path):
        asked.append(path)
        return DURATION

    monkeypatch.setattr(conjugates, "video_duration", duration)
    return asked


def clip(name, start=0.0, end=None, label="run", split="train", **others):
    others = {"file": "/a.mp4", **others}
    return Clip(name, label=label, split=split, start=start, end=end, **others)


def stretches(clips):
    return {c.clip: (c.start, c.end) for c in clips if c.split == "conjugate"}


def test_before_and_after(files_of_ten_seconds):
    given = [clip("a", 4.0, 6.0), clip("b", 3.0, 5.0, file="/b.mp4")]
    clips, missing = conjugates_before_and_after(given)
    assert not missing
    assert [c.clip for c in clips] == [
        *("a", "a.before", "a.after", "b", "b.before", "b.after"),
    ]
    assert clips[0].conjugates == ("a.before", "a.after")
    # As long as the clip itself.
    assert stretches(clips) == {
        "a.before": (2.0, 4.0),
        "a.after": (6.0, 8.0),
        "b.before": (1.0, 3.0),
        "b.after": (5.0, 7.0),
    }
    for row in clips:
        assert row.file == ("/a.mp4" if row.clip[0] == "a" else "/b.mp4")
        if row.split == "conjugate":
            assert row.label == "conjugate" and row.conjugates == ()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # The file begins and ends.
        (clip("a", 1.0, 4.0), {"a.before": (0, 1), "a.after": (4, 7)}),
        (clip("a", 7.0, 9.0), {"a.before": (5, 7), "a.after": (9, 10)}),
        (clip("a", 0.4, 2.0), {"a.after": (2.0, 3.6)}),
        (clip("a", 8.0), {"a.before": (6, 8)}),
        (clip("a", 11.0, 12.0), {"a.before": (9, 10)}),
        # Times are thousandths of a second.
        (
            clip("a", 4.0, 6.0004),
            {"a.before": (2, 4), "a.after": (6.0004, 8.001)},
        ),
        (clip("a", 0.4996, 9.9), {"a.before": (0, 0.4996)}),
        (clip("a", 0.4951, 1.5), {"a.after": (1.5, 2.505)}),
        # A margin around the action.
        (
            clip(
                "a",
                4.0,
                6.0,
                extra={"extended_start": "3.5", "extended_end": "7"},
            ),
            {"a.before": (1.5, 3.5), "a.after": (7.0, 9.0)},
        ),
        (
            clip(
                "a",
                4.0,
                6.0,
                extra={"extended_start": "", "extended_end": "9.8"},
            ),
            {"a.before": (2, 4)},
        ),
    ],
)
def test_ends_of_a_stretch(files_of_ten_seconds, given, expected):
    clips, missing = conjugates_before_and_after([given])
    assert not missing
    assert stretches(clips) == expected
    # The clip is what it was, but for its conjugates.
    assert (clips[0].start, clips[0].end) == (given.start, given.end)
    assert clips[0].extra == given.extra


def test_stretches_end_where_another_clip_begins(files_of_ten_seconds):
    others = [
        clip("b", 2.5, 3.0, label="jump"),
        clip("c", 7.0, 8.0, split="test", label="background"),
    ]
    clips, _ = conjugates_before_and_after([clip("a", 4.0, 6.0), *others])
    assert stretches(clips)["a.before"] == (3.0, 4.0)
    assert stretches(clips)["a.after"] == (6.0, 7.0)
    # Background of the training split is what a conjugate may show.
    others = [clip("b", 2.5, 3.0, label="background")]
    clips, _ = conjugates_before_and_after([clip("a", 4.0, 6.0), *others])
    assert stretches(clips)["a.before"] == (2.0, 4.0)


def test_min_seconds(files_of_ten_seconds):
    given = [clip("a", 1.0, 9.3)]
    clips, missing = conjugates_before_and_after(given, min_seconds=0.7)
    assert set(stretches(clips)) == {"a.before", "a.after"}
    clips, missing = conjugates_before_and_after(given, min_seconds=0.8)
    assert set(stretches(clips)) == {"a.before"}
    clips, missing = conjugates_before_and_after(given, min_seconds=1.1)
    assert clips == given
    ((row, reason),) = missing
    assert row == given[0]
    assert "1.1 seconds" in reason
    # A stretch as long as its clip is not too short by a rounding error.
    clips, missing = conjugates_before_and_after(
        [clip("a", 4.1, 5.1)], min_seconds=1.0
    )
    assert not missing


def test_the_duration_of_a_file_is_read_once(files_of_ten_seconds):
    conjugates_before_and_after(
        [clip("a", 1.0, 2.0), clip("b", 3.0, 4.0), clip("c", split="test")]
    )
    assert files_of_ten_seconds == ["/a.mp4"]


def test_around_crops(files_of_ten_seconds):
    given = [
        clip("a", 2.0, 8.0, conjugates=("d",)),
        clip("b", 0.0, 8.0, split="test", file="/b.mp4"),
        clip("c", 0.0, 2.9, file="/c.mp4"),
        clip("d", 0.0, 9.0, label="background", file="/d.mp4"),
    ]
    clips, missing = conjugates_around_crops(given, crop_seconds=2.0)
    # The crop takes the place of its clip; all other clips stay.
    assert [c.clip for c in clips] == [
        *("a.crop0", "a.crop0.before", "a.crop0.after", "b", "c", "d"),
    ]
    assert clips[3:] == given[1:]
    crop = clips[0]
    assert (crop.start, crop.end) == (4.0, 6.0)  # the middle of the clip
    assert (crop.label, crop.split) == ("run", "train")
    assert crop.conjugates == ("a.crop0.before", "a.crop0.after")
    assert stretches(clips) == {
        "a.crop0.before": (2.0, 4.0),
        "a.crop0.after": (6.0, 8.0),
    }
    ((row, reason),) = missing
    assert row.clip == "c"
    assert "2.0 seconds" in reason and "0.5 seconds" in reason
    # 2 seconds and 0.5 on either side.
    given[2] = clip("c", 0.0, 3.0, file="/c.mp4")
    assert not conjugates_around_crops(given, crop_seconds=2.0)[1]


def test_clips_that_begin_or_end_together(files_of_ten_seconds):
    """Each has the conjugate that lies outside of both."""
    given = [clip("a", 4.0, 6.0), clip("b", 4.0, 7.0), clip("c", 3.0, 7.0)]
    clips, _ = conjugates_before_and_after(given[:2])
    assert stretches(clips) == {
        "a.before": (2.0, 4.0),
        "b.before": (1.0, 4.0),
        "b.after": (7.0, 10.0),
    }
    clips, _ = conjugates_before_and_after(given[1:])
    assert stretches(clips) == {
        "b.after": (7.0, 10.0),
        "c.before": (0.0, 3.0),
        "c.after": (7.0, 10.0),
    }


def test_crops_lie_evenly(files_of_ten_seconds):
    clips, missing = conjugates_around_crops(
        [clip("a")], crop_seconds=2.0, num_crops=3
    )
    assert not missing
    crops = [c for c in clips if c.split == "train"]
    assert [c.clip for c in crops] == ["a.crop0", "a.crop1", "a.crop2"]
    assert [c.start for c in crops] == [2.0, 4.0, 6.0]
    assert [c.end for c in crops] == [4.0, 6.0, 8.0]
    clips, _ = conjugates_around_crops(
        [clip("a", 0.0, 3.0)], crop_seconds=2.0, num_crops=2, min_seconds=0.3
    )
    crops = [(c.start, c.end) for c in clips if c.split == "train"]
    assert crops == [(0.333, 2.333), (0.667, 2.667)]
    # What is left over on either side is shorter than the shortest stretch.
    clips, _ = conjugates_around_crops(
        [clip("a", 0.0, 2.6)], crop_seconds=2.0, num_crops=2, min_seconds=0.3
    )
    assert [c.conjugates for c in clips if c.split == "train"] == [
        ("a.crop0.after",),
        ("a.crop1.before",),
    ]


def random_index(random):
    """Clips of few files, so that many touch or overlap one another."""
    clips = []
    for number in range(random.integers(5, 40)):
        start = round(float(random.uniform(0, DURATION - 1)), 2)
        end = round(start + float(random.uniform(0.2, 4.0)), 2)
        extra = {}
        if random.random() < 0.3:
            extra = {
                "extended_start": str(max(0.0, start - 0.2)),
                "extended_end": str(end + 0.2),
            }
        clips.append(
            clip(
                f"clip{number}",
                0.0 if random.random() < 0.1 else start,
                None if random.random() < 0.1 else end,
                label=str(random.choice(["run", "run|jump", "background"])),
                split=str(random.choice(["train", "validation", "test"])),
                file=f"/{random.integers(6)}.mp4",
                extra=extra,
            )
        )
    return [*clips, clip("last", 4.0, 5.0, file="/last.mp4")]


def overlap(one, other):
    end, other_end = (
        DURATION if c.end is None else c.end for c in (one, other)
    )
    return (
        one.file == other.file and one.start < other_end and other.start < end
    )


def assert_mined(given, clips, missing):
    """What holds whatever the way."""
    rows = {c.clip: c for c in clips}
    assert len(rows) == len(clips)
    names = {c.clip for c in given}
    without = {c.clip for c, _ in missing}
    for row in clips:
        is_action = row.split == "train" and row.label != "background"
        if is_action:
            assert bool(row.conjugates) == (row.clip not in without)
        else:
            assert row.conjugates == ()
        for name in row.conjugates:
            conjugate = rows[name]
            assert name != row.clip
            assert conjugate.split in ("train", "conjugate")
            assert conjugate.label in ("background", "conjugate")
            # A row of its own, not one that was given as an action.
            assert (name in names) == (conjugate.split == "train")
    for row in given:
        if row.split != "train" or row.label == "background":
            assert rows[row.clip] == row
    assert {c.clip for c, _ in missing} <= names


@pytest.mark.parametrize("seed", range(60))
def test_stretches_of_random_indexes(files_of_ten_seconds, seed, tmp_path):
    random = np.random.default_rng(seed)
    given = random_index(random)
    ways = {
        conjugates_before_and_after: {},
        conjugates_around_crops: {
            "crop_seconds": 1.0,
            "num_crops": int(random.integers(1, 4)),
        },
    }
    found = 0
    for mine, options in ways.items():
        clips, missing = mine(given, min_seconds=0.3, **options)
        assert_mined(given, clips, missing)
        by_name = {c.clip: c for c in clips}
        for row in clips:
            for name in row.conjugates:
                conjugate = by_name[name]
                assert conjugate.file == row.file
                seconds = conjugate.end - conjugate.start
                assert 0 <= conjugate.start and conjugate.end <= DURATION
                end = DURATION if row.end is None else row.end
                assert 0.2995 <= seconds <= end - row.start + 0.002
                # It shows no action, nor any clip of another split.
                assert not overlap(conjugate, row)
                for other in given:
                    if row.clip.startswith(f"{other.clip}.crop"):
                        assert other.start <= conjugate.start
                        assert conjugate.end <= (other.end or DURATION)
                    elif (other.label, other.split) != ("background", "train"):
                        assert not overlap(conjugate, other)
                found += 1
        write_clip_index(tmp_path / "index.csv", clips)
        read = read_clip_index(tmp_path / "index.csv")
        assert [c.clip for c in read] == [c.clip for c in clips]
        assert [c.conjugates for c in read] == [c.conjugates for c in clips]
        assert stretches(read) == stretches(clips)
    assert found


@pytest.mark.parametrize("seed", range(30))
def test_negatives_of_random_indexes(seed):
    pytest.importorskip("faiss")
    random = np.random.default_rng(seed)
    given = random_index(random)
    given.append(clip("negative", label="background", file="/negative.mp4"))
    embeddings = {c.clip: random.normal(size=4) for c in given}
    clips, missing = nearest_negatives(given, embeddings)
    assert not missing
    assert_mined(given, clips, missing)
    by_name = {c.clip: c for c in given}
    for row in clips:
        for name in row.conjugates:
            for other in given:
                if other.label != "background" or other.split != "train":
                    assert not overlap(by_name[name], other)


def test_negatives_may_touch_an_action():
    pytest.importorskip("faiss")
    places = {
        "before": (0.0, 2.0),
        "over its begin": (1.0, 2.1),
        "within": (2.5, 3.0),
        "around": (1.0, 5.0),
        "over its end": (3.9, 5.0),
        "after": (4.0, 6.0),
        "later": (7.0, 9.0),
    }
    negatives = [
        clip(name, *place, label="background") for name, place in places.items()
    ]
    given = [clip("run", 2.0, 4.0), *negatives]
    embeddings = {c.clip: np.ones(2) for c in given}
    clips, _ = nearest_negatives(given, embeddings, len(given))
    assert set(clips[0].conjugates) == {"before", "after", "later"}


@pytest.mark.parametrize("seed", range(20))
def test_splits_share_nothing(files_of_ten_seconds, seed):
    random = np.random.default_rng(seed)
    given = [*random_index(random), clip("t", 1.0, 4.0, split="test")]
    splits = ("train", "test")
    ways = {
        conjugates_before_and_after: {},
        conjugates_around_crops: {"crop_seconds": 1.0},
    }
    for mine, options in ways.items():
        clips, missing = mine(given, min_seconds=0.3, splits=splits, **options)
        assert {c.split for c, _ in missing} <= set(splits)
        by_name = {c.clip: c for c in clips}
        pairs = [
            (row.split, by_name[name])
            for row in clips
            for name in row.conjugates
        ]
        assert pairs
        for split, conjugate in pairs:
            assert conjugate.split == conjugate.label == "conjugate"
            for other in clips:
                if other.split not in (split, "conjugate"):
                    assert not overlap(conjugate, other)
            for other_split, other in pairs:
                if other_split != split:
                    assert not overlap(conjugate, other)


def test_the_splits_of_one_call_do_not_get_one_stretch(files_of_ten_seconds):
    given = [clip("a", 2.0, 4.0), clip("t", 5.0, 8.0, split="test")]
    clips, _ = conjugates_before_and_after(given, splits=("train", "test"))
    assert stretches(clips) == {
        "a.before": (0.0, 2.0),
        "a.after": (4.0, 5.0),
        "t.after": (8.0, 10.0),
    }
    # Each alone gets what lies between them.
    clips, _ = conjugates_before_and_after(given, splits=("test",))
    assert stretches(clips)["t.before"] == (4.0, 5.0)
    assert clips[0] == given[0]


@pytest.mark.parametrize("seed", range(10))
def test_negatives_are_of_the_clip_own_split(seed):
    pytest.importorskip("faiss")
    random = np.random.default_rng(seed)
    given = random_index(random)
    for split in ("train", "test"):
        name = f"of {split}"
        given += [
            clip(f"action {name}", split=split, file=f"/{name}1.mp4"),
            clip(name, label="background", split=split, file=f"/{name}2.mp4"),
        ]
    embeddings = {c.clip: random.normal(size=4) for c in given}
    clips, missing = nearest_negatives(
        given, embeddings, splits=("train", "test")
    )
    assert not missing
    by_name = {c.clip: c for c in clips}
    for row in clips:
        for name in row.conjugates:
            conjugate = by_name[name]
            assert (conjugate.split, conjugate.label) == (
                *(row.split, "background"),
            )
            for other in given:
                if (other.label, other.split) != ("background", row.split):
                    assert not overlap(conjugate, other)
    # As if there were no other split to be given any.
    for split in ("train", "test"):
        alone, _ = nearest_negatives(given, embeddings, splits=(split,))
        assert [c for c in alone if c.split == split] == [
            c for c in clips if c.split == split
        ]
        assert not any(c.conjugates for c in alone if c.split != split)


def many(num_actions, num_negatives):
    actions = [clip(f"a{i}", file=f"/a{i}.mp4") for i in range(num_actions)]
    negatives = [
        clip(f"n{i}", label="background", file=f"/n{i}.mp4")
        for i in range(num_negatives)
    ]
    return actions, negatives


def brute_force(actions, negatives, embeddings, num_neighbors):
    """The largest cosines, one clip at a time, in float64."""
    nearest = {}
    for action in actions:
        x = embeddings[action.clip]
        cosines = {}
        for negative in negatives:
            y = embeddings[negative.clip]
            cosines[negative.clip] = (x @ y) / math.sqrt((x @ x) * (y @ y))
        ranked = sorted(cosines, key=cosines.get, reverse=True)
        nearest[action.clip] = tuple(ranked[:num_neighbors])
    return nearest


@pytest.mark.parametrize("num_neighbors", [1, 3, 7])
def test_neighbors_equal_brute_force(num_neighbors):
    pytest.importorskip("faiss")
    random = np.random.default_rng(num_neighbors)
    actions, negatives = many(60, 200)
    embeddings = {
        # Of any length: only their direction counts.
        c.clip: random.normal(size=24) * random.uniform(0.1, 100)
        for c in actions + negatives
    }
    # Those of another split are nearest of all, and still left out.
    tests = [
        clip(f"t{i}", label="background", split="test", file=f"/t{i}.mp4")
        for i in range(60)
    ]
    for row, action in zip(tests, actions, strict=True):
        embeddings[row.clip] = embeddings[action.clip]
    given = [*tests, *negatives, *actions]
    clips, missing = nearest_negatives(given, embeddings, num_neighbors)
    assert not missing
    assert {c.clip: c.conjugates for c in clips if c.conjugates} == brute_force(
        actions, negatives, embeddings, num_neighbors
    )
    assert [c.clip for c in clips] == [c.clip for c in given]


@pytest.mark.parametrize("same", ["scene", "source"])
@pytest.mark.parametrize("least", [-1.0, 0.1])
def test_neighbors_of_one_scene(same, least):
    pytest.importorskip("faiss")
    random = np.random.default_rng(0)
    scene_of, given = {}, []
    for row in [row for rows in many(40, 60) for row in rows]:
        scene = scene_of[row.clip] = f"s{random.integers(5)}"
        other = f"t{random.integers(5)}"
        given.append(
            dataclasses.replace(row, source=scene, extra={"scene": other})
            if same == "source"
            else dataclasses.replace(row, source=other, extra={"scene": scene})
        )
    embeddings = {c.clip: random.normal(size=12) for c in given}
    clips, missing = nearest_negatives(
        given, embeddings, 3, min_similarity=least, same=same
    )
    lost = {c.clip for c, _ in missing}
    for row in clips:
        if not row.clip.startswith("a"):
            continue
        x = embeddings[row.clip]
        cosines = {}
        for other in given:
            y = embeddings[other.clip]
            cosine = x @ y / math.sqrt((x @ x) * (y @ y))
            if (
                other.label == "background"
                and scene_of[other.clip] == scene_of[row.clip]
                and cosine >= least
            ):
                cosines[other.clip] = cosine
        nearest = sorted(cosines, key=cosines.get, reverse=True)[:3]
        assert row.conjugates == tuple(nearest)
        assert row.conjugate_similarities == pytest.approx(
            [cosines[name] for name in nearest], abs=1e-4
        )
        assert (row.clip in lost) == (not nearest)


def test_a_similarity_of_just_the_least_is_enough():
    pytest.importorskip("faiss")
    given = [clip("a"), clip("n", label="background", file="/n.mp4")]
    embeddings = {c.clip: np.array([0.0, 2.0]) for c in given}
    clips, missing = nearest_negatives(given, embeddings, min_similarity=1.0)
    assert clips[0].conjugates == ("n",) and not missing


def test_similarities_are_cosines_of_four_digits():
    pytest.importorskip("faiss")
    given = [
        clip("a", file="/a.mp4"),
        *(clip(n, label="background", file=f"/{n}.mp4") for n in "npqr"),
    ]
    embeddings = {
        "a": np.array([1.0, 2.0, 3.0]),
        "n": np.array([0.1, 0.2, 0.3]),
        "p": np.array([1.0, 1.0, 0.0]),
        "q": np.array([-1.0, 0.0, 0.2]),
        "r": np.array([-2.0, -4.0, -6.0]),
    }
    clips, _ = nearest_negatives(given, embeddings, 4)
    assert clips[0].conjugates == ("n", "p", "q", "r")
    a, q = embeddings["a"], embeddings["q"]
    expected = round(float(a @ q / np.sqrt(a @ a * (q @ q))), 4)
    assert -0.2 < expected < -0.1
    assert clips[0].conjugate_similarities == (1.0, 0.5669, expected, -1.0)


def test_conjugates_mined_before_are_no_negatives(files_of_ten_seconds):
    pytest.importorskip("faiss")
    given = [clip("a", 4.0, 6.0), clip("n", label="background", file="/n.mp4")]
    clips, _ = conjugates_before_and_after(given)
    embeddings = {c.clip: np.ones(3) for c in clips}
    clips, _ = nearest_negatives(clips, embeddings)
    assert clips[0].conjugates == ("n",)


def test_missing_negatives():
    pytest.importorskip("faiss")
    actions, negatives = many(4, 2)
    embeddings = {c.clip: np.ones(3) for c in actions + negatives}
    # Fewer than asked for.
    clips, missing = nearest_negatives(actions + negatives, embeddings, 5)
    assert not missing
    assert all(set(c.conjugates) == {"n0", "n1"} for c in clips[:4])
    # Without an embedding, or one of no direction.
    del embeddings["a0"]
    embeddings["a1"] = np.zeros(3)
    embeddings["a2"] = np.array([1.0, np.nan, 0.0])
    del embeddings["n0"]
    clips, missing = nearest_negatives(actions + negatives, embeddings, 5)
    assert {c.clip: reason for c, reason in missing} == {
        "a0": "its features are not there",
        "a1": "its embedding is zero or not finite",
        "a2": "its embedding is zero or not finite",
        "n0": "its features are not there",
    }
    assert [c.conjugates for c in clips] == [(), (), (), ("n1",), (), ()]
    # None at all.
    clips, missing = nearest_negatives(actions, embeddings)
    assert clips == actions
    assert [c.clip for c, _ in missing] == ["a0", "a1", "a2", "a3"]
    reason = (
        "no clip of the label 'background' and the split 'train' can be its "
        "conjugate"
    )
    assert missing[3][1] == reason
    of_a_scene = [dataclasses.replace(c, source="s1") for c in actions[3:]]
    _, missing = nearest_negatives(of_a_scene, embeddings, same="source")
    assert missing[0][1] == f"{reason} in the same `source`, 's1'"


def test_mean_embeddings(tmp_path):
    random = np.random.default_rng(0)
    maps = {
        "a": random.normal(size=(5, 2, 3, 8)) + 100,
        "b": random.normal(size=(2, 2, 3, 8)),
    }
    with FeatureStoreWriter(tmp_path / "store", "test") as writer:
        for name, features in maps.items():
            writer.add(name, features, "run", "train", 25.0, 40)
    with FeatureStore(tmp_path / "store") as store:
        embeddings = mean_embeddings(store)
        stored = {name: store[name].astype("float64") for name in store}
    assert set(embeddings) == {"a", "b"}
    for name, embedding in embeddings.items():
        assert embedding.dtype == np.float32
        expected = [stored[name][..., c].mean() for c in range(8)]
        np.testing.assert_allclose(embedding, expected, rtol=1e-5, atol=1e-6)


def test_stretches_show_the_right_frames(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, num_frames=40, rate=20)
    given = [
        clip("a", 0.6, 1.0, file=str(path)),
        clip("b", 1.6, file=str(path), label="jump"),
    ]
    mined, _ = conjugates_before_and_after(given, min_seconds=0.1)
    write_clip_index(tmp_path / "index.csv", mined)
    clips = read_clip_index(tmp_path / "index.csv")
    shown = {
        c.clip: numbers(read_clip(c.file, start=c.start, end=c.end)[0])
        for c in clips
    }
    assert shown == {
        "a": list(range(12, 20)),
        "a.before": list(range(4, 12)),
        "a.after": list(range(20, 28)),
        "b": list(range(32, 40)),
        "b.before": list(range(24, 32)),
    }
    clips, _ = conjugates_around_crops(
        [clip("a", 0.2, 1.8, file=str(path))],
        crop_seconds=0.8,
        min_seconds=0.2,
    )
    assert [
        numbers(read_clip(c.file, start=c.start, end=c.end)[0]) for c in clips
    ] == [list(range(12, 28)), list(range(4, 12)), list(range(28, 36))]


def test_a_file_that_cannot_be_read_is_reported(tmp_path):
    write_video(tmp_path / "a.mp4", num_frames=40, rate=20)
    given = [
        clip("a", 0.5, 1.0, file=str(tmp_path / "a.mp4")),
        clip("b", 0.5, 1.0, file=str(tmp_path / "none.mp4")),
    ]
    for mine in (
        conjugates_before_and_after,
        lambda clips: conjugates_around_crops(clips, 0.2, min_seconds=0.1),
    ):
        clips, ((row, reason),) = mine(given)
        assert row.clip == "b" and "none.mp4" in reason
        assert clips[-1] == given[1]
        assert sum(len(c.conjugates) for c in clips) == 2


def test_mined_clips_are_trained_on_in_pairs(files_of_ten_seconds):
    given = [clip("a", 4.0, 6.0), clip("b", 0.0, 10.0, file="/b.mp4")]
    clips, _ = conjugates_before_and_after(given)
    features = {
        c.clip: np.full((3, 1, 1, 2), -1.0 if c.split == "conjugate" else 1.0)
        for c in clips
    }
    training = [c for c in clips if c.split == "train"]
    dataset = make_pair_dataset(
        features, training, ["run"], crop_steps=3, shuffle=False
    )
    ((inputs, labels),) = dataset
    assert inputs["has_conjugate"].numpy().tolist() == [True, False]
    assert (inputs["features"].numpy() == 1.0).all()
    assert (inputs["conjugate"].numpy()[0] == -1.0).all()
    assert labels.shape == (2,)


WAYS = {
    "before_and_after": conjugates_before_and_after,
    "crops": conjugates_around_crops,
    "nearest": lambda clips, **options: nearest_negatives(
        clips, {c.clip: np.ones(2) for c in clips}, **options
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_earlier_conjugates_are_dropped(way, files_of_ten_seconds):
    if way == "nearest":
        pytest.importorskip("faiss")
    given = [
        clip("a", 4.0, 8.0, conjugates=("t",)),
        clip("b", 0.0, 10.0, file="/b.mp4", conjugates=("t",)),
        clip("n", label="background", file="/n.mp4", conjugates=("a",)),
        clip("t", split="test", file="/t.mp4", conjugates=("a",)),
    ]
    clips, _ = WAYS[way](given)
    named = {name for c in clips for name in c.conjugates}
    assert named and not named & {"a", "b", "t"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "clips",
    [
        [],
        [clip("a", 4.0, 5.0, split="test")],
        [clip("a", 4.0, 5.0, label="background")],
    ],
)
def test_no_action_to_find_conjugates_for(way, clips):
    if way == "nearest":
        pytest.importorskip("faiss")
    with pytest.raises(ValueError, match="`clips` must hold an action clip"):
        WAYS[way](clips)


@pytest.mark.parametrize("way", WAYS)
def test_wrong_splits(way, files_of_ten_seconds):
    if way == "nearest":
        pytest.importorskip("faiss")
    given = [clip("a", 4.0, 6.0), clip("n", label="background", split="test")]
    given += [clip("c", split="conjugate", label="conjugate")]
    for wrong in ("tset", "test", "conjugate"):
        message = (
            rf"the split '{wrong}' \(`splits`\)\. Received: 3 clips of the "
            r"splits \['test', 'train'\]"
        )
        with pytest.raises(ValueError, match=message):
            WAYS[way](given, splits=("train", wrong))
    for wrong in ("train", ()):
        with pytest.raises(ValueError, match="`splits` must be the names"):
            WAYS[way](given, splits=wrong)


@pytest.mark.parametrize(
    ("way", "options"),
    [
        ("before_and_after", {"min_seconds": 0}),
        ("before_and_after", {"min_seconds": math.nan}),
        ("crops", {"min_seconds": -1.0}),
        ("crops", {"crop_seconds": math.inf}),
        ("crops", {"num_crops": 0}),
        ("crops", {"num_crops": 1.5}),
        ("nearest", {"num_neighbors": 0}),
        ("nearest", {"min_similarity": 1.5}),
        ("nearest", {"min_similarity": -1.5}),
        ("nearest", {"min_similarity": math.nan}),
    ],
)
def test_wrong_options(way, options):
    ((name, value),) = options.items()
    message = rf"`{name}` must be .*\. Received: {name}={re.escape(str(value))}"
    with pytest.raises(ValueError, match=message):
        WAYS[way]([clip("a", 4.0, 6.0)], **options)


def test_a_column_that_is_not_there():
    pytest.importorskip("faiss")
    given = [clip("a", extra={"scene": "x"}), clip("b", label="background")]
    with pytest.raises(ValueError, match=r"\['scene'\].*same='source'"):
        nearest_negatives(given, {}, same="source")


def test_wrong_clips(files_of_ten_seconds):
    taken = [clip("a", 4.0, 6.0), clip("a.after", 0.0, 1.0)]
    with pytest.raises(ValueError, match="Received: a clip 'a.after'"):
        conjugates_before_and_after(taken)
    wrong = clip("a", 4.0, 6.0, extra={"extended_start": "soon"})
    message = "`extended_start` and `extended_end` must be .* of clip 'a'"
    with pytest.raises(ValueError, match=message):
        conjugates_before_and_after([wrong])


def test_wrong_embeddings():
    pytest.importorskip("faiss")
    given = [clip("a", 4.0, 6.0), clip("n", 0.0, 1.0, label="background")]
    for wrong in (np.ones((3, 1, 1, 2)), np.ones(5)):
        embeddings = {"a": np.ones(2), "n": wrong}
        shape = re.escape(f"shape={wrong.shape} of clip 'n'")
        message = f"`embeddings` must be vectors .* Received: {shape}"
        with pytest.raises(ValueError, match=message):
            nearest_negatives(given, embeddings)


def test_without_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert not hasattr(conjugates, "faiss")  # imported late
    with pytest.raises(ImportError, match=r"pip install actx_tf\[mining\]"):
        nearest_negatives([clip("a")], {})


@pytest.mark.skipif(not KTH.is_dir(), reason=f"no {KTH}")
def test_kth():
    # The actions fill the file, they touch one another.
    given = [
        c
        for c in annotations.read_kth(KTH, file_pattern="{name}.avi")
        if c.file.endswith("person15_handwaving_d1.avi")
    ]
    assert len(given) == 4 and {c.split for c in given} == {"train"}
    clips, missing = conjugates_before_and_after(given)
    assert [c for c, _ in missing] == clips == given
    clips, missing = conjugates_around_crops(given, crop_seconds=2.0)
    assert not missing
    assert len(stretches(clips)) == 8
    for name, (start, end) in stretches(clips).items():
        (whole,) = (c for c in given if name.startswith(c.clip))
        assert whole.start <= start < end <= whole.end + 0.001


@pytest.mark.skipif(not FALL.is_dir(), reason=f"no {FALL}")
def test_falls():
    """Real falls, and what is before and after them in their files."""
    given = []
    with open(FALL / "index.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            fall = re.search(
                r"Fall\w*\s*\(\w+\)\s*\[([\d.]+) to ([\d.]+)\]",
                row["segments_seconds"],
            )
            path = FALL / row["file"]
            if fall and row["split"] == "train":
                start, end = map(float, fall.groups())
                given.append(clip(row["clip"], start, end, file=str(path)))
    clips, missing = conjugates_before_and_after(given, min_seconds=0.3)
    durations = {c.file: video_duration(c.file) for c in given}
    free = {
        c.clip
        for c in given
        if c.start >= 0.3 or durations[c.file] - c.end >= 0.3
    }
    assert {c.clip for c, _ in missing} == {c.clip for c in given} - free
    assert len(free) >= 6
    by_name = {c.clip: c for c in clips}
    for row in given:
        for name in by_name[row.clip].conjugates:
            conjugate = by_name[name]
            frames, rate = read_clip(
                conjugate.file, start=conjugate.start, end=conjugate.end
            )
            seconds = conjugate.end - conjugate.start
            assert abs(len(frames) - seconds * rate) <= 1


@pytest.mark.skipif(not SC_FIGHT.is_dir(), reason=f"no {SC_FIGHT}")
def test_nearest_of_real_scenes():
    """Small pictures tell the scene: negatives of the same are nearest."""
    pytest.importorskip("faiss")
    index = read_clip_index(SC_FIGHT / "index.csv", "same_scene_opposite")
    given = [c for c in index if c.split == "train"]
    truth = {c.clip: c.conjugates for c in given if c.label == "fight"}
    truth = {name: scene for name, scene in truth.items() if scene}
    given = [c for c in given if c.label == "nofight" or c.clip in truth]
    embeddings = {}
    for row in given:
        frames, _ = read_clip(row.file, size=(8, 8), end=0.1)
        picture = frames[0].astype("float64").ravel()
        embeddings[row.clip] = picture - picture.mean()
    clips, missing = nearest_negatives(
        given, embeddings, num_neighbors=1, background="nofight"
    )
    assert not missing
    hits = [c.conjugates[0] in truth[c.clip] for c in clips if c.clip in truth]
    negatives = sum(c.label == "nofight" for c in given)
    chance = np.mean([len(scene) for scene in truth.values()]) / negatives
    assert np.mean(hits) > 0.5 > 10 * chance
