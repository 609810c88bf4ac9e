"""What stored similarities and bfloat16 cost in accuracy.

    python -m benchmarks.accuracy

Trains ActX by `actx train` on the features of the built-in set, in a
feature store, with random crops of 3 of the 4 steps. Stored similarities are
those of whole clips, cut out with them; exact ones are of the two crops.
"""

import argparse
import csv
import statistics
import subprocess
import tempfile

from actx_tf.data import Clip
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import synthetic
from actx_tf.data import write_clip_index
from benchmarks.commands import run_actx

RUNS = {
    "exact, float32": [],
    "exact, bfloat16": ["--dtype_policy=mixed_bfloat16"],
    "stored, float32": ["--similarities={folder}/similarities"],
    "stored, bfloat16": [
        "--similarities={folder}/similarities",
        "--dtype_policy=mixed_bfloat16",
    ],
}
COLUMNS = ("accuracy", "mAP")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--train_clips", type=int, default=2400)
    parser.add_argument("--test_clips", type=int, default=400)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_store(folder, arguments.train_clips, arguments.test_clips)
        store = [f"--features={folder}/features", f"--index={folder}/i.csv"]
        run_actx(
            "similarities",
            *store,
            f"--output={folder}/similarities",
            stdout=subprocess.DEVNULL,
        )
        print(f"{'':20}" + "".join(f"{column:>20}" for column in COLUMNS))
        for name, flags in RUNS.items():
            run_actx(
                "train",
                *store,
                *(flag.format(folder=folder) for flag in flags),
                "--crop_steps=3",
                f"--seeds={arguments.seeds}",
                f"--epochs={arguments.epochs}",
                f"--output={folder}/{name}",
                stdout=subprocess.DEVNULL,
            )
            results = f"{folder}/{name}/results.csv"
            with open(results, encoding="utf-8") as file:
                rows = [
                    r for r in csv.DictReader(file) if r["method"] == "ActX"
                ]
            cells = [
                cell([float(r[column]) for r in rows]) for column in COLUMNS
            ]
            print(f"{name:20}{''.join(cells)}", flush=True)


def cell(values):
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):12.3f} ± {spread:.3f}"


def write_store(folder, train_clips, test_clips):
    """Writes `features`, and `i.csv`, its index."""
    backbone = synthetic.backbone()
    index = []
    with FeatureStoreWriter(
        f"{folder}/features", backbone.description
    ) as writer:

        def add(clip, features):
            index.append(clip)
            writer.add(
                clip.clip,
                features,
                clip.label,
                clip.split,
                frame_rate=25,
                frames=synthetic.NUM_FRAMES,
            )

        for split in ("train", "validation", "test"):
            size = train_clips if split == "train" else test_clips
            clips = synthetic.make_part(split, size)
            features = backbone.predict(clips.videos, verbose=0)
            conjugates = backbone.predict(clips.conjugates, verbose=0)
            for i, label in enumerate(clips.labels):
                name, other = f"{split}{i}", f"{split}{i}_conjugate"
                label = synthetic.CLASS_NAMES[label]
                add(Clip(name, "none", label, split, (other,)), features[i])
                add(Clip(other, "none", label, "conjugate"), conjugates[i])
    write_clip_index(f"{folder}/i.csv", index)


if __name__ == "__main__":
    main()
