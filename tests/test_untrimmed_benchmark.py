"""Parts of benchmarks/untrimmed.py."""

import numpy as np
import pytest

from actx_tf.data import synthetic
from actx_tf.experiments.run_data import Task
from actx_tf.prediction import VideoPredictor
from benchmarks import untrimmed
from tests.lossless import write_lossless
from tests.served import CHANNELS
from tests.served import CLASS_NAMES
from tests.served import make_served


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return untrimmed._untrimmed(tmp_path_factory.mktemp("videos"), 2, 7)


def test_timelines_are_those_of_the_video_files(videos, tmp_path):
    served = make_served(tmp_path / "model")
    task = Task(CLASS_NAMES, CHANNELS)
    found = untrimmed.timelines(served.model, videos, task, 3)
    predictor = VideoPredictor(served.model, synthetic.backbone())
    made = synthetic.make_untrimmed(2, seed=7)
    for timeline, video in zip(found.values(), made, strict=True):
        path = write_lossless(
            tmp_path / "video.mp4", video.frames, int(synthetic.FRAME_RATE)
        )
        expected = predictor.timeline(path, window=3 * 4 / synthetic.FRAME_RATE)
        np.testing.assert_allclose(timeline.times, expected.times)
        np.testing.assert_allclose(timeline.scores, expected.scores, atol=1e-4)


def test_conjugates_of_what_is_nothing_show_no_action(videos):
    nothing = {
        name: untrimmed._between(segments, videos.times[name][-1])
        for name, segments in videos.truth.items()
    }
    assert ", of which 0.0% show an action; 0 videos" in untrimmed._purity(
        videos, nothing
    )
    whole = {name: [(0.0, 20.0)] for name in videos.truth}
    share = 3 * 9 / 160
    assert f"which {share:.1%} show" in untrimmed._purity(videos, whole)

    nothing["video1"] = []
    pairs = untrimmed._conjugates(videos, nothing)
    assert pairs["has_conjugate"].tolist() == [True, False]
    assert not pairs["conjugate"][1].any()
    real = pairs["conjugate_mask"][0]
    features, times = videos.features["video0"], videos.times["video0"]
    for conjugate in pairs["conjugate"][0][real]:
        (step,) = np.nonzero((features == conjugate).all(axis=(1, 2, 3)))
        start, end = times[step[0] : step[0] + 2]
        assert all(
            end <= x.start or x.end <= start for x in videos.truth["video0"]
        )


def test_there_is_one_row_a_model_and_one_cell_an_overlap():
    figures = np.tile(np.linspace(0.7, 0.1, 7), (2, 1)) + [[0.0], [0.1]]
    choice = untrimmed.Choice(2, "mean", 1.0, 0.3)
    titles, rule = untrimmed._header()
    row = untrimmed._row_of("ActX", choice, figures)
    assert len(titles) == len(rule) == len(row)
    assert row[2] == "0.450 ± 0.071" and row[3:] == [
        f"{x:.2f}" for x in figures.mean(axis=0)
    ]
