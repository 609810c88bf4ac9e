"""What `actx fit` says of a training."""

import dataclasses
import math
from pathlib import Path

import pytest

from actx_tf.experiments.verdict import verdict
from actx_tf.experiments.video_training import Estimate
from actx_tf.experiments.video_training import VideoTraining

TRAINED = VideoTraining(
    clips=20,
    failed=[("a.mp4", "no frames")],
    paired=6,
    pairs=18,
    tested=8,
    copies=0,
    figures={"accuracy": 0.75, "mAcc": 0.7, "mAP": 0.8},
    untested=[],
    commonest=("run", 0.5),
    gain=None,
    seeds=1,
    movement=None,
    page=Path("clips.html"),
)


def said(**more):
    return verdict(dataclasses.replace(TRAINED, **more))


def test_clips_pairs_and_accuracy():
    text = said()
    assert "Of 20 clips 19 could be read." in text
    assert "6 training clips show an action and have 18 conj" in text
    assert "the model (actx.keras) gets 6 right" in text
    assert "too little ahead for 8 clips to say" in text
    assert ": the model has learned something" in said(tested=80)
    assert "is no better" in said(commonest=("run", 0.75))


@pytest.mark.parametrize(
    ("mean", "error", "words"),
    [
        (0.05, 0.02, "ActX is better than average pooling of the same feat"),
        (-0.05, 0.02, "ActX is worse than average pooling"),
        (0.05, 0.03, "cannot be said from so few clips: +5.0 points"),
        (-0.05, 0.03, "cannot be said from so few clips: -5.0 points"),
        # All clips agree: too few for a spread.
        (1.0, 0.0, "cannot be said"),
    ],
)
def test_a_difference_is_held_against_its_spread(mean, error, words):
    text = said(gain=Estimate(mean, error, 40), seeds=3)
    assert words in text
    assert f"{100 * mean:+.1f} points" in text
    assert f"{100 * error:.1f} over 40 clips, 3 seeds each" in text


def test_a_class_that_was_not_tested_is_named():
    assert "No clip of" not in said()
    assert "No clip of hop, jump was held out" in said(untested=["hop", "jump"])


def test_without_a_comparison_it_says_how_to_get_one():
    assert "run the same command again with --compare" in said()


@pytest.mark.parametrize(
    ("movement", "words"),
    [
        (Estimate(0.8, 0.05, 20), "maps lie on what moves (AUC 0.80, "),
        (Estimate(0.3, 0.05, 20), "maps lie on what stands still"),
        (Estimate(0.3, 0.05, 2), "said from fewer than 10 clips (AUC 0.30"),
        (Estimate(0.55, 0.05, 9), "said from fewer than 10 clips (AUC 0.55"),
        (Estimate(0.9, math.nan, 1), "said from fewer than 10 clips (AUC 0.90"),
        (Estimate(0.55, 0.05, 20), "cannot be said (AUC 0.55"),
        (None, "Nothing moves"),
    ],
)
def test_where_the_maps_lie(movement, words):
    text = said(movement=movement)
    assert words in text
    assert "nan" not in text


def test_copies_that_were_trained_on_are_said():
    assert "copies" not in said()
    assert "held-out clips 2 are copies of training clips" in said(copies=2)
