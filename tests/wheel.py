"""Builds the wheel and the source archive, and uses them as a user would.

    python tests/wheel.py [--versions=lowest] [--keep=FOLDER]

Looks for the data files in both, installs the wheel into an empty environment
outside of the source tree, with no compiler at hand, and there imports the
package, trains, exports and asks the SavedModel, and asks the command for its
help. `--versions=lowest` installs
the lowest versions that setup.py allows, of the core.
"""

import argparse
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
    "actx_tf/cli/main.py",
    "actx_tf/data/synthetic_backbone.npz",
    "actx_tf/py.typed",
    "actx_tf/visualization/page.html",
    "actx_tf/visualization/page.css",
    "actx_tf/visualization/page.js",
    "actx_tf/export/saved_model.py",
)
IN_SOURCES = (*IN_WHEEL, "README.md", "LICENSE", "setup.py", "pyproject.toml")

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


def run(*command, **kwargs):
    print("$", *map(str, command[:8]), flush=True)
    subprocess.run(list(map(str, command)), check=True, **kwargs)


def build(folder):
    """Returns the paths of the wheel and of the source archive."""
    environment = folder / "build"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "build")
    run(python, "-m", "build", "--outdir", folder / "dist", ROOT)
    (wheel,) = (folder / "dist").glob("*.whl")
    (sources,) = (folder / "dist").glob("*.tar.gz")
    return wheel, sources


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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--versions", choices=("latest", "lowest"))
    parser.add_argument("--keep", type=Path, help="folder to build in")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        wheel, sources = build(folder)
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
        run(python.with_name("actx"), "train", "--help", cwd=folder)
        run(
            *(python, "-c", SMOKE, folder),
            cwd=folder,
            env={**environment, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
    print(
        f"{wheel.name} and {sources.name} are good on {sys.version.split()[0]}"
    )


if __name__ == "__main__":
    main()
