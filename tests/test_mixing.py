"""Clips mixed with other frames: how much, of which, and what stays."""

import numpy as np
import pytest
import tensorflow as tf

from actx_tf.data import mixing
from tests.moving_square import moving_square

SEED = (3, 5)


def made_up(batch=6, time=5, dtype="float32"):
    random = np.random.default_rng(0)
    return random.normal(size=(batch, time, 3, 4, 2)).astype(dtype)


def weight_of(mixed, clips):
    """What differences over time are scaled by is 1 - weight, of each clip."""
    after, before = np.diff(mixed, axis=1), np.diff(clips, axis=1)
    ratio = (after * before).sum((1, 2, 3, 4)) / (before**2).sum((1, 2, 3, 4))
    np.testing.assert_allclose(
        after, ratio[:, None, None, None, None] * before, atol=1e-5
    )
    return 1 - ratio


def test_own_frame_moves_the_mean_and_scales_what_moves():
    clips = made_up(batch=200)
    mixed = mixing.mix_own_frame(clips, SEED).numpy()
    weights = weight_of(mixed, clips)
    assert 0 <= weights.min() < 0.02 and 0.28 < weights.max() < 0.3
    places = set()
    for clip, after, weight in zip(clips, mixed, weights, strict=True):
        if weight > 0.01:
            # What the mean moved by is a frame of the clip itself.
            frame = (after.mean(0) - (1 - weight) * clip.mean(0)) / weight
            errors = np.abs(frame - clip).max((1, 2, 3))
            assert errors.min() < 1e-3
            places.add(errors.argmin())
    assert places == set(range(5))


def test_frame_of_another_is_held_in_a_share_of_the_clips():
    clips = made_up(batch=200)
    mixed = mixing.mix_frame_of_another(clips, SEED, 0.4, 0.25).numpy()
    weights = weight_of(mixed, clips)
    is_mixed = weights > 0.2
    np.testing.assert_allclose(weights[is_mixed], 0.4, atol=1e-5)
    assert 0.15 < is_mixed.mean() < 0.35
    np.testing.assert_array_equal(mixed[~is_mixed], clips[~is_mixed])
    for number in np.flatnonzero(is_mixed):
        held = (mixed[number] - 0.6 * clips[number]) / 0.4
        errors = np.abs(held[0] - clips).max((2, 3, 4))
        owner, _ = np.unravel_index(errors.argmin(), errors.shape)
        assert errors.min() < 1e-4 and owner != number


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: mixing.mix_own_frame(x, SEED, most=0.0),
        lambda x: mixing.mix_frame_of_another(x, SEED, weight=0.0),
        lambda x: mixing.mix_frame_of_another(x, SEED, share=0.0),
        lambda x: mixing.merge_background(
            x, np.ones((len(x), 3, 4), bool), SEED, share=1.0
        ),
        lambda x: mixing.merge_background(
            x, np.zeros((len(x), 3, 4), bool), SEED, share=0.0
        ),
        # A single clip has no other.
        lambda x: mixing.merge_background(x[:1], np.zeros((1, 3, 4)), SEED),
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_weight_of_nothing_changes_nothing(mix, dtype):
    clips = np.abs(made_up() * 40).astype(dtype)
    mixed = mix(clips)
    assert mixed.dtype == dtype
    np.testing.assert_array_equal(mixed, clips[: len(mixed)])


def test_background_is_of_another_clip_at_the_same_time():
    clips = made_up()
    foreground = np.random.default_rng(1).random((6, 3, 4)) < 0.5
    merged = mixing.merge_background(clips, foreground, SEED, 1.0).numpy()
    owners = []
    for number, (clip, after, mask) in enumerate(
        zip(clips, merged, foreground, strict=True)
    ):
        np.testing.assert_array_equal(after[:, mask], clip[:, mask])
        (owner,) = (
            other
            for other in range(6)
            if (after[:, ~mask] == clips[other][:, ~mask]).all()
        )
        assert owner != number
        owners.append(owner)
    assert sorted(owners) == list(range(6))


