import keras
import numpy as np
import pytest

from actx_tf.layers import RegionPooling
from tests import reference
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import to_numpy

WHOLE_FRAME = [0.0, 0.0, 1.0, 1.0]


def random_boxes(*shape, seed=0):
    corners = np.random.default_rng(seed).uniform(size=(*shape, 2, 2))
    return np.sort(corners, axis=-2).reshape(*shape, 4).astype("float32")


@pytest.mark.parametrize("bins, ratio", [(1, 1), (2, 1), (3, 2), (7, 2)])
def test_equals_roi_align_for_each_clip(bins, ratio):
    features, boxes = clips(3, 4, 5, 7, 6), random_boxes(3, 4, 3)
    boxes[0, 0, 0] = WHOLE_FRAME
    boxes[1, 2, :2] = 0.0  # fewer than k
    boxes[1, 3] = np.nan
    boxes[2] = 0.0  # none at all
    expected = [
        reference.region_pooling(clip, of_clip, bins, ratio)
        for clip, of_clip in zip(features, boxes, strict=True)
    ]
    assert_close(RegionPooling(samples=bins * ratio)(features, boxes), expected)


def test_a_box_around_a_location_is_its_feature():
    features = clips(1, 1, 4, 5, 6)
    # The center of row 1 and column 3, with next to no area.
    x, y = 3.5 / 5, 1.5 / 4
    boxes = np.array([x - 1e-6, y - 1e-6, x + 1e-6, y + 1e-6])
    pooled = RegionPooling()(features, boxes.reshape(1, 1, 1, 4))
    assert_close(pooled, features[0, :, 1, 3], tolerance=1e-4)


@pytest.mark.parametrize("samples", [20, 40])
def test_the_whole_frame_is_average_pooling(samples):
    """Where the samples are a multiple of both height and width."""
    features = clips(2, 3, 4, 5, 6)
    boxes = np.broadcast_to(WHOLE_FRAME, (2, 3, 1, 4))
    pooled = RegionPooling(samples)(features, boxes)
    assert_close(pooled, features.mean(axis=(1, 2, 3)))


def test_every_box_counts_the_same_whatever_its_size_and_step():
    features = clips(1, 2, 4, 5, 6)
    boxes = random_boxes(1, 2, 2)
    boxes[0, 1, 1] = 0.0
    alone = []
    for t, k in [(0, 0), (0, 1), (1, 0)]:
        single = np.zeros_like(boxes)
        single[0, t, k] = boxes[0, t, k]
        alone.append(to_numpy(RegionPooling()(features, single)))
    assert_close(RegionPooling()(features, boxes), np.mean(alone, axis=0))


def test_missing_boxes_change_nothing():
    features, boxes = clips(2, 3, 4, 5, 6), random_boxes(2, 3, 2)
    backwards = boxes[..., [2, 3, 0, 1]]
    outside = boxes + 1.0
    one_nan = np.where(np.arange(4) == 1, np.nan, boxes)
    # Of one axis alone: without a width or a height, or backwards.
    lines = [boxes[..., [0, 1, 0, 3]], boxes[..., [0, 1, 2, 1]]]
    others = random_boxes(2, 3, 2, seed=1)
    turned = [others[..., [2, 1, 0, 3]], others[..., [0, 3, 2, 1]]]
    expected = RegionPooling()(features, boxes)
    for missing in (
        *(0 * boxes, np.nan * boxes, backwards, outside, one_nan),
        *(*lines, *turned),
    ):
        more = np.concatenate([missing, boxes], axis=2).astype("float32")
        assert_close(RegionPooling()(features, more), expected)


def test_no_box_is_average_pooling():
    features = clips(2, 3, 4, 5, 6)
    for boxes in (np.zeros((2, 3, 4, 4)), np.zeros((2, 3, 0, 4))):
        pooled = RegionPooling()(features, boxes)
        assert_close(pooled, features.mean(axis=(1, 2, 3)))


