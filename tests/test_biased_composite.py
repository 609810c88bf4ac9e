"""The biased composite: what gives the class away, and what is where."""

import collections
import itertools
import sys

import cv2
import numpy as np
import pytest

from actx_tf.data import Clip
from actx_tf.data import Masks
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index
from actx_tf.data import write_masks
from actx_tf.data.video_writing import write_video
from benchmarks import biased_composite
from benchmarks.biased_composite import ENCODING
from benchmarks.biased_composite import FRAME_RATE
from benchmarks.biased_composite import FRAMES
from benchmarks.biased_composite import SCENE_TABLE
from benchmarks.biased_composite import Footage
from benchmarks.biased_composite import Scene
from tests.harness import ROOT
from tests.lossless import write_lossless

pytest.importorskip("av")

DATA = ROOT.parent / "shared" / "data"
LABELS = ("golf", "jump", "pour")
COUNTS = {
    "train_clips": 60,
    "validation_clips": 12,
    "test_clips": 45,
    "scene_only_clips": 12,
}
SPLITS = ("train", "validation", "test")


def made_up_actors():
    """Four clips of each of eight sources a class; one source is of two."""
    names = itertools.product(LABELS, range(8), range(4))
    return [
        Clip(
            clip=f"{label}_{source}_{i}",
            file="",
            label=label,
            split="train",
            source="both" if source == 7 else f"{label}_{source}",
        )
        for label, source, i in names
    ]


def made_up_scenes():
    """Forty scenes, two of a video, of one to four stretches."""
    return [
        Scene(
            f"scene_{i}",
            f"video_{i // 2}",
            tuple(Footage(f"{i}.mp4", FRAMES * k) for k in range(1 + i % 4)),
        )
        for i in range(40)
    ]


def make_plan(bias=0.9, seed=0, actors=None, scenes=None, **counts):
    actors = actors or made_up_actors()
    lengths = {clip.clip: 10 + 5 * i for i, clip in enumerate(actors)}
    return biased_composite.plan(
        actors,
        lengths,
        scenes or made_up_scenes(),
        bias=bias,
        seed=seed,
        **{**COUNTS, **counts},
    )


def parts_of(indexes):
    parts = collections.defaultdict(list)
    for clip in itertools.chain.from_iterable(indexes.values()):
        parts[biased_composite.part_of(clip)].append(clip)
    return parts


@pytest.mark.parametrize("bias", [0.0, 0.9, 1.0])
def test_scenes_give_the_class_away_as_often_as_asked(bias):
    parts = parts_of(make_plan(bias))
    for name in ("train", "biased"):
        own = [clip.label == clip.group for clip in parts[name]]
        assert np.mean(own) == pytest.approx(bias, abs=0.51 / len(own))
    # Each scene is in the group of one class.
    groups = collections.defaultdict(set)
    for clip in itertools.chain(parts["train"], parts["scene_only"]):
        groups[clip.scene.name].add(clip.group)
    assert all(len(group) == 1 for group in groups.values())
    for clip in parts["scene_only"]:
        assert (clip.label, clip.actor) == (clip.group, None)


def test_scenes_of_the_test_say_nothing():
    test = parts_of(make_plan())["test"]
    counts = collections.Counter((clip.scene.name, clip.label) for clip in test)
    for scene in {clip.scene.name for clip in test}:
        each = [counts[scene, label] for label in LABELS]
        assert max(each) - min(each) <= 1
    assert not any(clip.group for clip in test)


@pytest.mark.parametrize("seed", range(5))
def test_what_no_two_parts_share(seed):
    indexes = make_plan(seed=seed)
    sources = collections.defaultdict(set)
    videos = collections.defaultdict(set)
    for clip in itertools.chain.from_iterable(indexes.values()):
        if clip.actor:
            split = clip.split.replace("conjugate", "train")
            sources[split].add(clip.actor.source)
        kind = "train" if clip.group else clip.split
        videos[kind].add(clip.scene.video)
    for found in (sources, videos):
        assert set(found) == set(SPLITS)
        for one, other in itertools.combinations(SPLITS, 2):
            assert not found[one] & found[other]
    for split in SPLITS:
        acted = {c.label for c in indexes["index"] if c.split == split}
        assert acted == set(LABELS)

    parts = parts_of(indexes)
    seen = {
        (clip.footage.file, clip.footage.first)
        for clip in parts["train"] + parts["conjugate"]
    }
    for name in ("validation_biased", "biased", "scene_only"):
        for clip in parts[name]:
            assert clip.scene.name in {c.scene.name for c in parts["train"]}
            assert (clip.footage.file, clip.footage.first) not in seen


