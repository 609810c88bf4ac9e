import pathlib

import numpy as np
import pytest

from actx_tf.data import pose
from actx_tf.data import read_clip

pytest.importorskip("cv2")
pytest.importorskip("ai_edge_litert")

DATA = pathlib.Path(__file__).parents[1].parent / "shared" / "data"
NETWORK = DATA / "pretrained_nets" / "movenet_single_pose_lightning_ptq.tflite"
needs_network = pytest.mark.skipif(
    not NETWORK.exists(),
    reason="needs shared/data: pretrained_nets, kth_2clips",
)
FRAME = np.zeros((120, 200, 3), "uint8")


def person(x, y, size=20.0, score=0.9):
    """Keypoints of somebody upright, spread over size / 2 x size pixels."""
    rng = np.random.default_rng(0)
    keypoints = np.empty((17, 3))
    keypoints[:, 0] = x + rng.uniform(0, size / 2, 17)
    keypoints[:, 1] = y + np.linspace(0, size, 17)
    keypoints[:, 2] = score
    return keypoints


def sees(*people):
    """A network that finds the best of these people inside of its square."""

    def network(frame, square):
        x, y, side = square
        inside = [
            p
            for p in people
            if (p[:, :2] >= (x, y)).all()
            and (p[:, :2] <= (x + side, y + side)).all()
        ]
        # Far away, people are seen less well.
        inside = [p * (1, 1, min(1, 90 / side)) for p in inside]
        nobody = person(x, y, side, score=0.05)
        return max(inside, key=lambda p: p[0, 2], default=nobody)

    return network


def test_somebody_in_several_tiles_is_found_once():
    somebody = person(70, 30)
    found = pose.find_people(FRAME, sees(somebody))
    np.testing.assert_allclose(found, [somebody])


def test_two_people_are_found_strongest_first():
    weak, strong = person(10, 20, score=0.6), person(150, 70, score=0.8)
    found = pose.find_people(FRAME, sees(weak, strong))
    np.testing.assert_allclose(found, [strong, weak])


def test_small_people_take_a_higher_zoom():
    two = person(60, 40, score=0.7), person(95, 40, score=0.8)
    # In the same tile the network sees the stronger one alone.
    assert len(pose.find_people(FRAME, sees(*two), zooms=(1,))) == 1
    assert len(pose.find_people(FRAME, sees(*two), zooms=(1, 4))) == 2


def test_nobody_is_found():
    assert pose.find_people(FRAME, sees()).shape == (0, 17, 3)
    unsure = person(70, 30, score=0.3)
    assert len(pose.find_people(FRAME, sees(unsure))) == 0
    assert len(pose.find_people(FRAME, sees(unsure), person_score=0.2)) == 1


def test_the_whole_frame_is_looked_at():
    seen = np.zeros(FRAME.shape[:2], int)

    def network(frame, square):
        x, y, side = square
        seen[max(y, 0) : y + side, max(x, 0) : x + side] += 1
        return person(x, y, side, score=0.0)

    pose.find_people(FRAME, network, zooms=(2, 3))
    assert seen.min() >= 3  # the frame itself, and a tile of each zoom


def keypoints(**points):
    """Keypoints of one person, by their number: `k5=(x, y)`."""
    one = np.zeros((17, 3))
    for name, point in points.items():
        one[int(name[1:])] = (*point, 1.0)
    return one


def test_mask_holds_keypoints_and_limbs():
    # Voxels of 10 x 10 pixels; 5 to 7 is an upper arm, 0 to 16 no limb.
    people = [keypoints(k5=(5, 15), k7=(35, 15), k0=(25, 39), k16=(39, 0))]
    mask = pose.pose_mask(people, (40, 50), (4, 5))
    expected = np.zeros((4, 5), bool)
    expected[1, 0:4] = expected[3, 2] = expected[0, 3] = True
    np.testing.assert_array_equal(mask, expected)


def test_mask_of_what_is_not_seen():
    unseen = keypoints(k5=(5, 15), k7=(35, 15))
    unseen[5, 2] = 0.1
    mask = pose.pose_mask([unseen], (40, 50), (4, 5))
    assert np.argwhere(mask).tolist() == [[1, 3]]
    outside = keypoints(k0=(-3, 15), k3=(50, 15), k4=(10, 40))
    assert not pose.pose_mask([outside], (40, 50), (4, 5)).any()
    assert not pose.pose_mask([], (40, 50), (4, 5)).any()


def test_boxes():
    weak = keypoints(**{f"k{i}": (20 + 2 * i, 10 + i) for i in range(11)})
    weak[:, 2] *= 0.5
    strong = keypoints(**{f"k{i}": (170, 10 * i) for i in range(11)})
    # The same person in the next frame.
    again = strong + (2, 0, 0) - (0, 0, 0.1)
    boxes = pose.person_boxes([weak, strong, again], (100, 200), 3)
    assert boxes.dtype == np.float32
    # A tenth of the longer side, 100, around; clipped to the frame.
    np.testing.assert_allclose(boxes[0], (160 / 200, 0, 180 / 200, 1))
    np.testing.assert_allclose(boxes[1], (0.09, 0.08, 0.21, 0.22), rtol=1e-5)
    assert not boxes[2].any()
    first = pose.person_boxes([weak, strong, again], (100, 200), 1)
    np.testing.assert_array_equal(first, boxes[:1])
    assert not pose.person_boxes([], (100, 200), 2).any()


def test_wrong_network(tmp_path):
    with pytest.raises(FileNotFoundError, match="no pose network at"):
        pose.PoseNetwork(tmp_path / "missing.tflite")
    (tmp_path / "text.tflite").write_text("no network " * 100)
    with pytest.raises(ValueError, match="text.tflite: not a LiteRT model"):
        pose.PoseNetwork(tmp_path / "text.tflite")


@needs_network
def test_real_people():
    network = pose.PoseNetwork(NETWORK)
    path = DATA / "kth_2clips" / "person15_handwaving_d1.avi"
    frames, _ = read_clip(path, num_frames=5, start=1.0, end=2.0)
    frame = frames[2]
    height, width = frame.shape[:2]
    (somebody,) = pose.find_people(frame, network)
    # KTH's actors stand before an even background.
    mask = pose.pose_mask([somebody], (height, width), (12, 16))
    moving = np.abs(np.diff(frames.astype(int), axis=0)).max(axis=(0, -1))
    moving = moving > 60
    inside = np.kron(mask, np.ones((height // 12, width // 16))).astype(bool)
    near = np.zeros_like(inside)
    for shift in (-8, 0, 8):
        near |= np.roll(inside, shift, axis=1) | np.roll(inside, shift, axis=0)
    assert near[moving].mean() > 0.7 > 3 * near.mean()

    (mirrored,) = pose.find_people(frame[:, ::-1], network)
    mirrored = pose.pose_mask([mirrored], (height, width), (12, 16))
    both = (mirrored[:, ::-1] & mask).sum() / (mirrored[:, ::-1] | mask).sum()
    assert both > 0.6
