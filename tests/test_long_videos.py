"""Long videos, which are sent to servers part by part."""

import functools
import itertools
import pickle
import re

import numpy as np
import pytest
import tensorflow as tf

from actx_tf import client
from actx_tf.backbones import make_backbone
from actx_tf.data import read_segments
from actx_tf.data import synthetic
from actx_tf.export import export_saved_model
from actx_tf.models import ACF
from actx_tf.prediction import VideoPredictor
from actx_tf.prediction.windows import WindowMeans
from tests.harness import run_actx
from tests.long_requests import ask_signatures
from tests.long_requests import bad_requests
from tests.long_requests import encode
from tests.long_requests import expected_scores
from tests.long_requests import record
from tests.served import CHANNELS
from tests.served import make_served
from tests.test_export import run_in_c
from tests.test_prediction import films

pytest.importorskip("tensorflow_serving")

from tests.tf_serving import serve  # noqa: E402

MAX_STEPS = 50


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return make_served(folder / "wave", max_steps=MAX_STEPS)


@pytest.fixture(scope="module")
def ask(served):
    loaded = tf.saved_model.load(str(served.path))
    yield functools.partial(ask_signatures, loaded.signatures)


@pytest.fixture(scope="module")
def servers(served):
    with serve(served.path.parent, "wave") as (rest, grpc):
        yield {"rest": rest, "grpc": grpc}


def video_of(count):
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, 48, 48, 3), np.uint8)