@pytest.mark.parametrize("size_mask", [False, True])
def test_what_is_padded_is_neither_mixed_nor_mixed_in(size_mask):
    clips = made_up(batch=40)
    mask = np.zeros((40, 5), bool)
    for number in range(40):
        mask[number, : 1 + number % 5] = True
    if size_mask:
        mask = np.repeat(mask[..., None, None], 3, 2).repeat(4, 3)
        mask[::3, :, 2:] = False
    real = np.broadcast_to(
        mask if size_mask else mask[..., None, None], clips.shape[:4]
    )
    foreground = np.zeros((40, 3, 4), bool)
    clips[~real] = 1e6
    for mixed in (
        mixing.mix_own_frame(clips, SEED, 1.0, mask),
        mixing.mix_frame_of_another(clips, SEED, 0.5, 1.0, mask),
        mixing.merge_background(clips, foreground, SEED, 1.0, mask),
    ):
        mixed = mixed.numpy()
        assert (mixed[~real] == 1e6).all()
        assert np.abs(mixed[real]).max() < 10
        assert (mixed[real] != clips[real]).mean() > 0.4


def test_seed_and_graph():
    clips = made_up()
    spec = tf.TensorSpec([None, None, None, None, 2])
    for mix in (
        mixing.mix_own_frame,
        lambda x, seed: mixing.mix_frame_of_another(x, seed, share=1.0),
        lambda x, seed: mixing.merge_background(
            x, mixing.changing_locations(x), seed, share=1.0
        ),
    ):
        first = mix(clips, SEED)
        seeds = tf.TensorSpec([2], tf.int64)
        graph = tf.function(mix, input_signature=[spec, seeds])
        np.testing.assert_array_equal(first, graph(clips, SEED))
        assert (mix(clips, (4, 5)) != first).numpy().any()
        # A share of a batch can be empty.
        assert graph(clips[:0], SEED).shape == (0, 5, 3, 4, 2)


def test_foreground_is_what_moves():
    frames, masks, behind = moving_square(count=8)
    frames[:, :, :] = np.where(
        masks.any(0)[..., None], frames, behind // 2
    )  # the square's path is lighter than the rest
    batch = np.stack([frames, np.broadcast_to(behind, frames.shape)])
    found = mixing.moving_foreground(batch).numpy()
    assert found.shape == (2, 64, 96)
    assert found[0].mean() == pytest.approx(0.5, abs=0.01)
    assert found[0][masks.any(0)].mean() > 0.9
    assert found[1].all()  # nothing moves
    graph = tf.data.Dataset.from_tensors(batch).map(mixing.moving_foreground)
    np.testing.assert_array_equal(next(iter(graph)), found)


def test_changing_locations():
    features = np.ones((2, 4, 3, 4, 2), np.float16)
    features[0, ::2, 0] = 3
    found = mixing.changing_locations(features, 1 / 3).numpy()
    assert found[0, 0].all() and not found[0, 1:].any()
    assert found[1].all()
    # Of padded steps nothing changes.
    mask = np.array([[True, False, False, False]] * 2)
    assert mixing.changing_locations(features, 1 / 3, mask).numpy().all()


def test_errors():
    clips = made_up()
    with pytest.raises(ValueError, match="`most` must be in"):
        mixing.mix_own_frame(clips, SEED, 1.5)
    with pytest.raises(ValueError, match="`weight` must be in"):
        mixing.mix_frame_of_another(clips, SEED, float("nan"))
    with pytest.raises(ValueError, match="`share` must be in"):
        mixing.mix_frame_of_another(clips, SEED, share=-0.1)
    with pytest.raises(ValueError, match="`share` must be in"):
        mixing.merge_background(clips, clips[:, 0, ..., 0] > 0, SEED, 2)
    with pytest.raises(ValueError, match="`seed` must have the shape"):
        mixing.mix_own_frame(clips, 7)
    with pytest.raises(ValueError, match="`mask` must have the shape"):
        mixing.mix_own_frame(clips, SEED, mask=np.ones((1, 2), bool))
    with pytest.raises(ValueError, match="`foreground` must have the shape"):
        mixing.merge_background(clips, clips[:, 0, 1:, :, 0] > 0, SEED)
    with pytest.raises(ValueError, match="`clips` must be uint8"):
        mixing.moving_foreground(clips)
    with pytest.raises(ValueError, match="`clips` must have the shape"):
        mixing.mix_own_frame(clips[0], SEED)
