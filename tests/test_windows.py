import keras
import numpy as np
import pytest

from actx_tf.backbones import InceptionI3D
from actx_tf.backbones import MobileNetV2Clip
from actx_tf.data.windows import steps_in_windows
from tests.harness import assert_close


def run_in_windows(*arguments):
    """Returns the whole feature map, and the number of frames."""
    maps, counts = zip(*steps_in_windows(*arguments), strict=True)
    return np.concatenate(maps), counts[-1]


def count_runs(run, lengths):
    def counted(frames):
        lengths.append(len(frames))
        return run(frames)

    return counted


def strided_network(seed=0):
    """A step of 4 frames that sees up to 9 more; it pads as I3D does."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((None, 1, 1, 2)),
            keras.layers.Conv3D(4, (7, 1, 1), (2, 1, 1), padding="same"),
            keras.layers.MaxPooling3D((3, 1, 1), (2, 1, 1), padding="same"),
            keras.layers.Conv3D(4, (3, 1, 1), padding="same"),
        ]
    )
    return lambda frames: np.asarray(model(frames[None]))[0]


@pytest.mark.parametrize("total", range(33, 46))
@pytest.mark.parametrize("window", [32, 31])
def test_windows_equal_the_whole(total, window):
    # All lengths modulo the stride: padding depends on it.
    run = strided_network()
    clip = np.random.default_rng(0).normal(size=(total, 1, 1, 2))
    clip = clip.astype("float32")
    lengths = []
    features, count = run_in_windows(
        count_runs(run, lengths), iter(clip), lambda: total, window, 4, 9
    )
    assert count == total
    assert_close(features, run(clip), 1e-5)
    assert len(lengths) > 1
    assert max(lengths) <= window


@pytest.mark.parametrize("total", [1, 20])
def test_a_short_clip_is_run_at_once(total):
    clip = np.ones((total, 1, 1, 2), "float32")
    lengths = []

    def no_count():
        raise AssertionError("the clip is not to be counted")

    _, count = run_in_windows(
        count_runs(strided_network(), lengths), iter(clip), no_count, 31, 4, 9
    )
    assert lengths == [count] == [total]


def test_no_more_than_a_window_is_held():
    taken = 0
    most_ahead = 0
    run_until = 0

    def frames():
        nonlocal taken, most_ahead
        for _ in range(200):
            taken += 1
            most_ahead = max(most_ahead, taken - run_until)
            yield np.zeros((1, 1, 2), "float32")

    def run(window):
        nonlocal run_until
        run_until = taken - len(window)
        return np.zeros((-(-len(window) // 4), 1, 1, 4))

    run_in_windows(run, frames(), lambda: 200, 32, 4, 9)
    assert taken == 200
    assert most_ahead <= 2 * 32  # this window's frames and the next one's


@pytest.mark.parametrize("total", [5, 50])
def test_overlaps_must_fit_into_a_window(total):
    with pytest.raises(ValueError, match="`window` must be.*window=30"):
        run_in_windows(
            strided_network(), iter(np.ones((total, 1))), None, 30, 4, 9
        )


def test_steps_must_be_those_of_the_network():
    clip = iter(np.ones((90, 1, 1, 2), "float32"))
    with pytest.raises(ValueError, match="frames_per_step=2, and 10 steps"):
        run_in_windows(strided_network(), clip, lambda: 90, 40, 2, 9)


@pytest.mark.parametrize("total", [121, 126, 127, 128])
def test_i3d(total):
    keras.utils.set_random_seed(0)
    model = InceptionI3D(False, input_shape=(None, 32, 32, 3))
    # Random statistics would wash out the ends.
    for layer in model.network.layers:
        if layer.name == "Conv3d_1a_7x7_batch_norm":
            layer.moving_variance.assign(0.01 * layer.moving_variance)
    rng = np.random.default_rng(0)
    clip = rng.uniform(0, 255, (total, 32, 32, 3)).astype("float32")

    def run(frames):
        return np.asarray(model(frames[None]))[0]

    features, _ = run_in_windows(run, iter(clip), lambda: total, 115, 8, 47)
    assert_close(features, run(clip), 1e-4)


def test_mobilenet():
    keras.utils.set_random_seed(0)
    model = MobileNetV2Clip(weights=None, input_shape=(None, 32, 32, 3))
    rng = np.random.default_rng(0)
    clip = rng.uniform(0, 255, (29, 32, 32, 3)).astype("float32")

    def run(frames):
        return np.asarray(model(frames[None]))[0]

    features, _ = run_in_windows(run, iter(clip), lambda: 29, 15, 4, 1)
    assert_close(features, run(clip), 1e-4)
