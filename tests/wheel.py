"""Builds the wheel and the source archive, and uses them as a user would.

    python tests/wheel.py [--versions=lowest] [--dist=FOLDER] [--keep=FOLDER]

Looks for the data files in both, installs the wheel into an empty environment
outside of the source tree, with no compiler at hand, and there imports the
package, trains, exports and asks the SavedModel, and asks the command for its
help. Then installs what the README tells users of videos to, and goes from a
folder of videos to a page, a model and predictions with `actx` alone.
`--versions=lowest` installs the lowest versions that setup.py allows, of the
core, and ends before the videos. `--dist` names a folder of the two, built
already.
"""

import argparse
import csv
import email
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IN_WHEEL = (
    "actx_tf/cli/start.py",
    "actx_tf/data/synthetic_backbone.npz",
    "actx_tf/py.typed",
    "actx_tf/visualization/whole_page.html",
    "actx_tf/visualization/page.css",
    "actx_tf/visualization/page.js",
    "actx_tf/export/saved_model.py",
)
IN_SOURCES = (
    *IN_WHEEL,
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "setup.py",
)

SMOKE = """if True:
    import pathlib
    import sys
    import keras
    import numpy as np
    import tensorflow as tf
    import actx_tf
    from actx_tf.data import FeatureStore, FeatureStoreWriter, synthetic

    assert "site-packages" in actx_tf.__file__, actx_tf.__file__
    folder = pathlib.Path(sys.argv[1])
    clips = synthetic.make_part("train", 8)
    backbone = synthetic.backbone()
    maps, conjugates = map(backbone.predict, (clips.videos, clips.conjugates))
    made_by = backbone.description
    with FeatureStoreWriter(folder / "features", made_by) as writer:
        writer.add("a", maps[0], "run", "train", 25.0, 16)
    with FeatureStore(folder / "features") as store:
        store.check()

    model = actx_tf.models.ActX(len(synthetic.CLASS_NAMES))
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    pairs = {"features": maps, "conjugate": conjugates}
    losses = model.fit(pairs, clips.labels, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0], losses

    path = actx_tf.export.export_saved_model(model, folder / "model")
    answer = tf.saved_model.load(str(path)).signatures["unpadded"]
    expected = keras.ops.softmax(model(maps)["logits"])
    np.testing.assert_allclose(
        answer(tf.constant(maps))["scores"], expected, atol=1e-5
    )
    model.save(folder / "actx.keras")
    again = keras.saving.load_model(folder / "actx.keras")
    np.testing.assert_allclose(
        again(maps)["logits"], model(maps)["logits"], atol=1e-5
    )
    print("trained, exported and asked with", keras.__version__, np.__version__)
"""

MAKE_VIDEOS = """if True:
    import json
    import pathlib
    import sys
    import av
    import keras
    import numpy as np
    from actx_tf.backbones import make_backbone

    random = np.random.default_rng(0)
    boxes = {}
    for label in ("jump", "run", "none"):
        folder = pathlib.Path("videos", label)
        folder.mkdir(parents=True)
        for number in range(6):
            frames = random.integers(0, 100, (16, 48, 64, 3), np.uint8)
            for t, frame in enumerate(frames if label != "none" else ()):
                x, y = (8, 2 * t) if label == "jump" else (3 * t, 20)
                frame[y : y + 12, x : x + 12] = 255
                tube = boxes.setdefault(f"{label}_{number}.mp4", [[]])[0]
                tube.append([x, y, 12, 12])
            with av.open(str(folder / f"{number}.mp4"), "w") as container:
                stream = container.add_stream("libx264", 8)
                stream.height, stream.width = frames.shape[1:3]
                stream.pix_fmt = "yuv420p"
                for frame in frames:
                    frame = av.VideoFrame.from_ndarray(frame, format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
    pathlib.Path("videos", "jump", "notes.txt").write_text("no video")
    pathlib.Path("videos", "run", "broken.mp4").write_text("no video either")
    tubes = {
        clip: [{"start": 1, "end": len(tube), "boxes_xywh": tube}]
        for clip, [tube] in boxes.items()
    }
    pathlib.Path("boxes.json").write_text(json.dumps(tubes))
    network = keras.Sequential(
        [
            keras.Input((None, 48, 64, 3)),
            keras.layers.Conv3D(8, (3, 5, 5), (2, 4, 4), activation="relu"),
            keras.layers.Conv3D(16, (1, 3, 3), (1, 2, 2)),
        ]
    )
    backbone = make_backbone(network, frame_rate=8.0, value_range=(-1, 1))
    backbone.save("network.keras")
"""


def run(*command, **kwargs):
    print("$", *map(str, command[:8]), flush=True)
    subprocess.run(list(map(str, command)), check=True, **kwargs)


def build(folder):
    """Builds the wheel and the source archive; returns their folder."""
    environment = folder / "build"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "build")
    run(python, "-m", "build", "--outdir", folder / "dist", ROOT)
    return folder / "dist"


def check_content(wheel, sources):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        readme = email.message_from_bytes(archive.read(metadata)).get_payload()
    assert set(IN_WHEEL) <= set(names), names
    # No compiler was needed, and none is.
    assert wheel.name.endswith("-py3-none-any.whl"), wheel.name
    assert not any(name.startswith(("tests/", "examples/")) for name in names)
    assert readme.strip().startswith("# actx_tf"), readme[:80]
    with tarfile.open(sources) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(IN_SOURCES) <= names, names