def test_conjugates_share_the_window_and_not_the_time():
    parts = parts_of(make_plan())
    conjugates = {clip.name: clip for clip in parts["conjugate"]}
    frozen = 0
    for clip in parts["train"]:
        conjugate = conjugates[biased_composite.conjugate_name(clip)]
        assert conjugate.scene == clip.scene
        assert conjugate.window == clip.window
        other = [f for f in clip.scene.footage if f != clip.footage]
        if other:
            assert conjugate.footage in other
        else:
            assert conjugate.footage.backwards
        assert conjugate.actor in (None, clip.actor)
        assert conjugate.frozen == (conjugate.actor is not None)
        frozen += conjugate.frozen
    assert frozen == len(parts["train"]) // 2


def test_a_seed_makes_the_same_again():
    assert make_plan(seed=3) == make_plan(seed=3)
    assert make_plan(seed=3) != make_plan(seed=4)


def test_too_little_is_refused():
    few = [c for c in made_up_actors() if c.label != "jump"]
    few.append(Clip("jump", "", "jump", "train", source="alone"))
    with pytest.raises(ValueError, match="'jump' needs sources for each of"):
        make_plan(actors=few)
    with pytest.raises(ValueError, match=r"`scenes` must be more than 22"):
        make_plan(scenes=made_up_scenes()[:20])
    with pytest.raises(ValueError, match="`bias` must be in"):
        make_plan(bias=95)
    with pytest.raises(ValueError, match="`test_clips`"):
        make_plan(test_clips=0)


def test_actors_need_a_source_and_masks(tmp_path):
    def read(name, source, masks):
        clip = Clip(name, str(tmp_path / "a.mp4"), "golf", "train")
        clip.extra["scene"] = source
        write_clip_index(tmp_path / "index.csv", [clip])
        return biased_composite.read_actors(tmp_path / "index.csv", masks)

    whole = np.ones((3, 4, 8), bool)
    (actor,) = read("a", "film", {"a": whole})
    assert actor.source == "film"
    gone = whole.copy()
    gone[1] = False
    assert read("a", "film", {"a": gone}) == []
    with pytest.raises(ValueError, match="a `source` is expected"):
        read("a", "", {"a": whole})
    with pytest.raises(ValueError, match="the masks lack 'a'"):
        read("a", "film", {})


@pytest.fixture(scope="module")
def composite(tmp_path_factory):
    """Red squares on green, moving; in bright scenes where nothing moves."""
    root = tmp_path_factory.mktemp("composite")
    rng = np.random.default_rng(0)
    actors, masks = [], {}
    for clip in made_up_actors()[::2]:
        frames = np.full((30, 48, 64, 3), (0, 255, 0), np.uint8)
        mask = np.zeros(frames.shape[:3], bool)
        for i in range(len(frames)):
            mask[i, 10:30, i : i + 20] = True
        frames[mask] = (200, 0, 0)
        file = str(root / f"{clip.clip}.mp4")
        write_lossless(file, frames)
        actors.append(
            Clip(clip.clip, file, clip.label, "train", source=clip.source)
        )
        masks[clip.clip] = mask
    write_clip_index(root / "actors.csv", actors)
    write_masks(root / "actors.npz", masks.items())

    rows = ["file,scene,video"]
    for i in range(26):
        scene = rng.integers(150, 250, (6, 8, 1), np.uint8)
        scene = cv2.resize(scene, (80, 60), interpolation=cv2.INTER_CUBIC)
        frames = np.broadcast_to(scene[..., None], (50, 60, 80, 3))
        write_lossless(root / f"{i}.mp4", np.ascontiguousarray(frames))
        rows.append(f"{i}.mp4,s{i},v{i}")
    (root / "scenes.csv").write_text("\n".join(rows), encoding="utf-8")

    masks = Masks(root / "actors.npz")
    indexes = biased_composite.plan(
        biased_composite.read_actors(root / "actors.csv", masks),
        {name: len(masks[name]) for name in masks},
        biased_composite.read_scenes(root, root / "scenes.csv"),
        train_clips=6,
        validation_clips=6,
        test_clips=3,
        scene_only_clips=3,
        bias=1.0,
        seed=0,
    )
    biased_composite.write(root / "made", indexes, masks)
    return root / "made"


def read_all(folder):
    clips = {}
    for name in ("index", "biased", "scene_only"):
        clips |= {c.clip: c for c in read_clip_index(folder / f"{name}.csv")}
    return clips


def luma(frames):
    return frames.astype(float) @ (0.299, 0.587, 0.114)


