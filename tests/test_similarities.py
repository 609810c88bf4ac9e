import csv

import numpy as np
import pytest

from actx_tf import losses
from actx_tf.cli.main import main
from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import make_pair_dataset
from actx_tf.data import store_similarities
from actx_tf.data.similarities import pair_name
from tests.described import describe
from tests.harness import clips as random_maps
from tests.harness import run_actx
from tests.test_examples import make_store

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def clips():
    conjugates = [("c", "d"), ("c",), (), ("nowhere",)]
    return [
        Clip(name, f"{name}.mp4", label, "train", names)
        for name, label, names in zip(
            NAMES, ("run", "run", "none", "run"), conjugates, strict=True
        )
    ]


@pytest.fixture
def store(tmp_path):
    with FeatureStoreWriter(
        tmp_path / "f", describe("net", 8, frame_rate=16.0), "float32"
    ) as writer:
        for seed, name in enumerate(NAMES):
            features = random_maps(5 + seed, 2, 3, 8, seed=seed)
            writer.add(name, features, "run", "train", 16.0, 20)
    with FeatureStore(tmp_path / "f") as store:
        yield store


def test_each_pair_s_similarity_is_stored(clips, store, tmp_path):
    path = tmp_path / "s"
    assert store_similarities(clips, store, path, gamma=7.0) == 3
    with FeatureStore(path) as stored:
        assert set(stored) == {"a c", "a d", "b c"}
        for name in stored:
            clip, conjugate = (store[part][None] for part in name.split())
            expected = losses.conjugate_similarity(clip, conjugate, 7.0)
            # float16
            np.testing.assert_allclose(
                stored[name][None, ..., 0], expected, atol=1e-3
            )


def test_a_run_is_taken_up_again(clips, store, tmp_path, monkeypatch):
    path = tmp_path / "s"
    store_similarities(clips[:1], store, path)
    asked = []
    match = losses.match_features

    def count(features, *args):
        asked.append(features.shape)
        return match(features, *args)

    monkeypatch.setattr(losses, "match_features", count)
    assert store_similarities(clips, store, path) == 3
    assert asked == [(1, 6, 2, 3, 8)]  # of "b" alone
    with pytest.raises(ValueError, match="gamma=3"):
        store_similarities(clips, store, path, gamma=3.0)


def test_clips_of_the_background_have_no_pairs(clips, store, tmp_path):
    path = tmp_path / "s"
    assert store_similarities(clips, store, path, background=["run"]) == 0


def test_a_background_that_no_clip_has_is_refused(clips, store, tmp_path):
    labels = sorted({label for clip in clips for label in clip.labels})
    with pytest.raises(ValueError) as error:
        store_similarities(clips, store, tmp_path / "s", background=["idle"])
    assert f"labels of the clips, {labels}" in str(error.value)
    assert str(error.value).endswith("Received: background=['idle']")
    assert not (tmp_path / "s").exists()


def test_pairs_are_cut_where_the_features_are(clips, store, tmp_path):
    path = tmp_path / "s"
    store_similarities(clips, store, path)
    arguments = (clips, ["none", "run"], 3, 4)
    with FeatureStore(path) as stored:
        with pytest.warns(UserWarning, match="not in `features`"):
            plain = make_pair_dataset(store, *arguments, shuffle=False)
        with pytest.warns(UserWarning, match="not in `similarities`"):
            read = make_pair_dataset(
                store, *arguments, shuffle=False, similarities=stored
            )
        [(before, _)], [(after, _)] = map(list, (plain, read))
        assert "conjugate" not in after
        np.testing.assert_array_equal(before["features"], after["features"])
        np.testing.assert_array_equal(
            before["has_conjugate"], after["has_conjugate"]
        )
        assert list(after["has_conjugate"].numpy()) == [
            True,
            True,
            False,
            False,
        ]
        for row, (name, conjugates) in enumerate(
            [("a", "cd"), ("b", "c"), ("c", ""), ("d", "")]
        ):
            maps = after["conjugate_similarity"][row].numpy()
            assert maps.shape == (3, 2, 3)
            if not conjugates:
                assert not maps.any()
                continue
            whole, cut = store[name], after["features"][row].numpy()
            [start] = [
                t
                for t in range(len(whole) - 2)
                if (whole[t : t + 3] == cut).all()
            ]
            assert any(
                (
                    stored[pair_name(name, c)][start : start + 3, ..., 0]
                    == maps
                ).all()
                for c in conjugates
            )


def test_the_commands(tmp_path, capsys):
    make_store(tmp_path)
    flags = [
        f"--features={tmp_path / 'store'}",
        f"--index={tmp_path / 'index.csv'}",
    ]
    similarities = tmp_path / "similarities"
    result = run_actx("similarities", *flags, f"--output={similarities}")
    assert result.returncode == 0, result.stderr
    assert "6 pairs are stored" in result.stdout
    flags += [f"--similarities={similarities}", f"--output={tmp_path / 'out'}"]
    assert main(["train", *flags, "--gamma=3"]) == 1
    error = capsys.readouterr().err
    assert "must be conjugate_similarity(gamma=3)" in error
    assert main(["train", *flags, "--epochs=1", "--seeds=1"]) == 0
    with open(tmp_path / "out" / "history" / "ActX-0.csv") as file:
        [logged] = csv.DictReader(file)
    assert float(logged["similarity_loss"]) > 0
