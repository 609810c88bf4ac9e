"""SCUBA, SCUFO and the swap: who is shown where, and what is left out."""

import dataclasses
import os
import pathlib

import numpy as np
import pytest

from actx_tf.cli import scene_benchmark
from actx_tf.data import Clip
from actx_tf.data import make_scene_tests
from actx_tf.data import mask_quality
from actx_tf.data import optical_flow
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.data import scene_test_indexes
from actx_tf.data import scene_tests
from actx_tf.data import write_clip_index
from tests.lossless import write_lossless
from tests.moving_square import moving_square

pytest.importorskip("av")

COUNT = 8
RED = (250, 20, 20)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Four clips of squares, each before a scene of its own that moves."""
    folder = tmp_path_factory.mktemp("clips")
    clips, masks, scenes = [], {}, {}
    for number, label in enumerate(("run", "run", "jump", "jump")):
        name = f"{label}{number}"
        frames, masks[name], behind = moving_square(COUNT, seed=number)
        scene = np.stack([np.roll(behind, 4 * i, 1) for i in range(COUNT)])
        scenes[name] = scene // 2  # darker than who acts
        write_lossless(folder / f"{name}.mp4", frames)
        write_lossless(folder / f"{name}.scene.mp4", scenes[name])
        conjugate = f"{name}.scene"
        source = f"source{number}"
        clips += [
            Clip(
                name,
                str(folder / f"{name}.mp4"),
                label,
                "test",
                (conjugate,),
                source=source,
                extra={"camera": "old"},
            ),
            Clip(
                conjugate,
                str(folder / f"{conjugate}.mp4"),
                "conjugate",
                "conjugate",
                source=source,
            ),
        ]
    return clips, masks, scenes


@pytest.fixture(scope="module")
def made(world, tmp_path_factory):
    clips, masks, _ = world
    folder = tmp_path_factory.mktemp("tests")
    tests, missing = make_scene_tests(
        clips, folder, masks=masks, scenes=("conjugates", "stripes")
    )
    assert not missing
    return {clip.clip: clip for clip in tests}


def frames_of(clip):
    return read_clip(clip.file)[0].astype(float)


def inside(masks):
    """Away from the edge, which is soft."""
    return masks & np.roll(masks, 3, 2) & np.roll(masks, -3, 2)


def actors(clips):
    return [clip for clip in clips if clip.split != "conjugate"]


def test_who_is_shown_where(world, made):
    clips, masks, scenes = world
    dealt = []
    for clip in actors(clips):
        row = made[f"{clip.clip}.swap"]
        owner = row.extra["scene_of"]
        dealt.append(owner)
        assert row.label == clip.label != row.extra["scene_label"]
        assert row.source == clip.source and row.extra["camera"] == "old"
        mask = masks[clip.clip]
        still = np.stack([scenes[owner][COUNT // 2]] * COUNT)
        for name, scene in (
            ("scuba_conjugates", still),
            ("swap", scenes[owner]),
        ):
            found = frames_of(made[f"{clip.clip}.{name}"])
            assert found.shape == scene.shape
            errors = np.abs(found - scene).mean(-1)
            assert errors[~mask].mean() < 4
            actor = np.abs(found - RED).mean(-1)
            assert np.median(actor[inside(mask)]) < 10
        striped = frames_of(made[f"{clip.clip}.scuba_stripes"])
        assert np.median(np.abs(striped - RED).mean(-1)[inside(mask)]) < 10
        assert (np.abs(striped - still).mean(-1)[~mask]).mean() > 20
    assert sorted(dealt) == [
        clip.clip for clip in sorted(actors(clips), key=lambda c: c.clip)
    ]


def test_scufo_is_a_frame_of_scuba(world, made):
    for clip in actors(world[0]):
        for kind in ("conjugates", "stripes"):
            scuba = made[f"{clip.clip}.scuba_{kind}"]
            assert scuba.conjugates == (f"{clip.clip}.scufo_{kind}",)
            scufo = made[scuba.conjugates[0]]
            assert (scufo.label, scufo.split) == ("conjugate",) * 2
            held, moving = frames_of(scufo), frames_of(scuba)
            assert held.shape == moving.shape
            assert (held == held[0]).all()
            assert not optical_flow(held.astype(np.uint8)).any()
            errors = np.abs(moving - held[0]).mean((1, 2, 3))
            assert errors.argmin() in (COUNT // 2 - 1, COUNT // 2)
            assert errors.min() < 2


def test_indexes(made, tmp_path):
    indexes = scene_test_indexes(list(made.values()))
    assert {name: len(clips) for name, clips in indexes.items()} == {
        "index": 24,
        "iid": 4,
        "scuba_conjugates": 8,
        "scufo_conjugates": 4,
        "scuba_stripes": 8,
        "scufo_stripes": 4,
        "swap": 4,
    }
    for name, clips in indexes.items():
        path = tmp_path / f"{name}.csv"
        write_clip_index(path, clips)
        assert len(read_clip_index(path)) == len(clips)
    for clip in indexes["scufo_stripes"]:
        assert clip.label == made[clip.extra["actor"]].label
        assert clip.split == "test"
    assert not any(clip.conjugates for clip in indexes["iid"])


def test_files_that_are_whole_are_kept(world, tmp_path):
    clips, masks, _ = world
    make = {"masks": masks, "scenes": ("noise", "conjugates")}
    tests, _ = make_scene_tests(clips, tmp_path, **make)
    times = {p: os.stat(p).st_mtime_ns for p in tmp_path.iterdir()}
    lost = tmp_path / "run0.scuba_noise.mp4"
    content = lost.read_bytes()
    lost.unlink()
    again, _ = make_scene_tests(clips, tmp_path, **make)
    assert again == tests and lost.read_bytes() == content
    for path, time in times.items():
        assert path == lost or os.stat(path).st_mtime_ns == time
    # Those of other arguments are not written over.
    for changed in ({"seed": 1}, {"actors": "median"}):
        with pytest.raises(ValueError, match="`output` must not hold files"):
            make_scene_tests(clips, tmp_path, **make, **changed)


def test_what_cannot_be_cut_out_is_left_out(world, tmp_path):
    clips, masks, _ = world
    gone = dataclasses.replace(clips[0], clip="gone", file="gone.mp4")
    other = dataclasses.replace(clips[0], clip="no masks")
    none = dataclasses.replace(clips[0], clip="nobody")
    large = dataclasses.replace(clips[0], clip="large")
    long = dataclasses.replace(clips[0], clip="long")
    found, missing = make_scene_tests(
        [*clips, gone, other, none, large, long],
        tmp_path,
        masks={
            **masks,
            "gone": masks["run0"],
            "nobody": np.zeros_like(masks["run0"]),
            "large": np.ones_like(masks["run0"]),
            "long": masks["run0"].repeat(2, 0),
        },
        scenes=("stripes",),
    )
    assert {c.extra["actor"] for c in found} == {
        "run0",
        "run1",
        "jump2",
        "jump3",
    }
    reasons = {clip.clip: reason for clip, reason in missing}
    assert "no such file" in reasons["gone"]
    assert reasons["no masks"] == "it has no masks"
    assert "nobody is found" in reasons["nobody"]
    assert "fills 100% of its frames" in reasons["large"]
    assert "its masks are of" in reasons["long"]
    assert not list(tmp_path.glob("gone*"))


def test_without_another_class_there_is_no_scene(world, tmp_path):
    clips, masks, _ = world
    with pytest.raises(ValueError, match="no clip of another class and source"):
        make_scene_tests(clips[:4], tmp_path, masks=masks)
    same = [dataclasses.replace(clip, source="one film") for clip in clips]
    with pytest.raises(ValueError, match="no clip of another class and source"):
        make_scene_tests(same, tmp_path, masks=masks)


def test_a_clip_can_be_a_part_of_its_file(world, tmp_path):
    clips, masks, _ = world
    part = dataclasses.replace(clips[0], box=(0, 10, 60, 50), conjugates=())
    tests, _ = make_scene_tests(
        [part], tmp_path, masks=masks, scenes=("noise",)
    )
    scuba = frames_of(tests[1])
    assert scuba.shape == (COUNT, 40, 60, 3) and tests[1].box is None
    mask = inside(masks["run0"])[:, 10:50, :60]
    assert np.median(np.abs(scuba - RED).mean(-1)[mask]) < 10


def test_masks_that_are_found_are_compared_with_those_that_are_given(world):
    clips, masks, scenes = world
    quality = mask_quality(clips, masks, {clip.clip: clip for clip in clips})
    assert set(quality) == {"conjugate", "median", "motion"}
    overlaps, without = quality["median"]
    assert len(overlaps) == 4 and without == 0 and min(overlaps) > 0.6
    # Half of the frame, for a square of a fortieth of it.
    overlaps, without = quality["motion"]
    assert len(overlaps) == 4 and max(overlaps) < 0.1
    # The scene of the conjugates moves.
    overlaps, without = quality["conjugate"]
    assert not overlaps and without == 4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"actors": "guess"}, "`actors` must be one of"),
        ({"masks": None}, "`masks` must be given"),
        ({"scenes": ("space",)}, "`scenes` must be one or more"),
        ({"scenes": "stripes"}, "`scenes` must be one or more"),
        ({"scenes": ()}, "`scenes` must be one or more"),
        ({"split": "train"}, "split 'train'"),
        ({"split": "conjugate"}, "split 'conjugate'"),
        ({"background": ("run", "jump")}, "must hold action clips"),
        ({"background": ("nothing",)}, "`background` must be labels of"),
    ],
)
def test_errors(world, tmp_path, changed, message):
    clips, masks, _ = world
    with pytest.raises(ValueError, match=message):
        make_scene_tests(clips, tmp_path / "new", **{"masks": masks, **changed})
    assert not (tmp_path / "new").exists()


def test_the_command_knows_all_ways():
    assert scene_benchmark._ACTORS == scene_tests.ACTORS
    assert scene_benchmark._SCENES == scene_tests.SCENES


def test_conjugates_are_asked_for(world, tmp_path):
    clips, masks, _ = world
    bare = [dataclasses.replace(c, conjugates=()) for c in actors(clips)]
    with pytest.raises(ValueError, match="actx mine --splits=test"):
        make_scene_tests(bare, tmp_path, masks=masks)
    with pytest.raises(ValueError, match="actx mine --splits=test"):
        make_scene_tests(
            bare, tmp_path, actors="conjugate", scenes=("stripes",)
        )
    taken = [*clips, dataclasses.replace(clips[1], clip="run0.swap")]
    named = [*taken, dataclasses.replace(clips[0], clip="run0.swap")]
    with pytest.raises(ValueError, match="names of the clips"):
        make_scene_tests(named[:8] + named[9:], tmp_path, masks=masks)
    assert pathlib.Path(tmp_path).is_dir()