def test_the_masks_are_where_the_clip_differs_from_the_scene(composite):
    clips = read_all(composite)
    masks = Masks(composite / "masks.npz")
    still = {name for name in clips if name.endswith(".conjugate")}
    alone = {name for name in clips if name.startswith("scene_only")}
    assert set(masks) == set(clips) - still - alone

    compared = 0
    for clip in clips.values():
        if not clip.conjugates:
            continue
        frames, rate = read_clip(clip.file)
        assert frames.shape == (FRAMES, 224, 224, 3)
        assert rate == pytest.approx(30)
        mask = masks[clip.clip]
        assert mask.shape == frames.shape[:3]
        conjugate = clips[clip.conjugates[0]]
        if conjugate.extra["actor"]:
            continue
        compared += 1
        scene, _ = read_clip(conjugate.file)
        differs = np.abs(luma(frames) - luma(scene)) > 20
        kernel = np.ones((5, 5), np.uint8)
        for found, truth in zip(differs, mask, strict=True):
            truth = truth.astype(np.uint8)
            assert not found[cv2.dilate(truth, kernel) == 0].any()
            assert found[cv2.erode(truth, kernel) == 1].all()
            # A square, 20 of the box's 43 pixels.
            ys, xs = np.nonzero(truth)
            height, width = np.ptp(ys) + 1, np.ptp(xs) + 1
            assert height == pytest.approx(width, abs=2)
            assert 110 * 20 / 43 - 3 < width < 170 * 20 / 43 + 3
        # The actor's own surroundings stay behind.
        excess = frames[..., 1].astype(int) - scene[..., 1]
        assert excess.max() < 20
    assert compared == 3


def test_videos_are_the_same_each_time(tmp_path):
    # Noise of a camera: there x264's own choices differ from run to run.
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 256, (224, 224, 3), np.uint8)
    scene = cv2.GaussianBlur(scene, (0, 0), 4)
    noise = rng.normal(0, 3, (FRAMES, *scene.shape))
    frames = np.clip(scene + noise, 0, 255).astype(np.uint8)
    written = set()
    for _ in range(10):
        write_video(tmp_path / "a.mp4", frames, FRAME_RATE, encoding=ENCODING)
        written.add((tmp_path / "a.mp4").read_bytes())
    assert len(written) == 1


def test_frozen_actors_stand_still(composite):
    clips = read_all(composite)
    frozen = [
        clip
        for clip in clips.values()
        if clip.split == "conjugate" and clip.extra["actor"]
    ]
    assert len(frozen) == 3
    for clip in frozen:
        frames, _ = read_clip(clip.file)
        assert np.ptp(luma(frames), axis=0).max() < 12
        # There is an actor.
        assert (frames[..., 0].astype(int) - frames[..., 1]).max() > 100
    moving, _ = read_clip(clips["train_0001"].file)
    assert np.ptp(luma(moving), axis=0).max() > 50


def test_scenes_alone_have_no_actor(composite):
    for clip in read_clip_index(composite / "scene_only.csv"):
        frames, _ = read_clip(clip.file)
        assert clip.label == clip.extra["group"]
        assert np.ptp(frames.astype(int), axis=-1).max() < 20


def test_of_real_clips(tmp_path, monkeypatch, capsys):
    jhmdb = DATA / "jhmdb"
    scenes = DATA / "sc_fight"
    if not (jhmdb / "index.csv").exists() or not scenes.exists():
        pytest.skip("needs J-HMDB and sc_fight")
    output = tmp_path / "composite"
    command = [
        "biased_composite",
        f"--actors={jhmdb / 'index.csv'}",
        f"--masks={jhmdb / 'person_masks.npz'}",
        f"--scenes={scenes}",
        f"--output={output}",
        "--train_clips=10",
        "--validation_clips=2",
        "--test_clips=3",
        "--scene_only_clips=3",
        "--bias=0.9",
    ]
    monkeypatch.setattr(sys, "argv", command)
    biased_composite.main()
    printed = capsys.readouterr().out
    assert "0.900" in printed
    clips = read_all(output)
    assert len(list((output / "videos").iterdir())) == len(clips) == 31
    masks = Masks(output / "masks.npz")
    originals = {
        clip.clip: clip for clip in read_clip_index(jhmdb / "index.csv")
    }
    scene_of = {}
    for line in SCENE_TABLE.read_text(encoding="utf-8").splitlines()[1:]:
        file, scene, _ = line.split(",")
        scene_of[file.rpartition("/")[2]] = scene
    training = collections.defaultdict(set)
    held_out = collections.defaultdict(set)
    for clip in clips.values():
        file, _, first = clip.extra["footage"].partition(":")
        seen = clip.split in ("train", "conjugate")
        first = int(first.removesuffix(" backwards"))
        (training if seen else held_out)[file].add(first)
        assert scene_of[file] == clip.extra["scene"]
        if actor := clip.extra["actor"]:
            assert clip.source == originals[actor].source
            assert clip.label in (originals[actor].label, "conjugate")
        if clip.clip in masks:
            frames, _ = read_clip(clip.file)
            assert masks[clip.clip].shape == frames.shape[:3]
            assert masks[clip.clip].any(axis=(1, 2)).all()
    for file, firsts in training.items():
        for first, other in itertools.product(firsts, held_out[file]):
            assert abs(first - other) >= FRAMES
    with pytest.raises(SystemExit):  # keeps what is there
        biased_composite.main()
    assert "exists" in capsys.readouterr().err
