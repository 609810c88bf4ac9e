import pathlib

import numpy as np
import pytest

from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from tests.described import describe
from tests.harness import run_example
from tests.lossless import write_lossless

pytest.importorskip("av")
pytest.importorskip("cv2")
pytest.importorskip("ai_edge_litert")

ROOT = pathlib.Path(__file__).parents[1]
SIZE = (64, 96)
PLACES = {"left": (20, 30), "right": (70, 30)}  # x, y of who is seen


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Like MoveNet: finds a body of 8 x 16 pixels around a bright spot."""
    import tensorflow as tf

    side = 32
    rng = np.random.default_rng(0)
    offsets = rng.uniform(-1, 1, (17, 2)) * (8, 4) / SIZE[0]

    def find(image):
        light = tf.reshape(tf.reduce_sum(tf.cast(image, tf.float32), -1), [-1])
        brightest = tf.cast(tf.argmax(light), tf.float32)
        row = tf.floor(brightest / side)
        center = tf.stack([row, brightest - side * row]) + 0.5
        score = tf.cast(tf.reduce_max(light) > 450, tf.float32)
        keypoints = tf.concat(
            [center / side + offsets, tf.fill((17, 1), score)], axis=-1
        )
        return keypoints[tf.newaxis, tf.newaxis]

    function = tf.function(
        find, input_signature=[tf.TensorSpec((1, side, side, 3), tf.uint8)]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()]
    )
    path = tmp_path_factory.mktemp("network") / "spots.tflite"
    path.write_bytes(converter.convert())
    return path


def write_video(path, place, num_frames=8):
    image = np.full((*SIZE, 3), 30, np.uint8)
    if place is not None:
        x, y = place
        image[y - 4 : y + 5, x - 4 : x + 5] = 230
    write_lossless(path, np.repeat(image[None], num_frames, axis=0))


@pytest.fixture
def folder(tmp_path):
    lines = ["clip,file,label,split,conjugates"]
    with FeatureStoreWriter(tmp_path / "features", describe()) as writer:
        for name in ("left", "right", "nobody", "gone"):
            lines.append(f"{name},{name}.mp4,run,train,")
            writer.add(
                name,
                np.zeros((2, 4, 6, 5)),
                label="run",
                split="train",
                frame_rate=8.0,
                frames=8,
            )
            if name != "gone":
                write_video(tmp_path / f"{name}.mp4", PLACES.get(name))
    lines.append("other,other.mp4,run,train,")  # without features
    (tmp_path / "index.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def run(folder, *flags):
    return run_example(
        "extract_pose_masks.py",
        f"--features={folder / 'features'}",
        f"--index={folder / 'index.csv'}",
        f"--masks={folder / 'masks'}",
        f"--boxes={folder / 'boxes'}",
        *flags,
        cwd=folder,
    )


def test_masks_and_boxes(folder, network):
    result = run(folder, f"--model={network}", "--num_boxes=3")
    assert result.returncode == 0, result.stderr
    assert "3 of 4 clips are stored" in result.stdout
    assert "failed: gone: " in result.stdout
    assert "1 clips of " in result.stdout and "no features" in result.stdout
    assert "Somebody was found in 66.7% of the steps" in result.stdout
    with (
        FeatureStore(folder / "masks") as masks,
        FeatureStore(folder / "boxes") as boxes,
    ):
        assert sorted(masks) == sorted(boxes) == ["left", "nobody", "right"]
        for name, (x, y) in PLACES.items():
            mask, box = masks[name], boxes[name]
            assert mask.shape == (2, 4, 6, 1) and box.shape == (2, 1, 3, 4)
            assert mask[:, y // 16, x // 16].all()
            far = x // 16 < 3
            assert not mask[:, :, 3:].any() if far else not mask[:, :, :3].any()
            x1, y1, x2, y2 = (box[:, 0, 0] * (*SIZE[::-1], *SIZE[::-1])).T
            assert (x1 < x).all() and (x < x2).all() and (x2 - x1 < 32).all()
            assert (y1 < y).all() and (y < y2).all() and (y2 - y1 < 40).all()
            assert not box[:, 0, 1:].any()
        assert not masks["nobody"].any() and not boxes["nobody"].any()

    # Goes on where it stopped, and only there.
    write_video(folder / "gone.mp4", None)
    (folder / "left.mp4").unlink()
    result = run(folder, f"--model={network}", "--num_boxes=3")
    assert result.returncode == 0, result.stderr
    assert "4 of 4 clips are stored" in result.stdout
    # Masks made in another way are not mixed with these.
    result = run(folder, f"--model={network}", "--person_score=0.9")
    assert result.returncode == 1
    assert "masks" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--model=missing.tflite"], "no pose network at"),
        (["--model=index.csv"], "not a LiteRT model"),
        (["--zooms=0.5"], "must be numbers from 1 to 16"),
        ([], "--model"),
    ],
)
def test_what_is_wrong_is_told(folder, flags, words):
    result = run(folder, *flags)
    assert result.returncode == 1
    assert words in result.stderr
    assert not (folder / "masks").exists()
