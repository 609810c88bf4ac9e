import numpy as np
import pytest

from actx_tf.data import synthetic


@pytest.fixture(scope="module")
def training():
    return synthetic.make_part("train", 160)


def test_same_arguments_give_the_same_clips(training):
    again = synthetic.make_part("train", 160)
    np.testing.assert_array_equal(again.videos, training.videos)
    np.testing.assert_array_equal(again.conjugates, training.conjugates)


def test_scene_tells_the_class_in_training_only(training):
    test = synthetic.make_part("test", 400)
    assert np.mean(training.scenes == training.labels) > 0.9
    assert np.mean(test.scenes == test.labels) < 0.2
    # No rule from scene to class does better than chance, give or take.
    best = sum(
        np.bincount(test.labels[test.scenes == scene]).max()
        for scene in range(8)
    )
    assert best / len(test.labels) < 0.25


def test_classes_are_equally_frequent(training):
    assert set(np.bincount(training.labels)) == {20}


def test_actor_moves_within_its_mask(training):
    still = synthetic.make_clips(8, num_actors=1, seed=5)
    change = np.abs(np.diff(still.videos.astype(int), axis=1)).max(axis=-1)
    moving = still.actor_masks[:, 1:] ^ still.actor_masks[:, :-1]
    # Where the actor comes or goes, pixels change more than noise does.
    assert np.median(change[moving]) > 2 * np.median(change[~moving])


def test_the_actor_acts_for_a_part_of_the_clip(training):
    # The actor is where a pair differs; only then does it move.
    acts = training.actor_masks.any(axis=(2, 3))
    assert (acts.sum(axis=1) == 9).all()
    assert (np.abs(np.diff(acts.astype(int), axis=1)).sum(axis=1) <= 2).all()
    assert len({tuple(row) for row in acts}) == 8  # it can begin anywhere
    last = 15 - acts[:, ::-1].argmax(axis=1)
    for clip, mask, t in zip(
        training.videos, training.actor_masks, last, strict=True
    ):
        if t < 15:  # what changes after it is noise
            still = clip[t:, mask[t]].astype(float)
            assert np.diff(still, axis=0).std() < 2 * synthetic._NOISE


def test_voxels_lie_where_the_actor_is(training):
    voxels = synthetic.to_voxels(training.actor_masks)
    assert voxels.shape[1:] == synthetic.FEATURE_SIZE
    assert voxels.any(axis=(1, 2, 3)).all()
    inside = np.kron(voxels, np.ones((1, *synthetic.STRIDE))).astype(bool)
    assert training.actor_masks[inside].sum() > 0.8 * training.actor_masks.sum()


def test_no_single_frame_tells_the_class():
    from sklearn.linear_model import LogisticRegression

    clips = synthetic.make_clips(480, seed=9)
    frames = clips.videos[:, 8, ::3, ::3].reshape(480, -1) / 255.0
    classifier = LogisticRegression(C=0.01, max_iter=200)
    classifier.fit(frames[:320], clips.labels[:320])
    assert classifier.score(frames[320:], clips.labels[320:]) < 0.25


def test_backbone_carries_motion_and_scene():
    """Read out by average pooling, on scenes it was not trained on."""
    from sklearn.linear_model import LogisticRegression

    clips = synthetic.make_clips(480, num_actors=5, seed=9)
    features = synthetic.backbone().predict(clips.videos, verbose=0)
    pooled = features.mean(axis=(1, 2, 3))
    for labels in (clips.labels, clips.scenes):
        classifier = LogisticRegression(C=10, max_iter=2000)
        classifier.fit(pooled[:320], labels[:320])
        assert classifier.score(pooled[320:], labels[320:]) > 0.9


def test_backbone_weights_are_small():
    assert synthetic._WEIGHTS.stat().st_size < 1_000_000


def test_unknown_part():
    with pytest.raises(ValueError, match="`part` must be one of"):
        synthetic.make_part("training", 8)


def test_unknown_weights():
    with pytest.raises(ValueError, match="`weights` must be"):
        synthetic.backbone("imagenet")


def test_a_detector_finds_the_actor_among_the_other_things(training):
    assert training.thing_masks[training.actor_masks].all()
    shares = [m.mean() for m in (training.actor_masks, training.thing_masks)]
    # Two of three things, and the actor for a part of the time.
    assert 4 * shares[0] < shares[1] < 10 * shares[0]

    # The union of the boxes is the smallest that holds all things.
    things = training.thing_masks
    drawn = np.zeros_like(things)
    for i, t, k in np.ndindex(training.boxes.shape[:3]):
        x1, y1, x2, y2 = np.rint(training.boxes[i, t, k] * 48).astype(int)
        assert 0 <= x1 < x2 <= 48 and 0 <= y1 < y2 <= 48
        for side in (
            things[i, t, y1:y2, x1],
            things[i, t, y1:y2, x2 - 1],
            things[i, t, y1, x1:x2],
            things[i, t, y2 - 1, x1:x2],
        ):
            assert side.any()
        drawn[i, t, y1:y2, x1:x2] = True
    assert drawn[things].all()


def test_a_step_s_boxes_hold_those_of_its_frames(training):
    frames = training.boxes.reshape(160, 4, 4, 3, 4)
    steps = synthetic.step_boxes(training.boxes)[:, :, None]
    assert (steps[..., :2] == frames[..., :2].min(axis=2, keepdims=True)).all()
    assert (steps[..., 2:] == frames[..., 2:].max(axis=2, keepdims=True)).all()


def test_untrimmed_videos_move_where_their_segments_are():
    videos = list(synthetic.make_untrimmed(8, seed=3))
    again = list(synthetic.make_untrimmed(8, seed=3))
    for video, same in zip(videos, again, strict=True):
        np.testing.assert_array_equal(video.frames, same.frames)
        assert video.segments == same.segments
        assert len(video.segments) == 3
        acts = np.zeros(len(video.frames), bool)
        last = 0.0
        for segment in video.segments:
            # A period, as in the clips, after as long a time of nothing.
            assert segment.label in synthetic.CLASS_NAMES
            begin, end = (
                round(synthetic.FRAME_RATE * x)
                for x in (segment.start, segment.end)
            )
            assert end - begin == 9 and segment.start >= last + 1
            acts[begin:end] = True
            last = segment.end
        assert last + 1 <= len(video.frames) / synthetic.FRAME_RATE
        # Things of the scene move all the time; the actors make it more.
        frames = video.frames.astype(float)
        change = np.square(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
        assert change[acts[1:]].mean() > 1.2 * change[~acts[1:]].mean()
    assert len({x.label for v in videos for x in v.segments}) > 4


def test_untrimmed_videos_that_are_too_short():
    assert len(next(synthetic.make_untrimmed(1, 59)).frames) == 59
    with pytest.raises(ValueError, match="`num_frames` must be 59 or more"):
        next(synthetic.make_untrimmed(1, 58))
