"""Ctrl-C at several moments of each command, which then is run again.

A moment is one of a command's looks at its files: the same ones each time.
"""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from actx_tf import data
from actx_tf.backbones import make_backbone
from actx_tf.data.annotations import look_through
from actx_tf.models import ActX
from tests.harness import PROCESSES
from tests.harness import run_fresh
from tests.harness import run_interrupted
from tests.lossless import write_lossless
from tests.test_kills import assert_same_store

CLASSES = ("jump", "none", "run")
STORED = "--features=features --index=pairs.csv"
TRAINING = "--background=none --backbone=backbone.keras"
# Name: what it is given beside --output, and what it writes there.
COMMANDS = {
    "index": ("--root=videos", "index.csv"),
    "extract": ("--index=index.csv --backbone=backbone.keras", "features"),
    "mine": (
        "--background=none --features=features --index=index.csv",
        "pairs.csv",
    ),
    "similarities": (f"--background=none {STORED}", "similarities"),
    "train": (
        f"{STORED} --background=none --epochs=2 --seeds=1 --batch_size=2",
        "runs",
    ),
    "fine-tune": (
        "--index=pairs.csv --background=none --backbone=backbone.keras "
        "--epochs=2 --crop_frames=4",
        "tuned",
    ),
    "evaluate": (f"{STORED} --model=actx.keras", "scores.csv"),
    "predict": (
        "videos --model=actx.keras --backbone=backbone.keras",
        "scores.csv",
    ),
    "view": (f"{STORED} --model=actx.keras", "clips.html"),
    "localize": (f"{STORED} --model=actx.keras --boxes=boxes.json", "maps.csv"),
    "export": ("--model=actx.keras", "models"),
    "fit": (f"videos {TRAINING} --epochs=2", "mine"),
}
TRAIN = {"train", "fine-tune", "fit"}
GO_ON = {"extract", "similarities", "train", "fine-tune", "predict", "fit"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder of all that a command takes."""
    folder = tmp_path_factory.mktemp("world")
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    for label in CLASSES:
        (folder / "videos" / label).mkdir(parents=True)
        for number in range(3):
            video = random.integers(0, 256, (8, 32, 32, 3), np.uint8)
            write_lossless(folder / "videos" / label / f"{number}.mp4", video)
    network = keras.Sequential(
        [keras.Input((None, 32, 32, 3)), keras.layers.Conv3D(4, (2, 8, 8), 8)]
    )
    backbone = make_backbone(network, frame_rate=8.0, value_range=(-1, 1))
    backbone.save(folder / "backbone.keras")
    clips, _ = look_through(folder / "videos")
    data.write_clip_index(folder / "index.csv", clips)
    data.extract_features(clips, backbone, folder / "features", progress=False)
    with data.FeatureStore(folder / "features") as store:
        embeddings = data.mean_embeddings(store)
    pairs, _ = data.nearest_negatives(clips, embeddings, background="none")
    data.write_clip_index(folder / "pairs.csv", pairs)
    model = ActX(
        len(CLASSES),
        class_names=CLASSES,
        description=backbone.description,
    )
    model.build((None, None, None, None, 4))
    model.save(folder / "actx.keras")
    tube = {"start": 1, "end": 8, "boxes_xywh": [[0, 0, 16, 16]] * 8}
    boxes = {clip.clip: [tube] for clip in clips if clip.label != "none"}
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return folder


def run(moment, name, output, world):
    """Returns the exit code, what is said, and the number of looks."""
    given, written = COMMANDS[name]
    flags = [name, *given.split(), f"--output={output / written}"]
    # Elsewhere, for looks at these are not counted.
    files = [world.with_suffix(f".{kind}") for kind in ("out", "err", "looks")]
    arguments = (moment, flags, world, files[:2], files[2])
    process = PROCESSES.Process(target=run_interrupted, args=arguments)
    process.start()
    process.join(300)
    _, error, looks = (file.read_text("utf-8") for file in files)
    assert "Traceback" not in error, error
    return process.exitcode, error, int(looks)


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_and_again(name, world):
    expected = world / f"{name}-expected"
    expected.mkdir()
    code, error, looks = run(0, name, expected, world)
    assert code == 0, error
    output = world / f"{name}-interrupted"
    output.mkdir()
    after = "go on where it stopped" if name in GO_ON else "begin again"
    # The second one finds less to do; test_kills.py takes time for training.
    for share in (0.6,) if name in TRAIN else (0.6, 0.3):
        code, error, _ = run(int(share * looks), name, output, world)
        assert code == 130, error
        assert error.splitlines()[-1] == (
            f"actx {name}: interrupted: run the same command again to {after}"
        )
        drafts = [p for p in output.rglob("*") if ".tmp" in p.name]
        assert not drafts
    code, error, _ = run(0, name, output, world)
    assert code == 0, error
    assert_same(output, expected)


def assert_same(output, expected):
    """Holds what two commands wrote against each other."""
    names = [
        {path.relative_to(folder) for path in folder.rglob("*")}
        for folder in (output, expected)
    ]
    # The logs of TensorBoard are named after the time.
    assert {n for n in names[0] ^ names[1] if "tfevents" not in n.name} <= {
        n for n in names[0] ^ names[1] if n.suffix == ".h5"
    }
    for name in names[1]:
        path, other = output / name, expected / name
        if name.suffix in (".csv", ".html"):
            assert path.read_bytes() == other.read_bytes()
        elif name.suffix == ".keras":
            models = [keras.saving.load_model(p) for p in (path, other)]
            assert_same_values(*(model.get_weights() for model in models))
        elif name.suffix == ".h5":
            assert_same_store(path.parent, other.parent)
        elif name.name == "saved_model.pb":
            clip = tf.constant(np.random.default_rng(0).random((1, 2, 4, 4, 4)))
            assert_same_values(
                *(
                    tf.saved_model.load(str(p.parent))
                    .signatures["unpadded"](tf.cast(clip, tf.float32))
                    .values()
                    for p in (path, other)
                )
            )


def assert_same_values(arrays, others):
    for array, other in zip(arrays, others, strict=True):
        np.testing.assert_array_equal(array, other)


def test_ctrl_c_where_a_library_makes_something_else_of_it():
    code = """if True:
    import signal
    import time
    from actx_tf.cli.interruption import interruptible

    def press():
        signal.raise_signal(signal.SIGINT)

    def import_numpy():
        try:
            press()
        except KeyboardInterrupt:
            raise ImportError("you should not try to import numpy") from None

    def build_a_model_of_keras():
        try:
            press()
        except:
            pass
        time.sleep(60)

    class Freed:
        def __del__(self):
            press()

    def free():
        Freed()
        time.sleep(60)

    def swallow_at_the_end():
        try:
            press()
        except KeyboardInterrupt:
            pass

    began = time.monotonic()
    for work in (
        press, import_numpy, build_a_model_of_keras, free, swallow_at_the_end
    ):
        try:
            with interruptible():
                work()
        except KeyboardInterrupt:
            print(work.__name__)
    assert time.monotonic() < began + 50

    # What is put in order after it takes the time that it takes.
    try:
        with interruptible():
            try:
                press()
            finally:
                time.sleep(0.3)
                print("in order")
    except KeyboardInterrupt:
        pass

    # Other errors are what they were, and so is Ctrl-C afterwards.
    try:
        with interruptible():
            raise ValueError
    except ValueError:
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    """
    assert run_fresh(code).splitlines() == [
        "press",
        "import_numpy",
        "build_a_model_of_keras",
        "free",
        "swallow_at_the_end",
        "in order",
    ]