def lowest_versions():
    """`>=` of the core's requirements made `==`."""
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    core = re.search(r"install_requires=\[(.*?)\]", text, re.DOTALL)[1]
    return [bound.replace(">=", "==") for bound in re.findall('"(.+?)"', core)]


def from_videos_to_a_model(actx, python, folder, environment):
    """Uses `actx` alone, on a folder of videos that it makes."""

    def said(*arguments, code=0, leaves=()):
        """Runs it; returns what it prints, or where it fails, its error."""
        print("$ actx", *arguments, flush=True)
        result = subprocess.run(
            [actx, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        words = result.stdout + result.stderr
        assert result.returncode == code and "Traceback" not in words, words
        for path in leaves:
            assert (folder / path).stat().st_size, path
        return result.stderr if code else result.stdout

    folder.mkdir()
    run(python, "-c", MAKE_VIDEOS, cwd=folder, env=environment)
    features, model = "--features=features", "--model=runs/actx.keras"
    index, pairs = "--index=index.csv", "--index=pairs.csv"
    none = "--background=none"
    network = "--backbone=network.keras"

    words = said("index", "--root=videos", "--output=index.csv")
    assert re.search(r"^clips +14 +2 +3 +1$", words, re.MULTILINE), words
    words = said("extract", index, network, "--output=features")
    assert "18 of 19 clips" in words and "failed: run_broken.mp4" in words
    words = said("mine", none, features, index, "--output=pairs.csv")
    assert re.search(r"^[89] clips have 2[47] conjugates\b", words, re.M), words
    said("similarities", features, pairs, none, "--output=similarities")
    said(
        *("train", features, pairs, none, network, "--epochs=1", "--seeds=1"),
        *("--similarities=similarities", "--batch_size=4", "--output=runs"),
        leaves=[
            "runs/actx.keras",
            "runs/results.csv",
            "runs/model_card.md",
            "runs/attention.png",
        ],
    )
    words = said("evaluate", features, pairs, model, "--output=test.csv")
    assert "accuracy" in words and len(table(folder / "test.csv")) == 3
    said("view", features, pairs, model, "--output=clips.html")
    assert "jump" in (folder / "clips.html").read_text(encoding="utf-8")
    words = said("localize", features, index, model, "--boxes=boxes.json")
    assert "1 - C" in words, words

    served = "--model=runs/saved_model"
    maps = [f"maps/maps.{kind}" for kind in ("png", "gif", "mp4")]
    said("predict", "videos/run/0.mp4", served, "--maps=maps", leaves=maps)
    words = said("predict", "videos", served, "--output=scores.csv")
    assert "scores: 18 of 19" in words and "broken.mp4" in words, words
    assert len(table(folder / "scores.csv")) == 18
    said(
        *("export", model, network, "--output=served"),
        leaves=["served/1/saved_model.pb"],
    )
    said(
        *("export", model, "--format=litert", "--output=model.tflite"),
        leaves=["model.tflite"],
    )
    words = said("export", model, "--format=onnx", "--output=a.onnx", code=1)
    assert "pip install" in words and words.count("\n") == 1, words
    words = said("ask", "videos/run/0.mp4", "--name=jump", code=1)
    assert words.count("\n") == 1, words

    # All of it in one line; again, nothing is made anew.
    fit = ("fit", "videos", none, network, "--epochs=1", "--output=mine")
    words = said(*fit, leaves=["mine/clips.html", "mine/actx.keras"])
    written = times(folder / "mine")
    assert said(*fit).split("\n\n")[-1] == words.split("\n\n")[-1]
    assert times(folder / "mine") == written
    said("predict", "videos/run/0.mp4", "--model=mine/saved_model")


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def times(folder):
    """When each file was written."""
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--versions", choices=("latest", "lowest"))
    parser.add_argument("--dist", type=Path, help="folder of what was built")
    parser.add_argument("--keep", type=Path, help="folder to build in")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        built = (arguments.dist or build(folder)).absolute()
        (wheel,) = built.glob("*.whl")
        (sources,) = built.glob("*.tar.gz")
        check_content(wheel, sources)
        venv.create(folder / "installed", with_pip=True)
        python = folder / "installed" / "bin" / "python"
        chosen = lowest_versions() if arguments.versions == "lowest" else []
        run(python, "-m", "pip", "install", "-q", wheel, *chosen)
        run(python, "-m", "pip", "check")
        environment = {
            key: value
            for key, value in os.environ.items()
            if key != "PYTHONPATH"
        }
        actx = python.with_name("actx")
        run(actx, "train", "--help", cwd=folder)
        run(
            *(python, "-c", SMOKE, folder),
            cwd=folder,
            env={**environment, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
        if arguments.versions != "lowest":
            extras = f"{wheel}[video,mining]"
            run(python, "-m", "pip", "install", "-q", extras)
            run(python, "-m", "pip", "check")
            from_videos_to_a_model(actx, python, folder / "work", environment)
    print(
        f"{wheel.name} and {sources.name} are good on {sys.version.split()[0]}"
    )


if __name__ == "__main__":
    main()