def test_what_lies_outside_the_frame_is_cut_off():
    features = clips(1, 1, 4, 5, 6)
    large = np.array([-0.5, 0.25, 0.5, np.inf]).reshape(1, 1, 1, 4)
    cut = np.array([0.0, 0.25, 0.5, 1.0]).reshape(1, 1, 1, 4)
    assert_close(
        RegionPooling()(features, large), RegionPooling()(features, cut)
    )


def test_padding_changes_nothing_and_is_no_part_of_the_frame():
    features, boxes = clips(1, 3, 4, 5, 6), random_boxes(1, 3, 2)
    larger, other_boxes = clips(1, 5, 7, 6, 6, seed=1), random_boxes(1, 5, 2)
    expected = np.concatenate(
        [
            to_numpy(RegionPooling()(features, boxes)),
            to_numpy(RegionPooling()(larger, other_boxes)),
        ]
    )
    pad = ((0, 0), (0, 2), (0, 3), (0, 1))
    mask = np.pad(np.ones((1, 3, 4, 5), "bool"), pad)
    mask = np.concatenate([mask, np.ones((1, 5, 7, 6), "bool")])
    features = np.pad(features, (*pad, (0, 0)), constant_values=np.nan)
    features = np.concatenate([features, larger])
    for value in (0.0, 0.5, np.nan):
        padded = np.pad(
            boxes, (*pad[:2], (0, 0), (0, 0)), constant_values=value
        )
        padded = np.concatenate([padded, other_boxes])
        assert_close(RegionPooling()(features, padded, mask=mask), expected)


def test_the_shape_is_known_before():
    pooled = RegionPooling()(keras.Input((3, 4, 5, 6)), keras.Input((3, 2, 4)))
    assert pooled.shape == (None, 6)


def test_boxes_of_masked_steps_do_not_count():
    features, boxes = clips(1, 3, 4, 5, 6), random_boxes(1, 3, 2)
    mask = np.array([[True, False, True]])
    kept = boxes * mask[..., None, None]
    pooled = RegionPooling()(features, boxes, mask=mask)
    assert_close(pooled, RegionPooling()(features, kept))


def test_coordinates_stay_float32_under_a_half_policy():
    # In bfloat16 both of these are 0.5: no box, and the average of all.
    boxes = np.array([0.4999, 0.4999, 0.5001, 0.5001], "float32")
    features = np.zeros((1, 1, 3, 3, 1), "float32")
    features[0, 0, 1, 1] = 1.0
    pooled = RegionPooling(dtype="mixed_bfloat16")(
        features, boxes.reshape(1, 1, 1, 4)
    )
    assert keras.backend.standardize_dtype(pooled.dtype) == "bfloat16"
    assert to_numpy(pooled)[0, 0] > 0.99


@pytest.mark.parametrize("samples", [0, -1, float("nan")])
def test_rejects_samples_below_one(samples):
    with pytest.raises(ValueError, match=f"`samples` must .*samples={samples}"):
        RegionPooling(samples)


@pytest.mark.parametrize(
    "shape", [(2, 3, 5), (2, 3, 4), (2, 2, 1, 4), (1, 3, 1, 4), (2, 3, 1, 5)]
)
def test_rejects_boxes_of_another_shape(shape):
    features = clips(2, 3, 4, 5, 6)
    match = r"`boxes` must have the shape .* Received: boxes.shape=\(\d"
    with pytest.raises(ValueError, match=match):
        RegionPooling()(features, np.zeros(shape))
    layer = RegionPooling()
    layer(features, np.zeros((2, 3, 1, 4)))
    with pytest.raises(ValueError, match=match):
        layer(features, np.zeros(shape))


def test_rejects_what_is_no_feature_map():
    with pytest.raises(ValueError, match="expected ndim=5, found ndim=4"):
        RegionPooling()(clips(2, 3, 4, 6), np.zeros((2, 3, 1, 4)))
