"""Pairs that look wrong."""

import numpy as np
import pytest

from actx_tf.data import Clip
from actx_tf.data import doubtful_pairs
from actx_tf.data import synthetic


def scene(random, time=6, height=6, width=6, channels=32):
    return random.normal(size=(height, width, channels)) + np.zeros(
        (time, 1, 1, 1)
    )


def film(random, of_scene, noise=0.1):
    return of_scene + noise * random.normal(size=of_scene.shape)


def pair(*conjugates):
    return [Clip("a", "a.mp4", "run", "train", conjugates)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
def test_scenes_and_actions_of_known_kind(seed, scale):
    random = np.random.default_rng(seed)
    place, other = scene(random), scene(random)
    action = place.copy()
    action[:, 2:4, 2:4] = random.normal(size=32)
    features = {
        "a": film(random, action),
        "still": film(random, place[:2]),
        "again": film(random, action),
        "elsewhere": film(random, other[:, :4]),
    }
    features = {name: scale * x for name, x in features.items()}
    clips = pair("still", "again", "elsewhere", "not stored")
    assert doubtful_pairs(clips, features) == [
        ("a", "again", "alike everywhere"),
        ("a", "elsewhere", "alike nowhere"),
    ]
    # Of one step it is not known how alike a clip is to itself.
    features["a"] = features["a"][:1]
    assert doubtful_pairs(clips, features) == [
        ("a", "elsewhere", "alike nowhere")
    ]
    del features["a"]
    assert doubtful_pairs(clips, features) == []


def test_clips_without_any_texture():
    zeros = {name: np.zeros((2, 3, 3, 4)) for name in "ab"}
    [(*names, doubt)] = doubtful_pairs(pair("b"), zeros)
    assert names == ["a", "b"] and doubt


def test_pairs_of_the_built_in_data():
    made = synthetic.make_part("train", 48)
    network = synthetic.backbone()
    features = {}
    for kind, videos in (("a", made.videos), ("c", made.conjugates)):
        for i, x in enumerate(network.predict(videos, verbose=0)):
            features[f"{kind}{i}"] = x

    def share(shift, doubt):
        pairs = [
            (i, (i + shift) % 48)
            for i in range(48)
            if not shift or made.scenes[i] != made.scenes[(i + shift) % 48]
        ]
        clips = [Clip(f"a{i}", "", "x", "train", (f"c{k}",)) for i, k in pairs]
        found = doubtful_pairs(clips, features)
        return sum(d == doubt for *_, d in found) / len(pairs)

    assert share(0, "alike nowhere") == 0
    assert share(0, "alike everywhere") < 0.3
    assert share(1, "alike nowhere") > 0.4
    assert share(1, "alike everywhere") < 0.05
