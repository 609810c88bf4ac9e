"""Conjugates that a model finds in long clips."""

import dataclasses

import numpy as np
import pytest

from actx_tf.data import Clip
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index
from actx_tf.experiments import conjugates_of_nothing
from actx_tf.models import ACF
from tests.harness import run_actx
from tests.test_timeline import a_bright_stretch
from tests.test_timeline import sees_brightness

WINDOW = 1.0  # seconds
UNSURE = 0.75  # seconds around a change that a window and a step see as both


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A minute that shows something from 25 to 30 seconds, and a model."""
    folder = tmp_path_factory.mktemp("self_training")
    a_bright_stretch(folder / "day.mp4")
    model, backbone = sees_brightness(background=["none"])
    model.save(folder / "model.keras")
    backbone.save(folder / "backbone.keras")
    return folder


def day(folder, **others):
    return Clip("day", str(folder / "day.mp4"), "bright", "train", **others)


def mine(clips, folder, **options):
    return conjugates_of_nothing(
        clips,
        folder / "model.keras",
        backbone=folder / "backbone.keras",
        window=WINDOW,
        **options,
    )


def test_what_a_model_calls_nothing_is_a_conjugate(folder):
    given = day(folder)
    clips, missing = mine([given], folder)
    assert not missing
    first, before, after = clips
    assert first == dataclasses.replace(
        given, conjugates=(before.clip, after.clip)
    )
    for conjugate in (before, after):
        assert conjugate.label == conjugate.split == "conjugate"
        assert conjugate.file == given.file and not conjugate.conjugates
    # Nothing of the action, and all of the rest.
    assert (before.start, after.end) == (0, 60)
    assert 25 - UNSURE <= before.end <= 25
    assert 30 <= after.start <= 30 + UNSURE


def test_a_part_of_the_file_that_others_show_is_not_taken(folder):
    clips, missing = mine(
        [
            day(folder, start=20.0, end=50.0),
            Clip("other", str(folder / "day.mp4"), "jump", "train", (), 35, 40),
            Clip("test", str(folder / "day.mp4"), "background", "test", (), 45),
        ],
        folder,
    )
    found = [(x.start, x.end) for x in clips if x.clip.startswith("day.")]
    assert np.ravel(found) == pytest.approx(
        [20, 25, 30, 35, 40, 45], abs=UNSURE
    )
    assert found[1][1] == 35 and found[2] == (40, 45)
    # All of the other clip is nothing to this model, and a part of the first.
    assert [clip.clip for clip, _ in missing] == ["other"]


def test_clips_without_a_stretch_of_nothing_are_named(folder):
    clip = day(folder, start=25.0, end=30.0)
    clips, ((missing, reason),) = mine([clip], folder)
    assert clips == [clip] == [missing]
    assert "the model scores no stretch of 0.5 seconds" in reason
    broken = dataclasses.replace(day(folder), file=str(folder / "none.mp4"))
    clips, ((missing, reason),) = mine([broken], folder)
    assert clips == [broken] == [missing] and "none.mp4" in reason


def test_a_model_that_always_sees_some_action_is_refused(folder):
    for options in ({}, {"activation": "sigmoid"}):
        model, backbone = sees_brightness(["dark", "bright"], **options)
        arguments = [day(folder)], model
        if options:
            clips, _ = conjugates_of_nothing(
                *arguments, backbone=backbone, window=WINDOW
            )
            assert [x.clip for x in clips[1:]] == [
                "day.nothing0",
                "day.nothing1",
            ]
        else:
            with pytest.raises(ValueError, match="`model` must have a class"):
                conjugates_of_nothing(*arguments, backbone=backbone)
    model = ACF(2, class_names=["a", "b"])
    with pytest.raises(ValueError, match=r"Received: class_names=\['a', 'b'\]"):
        conjugates_of_nothing([day(folder)], model)


def test_a_part_of_the_frame_is_refused(folder):
    with pytest.raises(ValueError, match=r"`clips` must be of whole frames"):
        mine([day(folder, box=(0, 0, 24, 24))], folder)


def test_the_command(folder):
    write_clip_index(folder / "index.csv", [day(folder)])
    files = "--index=index.csv", "--output=pairs.csv"
    result = run_actx("mine", *files, "--way=nothing", cwd=folder)
    assert result.returncode == 2
    assert "--way=nothing needs --model" in result.stderr
    result = run_actx(
        "mine", *files, "--model=model.keras", "--features=f", cwd=folder
    )
    assert result.returncode == 2
    assert "--model is not for --way=nearest, but for nothing" in result.stderr
    result = run_actx(
        "mine",
        *files,
        "--way=nothing",
        "--model=model.keras",
        "--backbone=backbone.keras",
        f"--window={WINDOW}",
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    assert "1 clips have 2 conjugates" in result.stdout
    assert (
        read_clip_index(folder / "pairs.csv") == mine([day(folder)], folder)[0]
    )