@pytest.mark.parametrize(
    ("count", "window", "hop", "part"),
    [
        (120, 2, 1, 40),
        (117, 5, 2, 60),  # SAME padding of another length
        (97, 10, 5, 80),
        (9, 10, 5, 30),  # shorter than a window
        (120, 10, 1, 120),  # more windows than a request may have
        (40, 10, 10, 41),
    ],
)
def test_parts_are_answered_as_the_whole(served, ask, count, window, hop, part):
    video = video_of(count)
    means = WindowMeans()
    steps = min(window, -(-count // 4))
    for answers in client.ask_in_parts(
        ask, iter(encode(video)), count, window, hop, part
    ):
        begins = answers.pop("begins").tolist()
        assert answers["action_map"].shape[:2] == (len(begins), steps)
        assert len(begins) * steps <= MAX_STEPS
        means.add(begins, answers, steps)
    np.testing.assert_allclose(
        means.result()["scores"],
        expected_scores(served, video, window, hop),
        atol=1e-5,
    )


def test_several_clips_of_a_request(ask):
    """Servers join requests to batches, and pad them."""
    one, other = (
        record(ask, encode(video_of(n)), window, hop, n)[0]
        for n, window, hop in ((60, 2, 1), (41, 5, 5))
    )
    inputs = {
        name: np.concatenate([one[1][name], other[1][name]])
        for name in one[1]
        if name != "frames"
    }
    frames = other[1]["frames"]
    padding = np.repeat(frames[:, :1], 19, axis=1)
    inputs["frames"] = np.concatenate(
        [one[1]["frames"], np.concatenate([frames, padding], axis=1)]
    )
    both = ask("windows", inputs)
    for row, (_, _, alone) in enumerate((one, other)):
        count = alone["begins"].shape[1]
        assert (both["begins"][row, count:] == -1).all()
        assert (both["begins"][row, :count] == alone["begins"][0]).all()
        np.testing.assert_allclose(
            both["scores"][row, :count], alone["scores"][0], atol=1e-5
        )
        steps = alone["action_map"].shape[2]
        np.testing.assert_allclose(
            both["action_map"][row, :count, :steps],
            alone["action_map"][0],
            atol=1e-6,
        )


def test_a_server_answers_what_predict_does(served, servers, tmp_path):
    path, _ = films(tmp_path, 150)
    predictor = VideoPredictor(served.path)
    choices = [
        {"window": 2.0},
        {"window": 1.0, "overlap": 0.0, "start": 1.0, "end": 9.3},
        {"window": 100.0, "end": 3.0},
    ]
    timelines = [predictor.timeline(path, **options) for options in choices]
    for server, (options, expected) in itertools.product(
        servers.values(), zip(choices, timelines, strict=True)
    ):
        asked = client.ask_timeline(path, server, "wave", **options)
        for name in ("times", "scores", "action_map", "context_map"):
            np.testing.assert_allclose(
                getattr(asked, name), getattr(expected, name), atol=1e-5
            )
        assert asked.window == expected.window
        assert asked.num_frames == expected.num_frames
        assert asked.frame_rate == expected.frame_rate
        for a, b in zip(asked.centers, expected.centers, strict=True):
            np.testing.assert_array_equal(a, b)
        found, ours = asked.segments(), expected.segments()
        assert len(found) == len(ours) > 0
        for a, b in zip(found, ours, strict=True):
            assert (a.start, a.end, a.label) == (b.start, b.end, b.label)
            assert a.score == pytest.approx(b.score, abs=1e-5)
    for server in servers.values():
        with pytest.raises(
            ValueError, match="`window` must be shorter.*50 steps"
        ):
            client.ask_timeline(path, server, "wave", window=30.0)
    with pytest.raises(ValueError, match="`overlap` must be a number"):
        client.ask_timeline(path, servers["rest"], "wave", overlap=1)


def test_the_command_finds_what_predict_does(served, servers, tmp_path):
    path, _ = films(tmp_path, 150)
    flags = ["--segments", "--window=1", "--thresholds=0.3", "--background="]
    tables = {}
    for name, arguments in (
        ("ask", ["--name=wave", f"--server={servers['rest']}"]),
        ("predict", [f"--model={served.path}"]),
    ):
        output = tmp_path / f"{name}.csv"
        result = run_actx(name, path, *arguments, *flags, f"--output={output}")
        assert result.returncode == 0, result.stderr
        lines = result.stdout.splitlines()
        tables[name] = (
            [line for line in lines if " s  " in line or "windows of" in line],
            read_segments(output)[str(path)],
        )
    (said, found), (expected_lines, expected) = tables.values()
    assert len(said) == len(expected_lines) == len(expected) + 1 > 2
    assert said[-1] == expected_lines[-1] == "windows of 1 seconds"
    for a, b in zip(found, expected, strict=True):
        assert (a.start, a.end, a.label) == (b.start, b.end, b.label)
        assert a.score == pytest.approx(b.score, abs=1e-5)
    for wrong, words in (
        (["--window=1"], "--window is for --segments"),
        (["--segments", "--output=a.png"], "--output must end in .csv"),
    ):
        result = run_actx("ask", path, "--name=wave", *wrong)
        assert result.returncode == 2 and words in result.stderr


def test_steps_that_see_a_clip_are_asked_for_window_by_window(tmp_path):
    network = synthetic.backbone().network
    backbone = make_backbone(network, num_frames=8, size=(48, 48))
    model = ACF(2, class_names=["a", "b"], description=backbone.description)
    model.build((None, None, None, None, CHANNELS))
    path = export_saved_model(model, tmp_path / "model", backbone=backbone)
    video, _ = films(tmp_path, 80)
    with serve(tmp_path / "model", "model") as (rest, _):
        asked = client.ask_timeline(video, rest, "model", window=4.0)
    expected = VideoPredictor(path).timeline(video, window=4.0)
    np.testing.assert_allclose(asked.scores, expected.scores, atol=1e-5)
    np.testing.assert_allclose(asked.times, expected.times)
    assert asked.num_frames == expected.num_frames


def test_a_part_that_fails_is_named_and_asked_for_once(ask):
    images = encode(video_of(120))
    asked = []

    def failing(name, inputs):
        asked.append(inputs["frames"].shape[1])
        if len(asked) == 3:
            raise client.ServingError("the server is gone")
        return ask(name, inputs)

    answered = []
    with pytest.raises(
        client.ServingError,
        match=r"frames \d+ to \d+ of 120: the server is gone",
    ):
        for answers in client.ask_in_parts(failing, images, 120, 2, 1, 40):
            answered.extend(answers["begins"])
    assert len(asked) == 3
    # What was answered is whole up to there.
    assert answered == list(range(len(answered))) != []
    assert max(asked) == 40
    for total in (119, 121):
        with pytest.raises(ValueError, match="as many as `total`"):
            list(client.ask_in_parts(ask, images, total, 2, 1, 40))


def test_no_more_images_are_held_than_a_part_has(ask):
    images = encode(video_of(8))
    taken = 0

    def endless():
        nonlocal taken
        while True:
            yield images[taken % 8]
            taken += 1

    def watched(name, inputs):
        frames = inputs["frames"].shape[1]
        first = max(0, inputs["begin"][0] - 2) * 4
        assert frames == 40 and taken <= first + frames
        return ask(name, inputs)

    parts = client.ask_in_parts(watched, endless(), 10**6, 5, 5, 40)
    for _ in range(12):
        next(parts)


def test_what_is_wrong_is_told(ask):
    for case, (name, inputs, message) in bad_requests(MAX_STEPS).items():
        with pytest.raises((RuntimeError, TypeError, ValueError)) as error:
            ask(name, inputs)
        assert re.search(message, str(error.value), re.DOTALL), (
            f"{case}: {error.value}"
        )


def test_the_loader_of_tf_serving_goes_on_at_flat_memory(served, ask, tmp_path):
    """200 requests of long videos, with bad ones among them."""
    good = record(ask, encode(video_of(120)), 5, 2, 48)
    bad = list(bad_requests(MAX_STEPS).values())
    requests, kinds = [], []
    for number in range(200):
        if number % 4 == 3:
            name, inputs, _ = kind = bad[number // 4 % len(bad)]
        else:
            name, inputs, _ = kind = good[number % len(good)]
        requests.append((name, inputs))
        kinds.append(kind)
    answers = run_in_c(served, requests, tmp_path)
    for answer, (_, _, expected) in zip(answers, kinds, strict=True):
        if isinstance(expected, str):
            assert isinstance(answer, str), expected
            assert re.search(expected, answer, re.DOTALL)
            continue
        assert answer.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(answer[name], value, atol=1e-5)
    memory = pickle.loads((tmp_path / "job.memory").read_bytes())
    assert memory[-1] - memory[19] < 0.1 * memory[19]
