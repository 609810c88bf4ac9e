"""What it costs to train from a feature store on disk.

    KERAS_BACKEND=tensorflow python -m benchmarks.input_pipeline

Epochs of `fit` of ActX on stored similarities, on the batches of
`make_pair_dataset`, crops of 10 steps from clips of --time x 8 x 11 x 1024 in
float16:

- tensors: an epoch's batches as they were made, all in memory;
- arrays: `make_pair_dataset` on a dictionary of arrays;
- store, warm: on a feature store, which the system holds in its file cache;
- store, cold: the same, dropped from that cache before each epoch.

Medians of epochs that alternate.
"""

import argparse
import os
import pathlib
import tempfile

import keras
import numpy as np

from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import make_pair_dataset
from actx_tf.data.similarities import pair_name
from actx_tf.models import ActX
from benchmarks import train_step
from benchmarks.measuring import median_seconds

NAMES = [str(number) for number in range(train_step.CLASSES)]


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=108)
    parser.add_argument("--time", type=int, default=20)
    parser.add_argument("--batch", type=int, default=36)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args(argv)
    clips = [
        Clip(str(i), "", NAMES[i % len(NAMES)], "train", (str(i - 1),))
        for i in range(arguments.clips)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "features"
        write_store(path, clips, arguments.time)
        measure(path, clips, arguments)


def measure(path, clips, arguments):
    with FeatureStore(path) as store:
        arrays = dict(store)
    shape = (arguments.time, train_step.HEIGHT, train_step.WIDTH, 1)
    similarities = {
        pair_name(clip.clip, clip.conjugates[0]): np.ones(shape, "float32")
        for clip in clips
    }

    def batches(features):
        return make_pair_dataset(
            features,
            clips,
            NAMES,
            batch_size=arguments.batch,
            similarities=similarities,
        )

    def fit_from_store():
        with FeatureStore(path) as store:
            fit(model, batches(store))

    def drop_and_fit():
        for file in path.iterdir():
            drop_from_file_cache(file)
        fit_from_store()

    model = ActX(train_step.CLASSES, **train_step.SETTINGS)
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    in_memory = batches(arrays).cache()
    fit(model, in_memory)  # fills it
    runs = {
        "tensors": lambda: fit(model, in_memory),
        "arrays": lambda: fit(model, batches(arrays)),
        "store, warm": fit_from_store,
        "store, cold": drop_and_fit,
    }
    seconds = median_seconds(runs, arguments.repeats, patience=30)
    size = sum(file.stat().st_size for file in path.iterdir())
    print(
        f"{keras.backend.backend()}, {arguments.clips} pairs in batches of "
        f"{arguments.batch}, {size / 2**20:.0f} MiB"
    )
    print(f"{'':15}   s an epoch  / tensors")
    for name, time in seconds.items():
        print(f"{name:15}{time:13.3f}{time / seconds['tensors']:11.3f}")


def fit(model, dataset):
    model.fit(dataset, shuffle=False, verbose=0)


def write_store(path, clips, time):
    features = train_step.make_pairs(8, time, with_conjugates=False)[0]
    features = features["features"]
    with FeatureStoreWriter(path, made_by="random") as writer:
        for number, clip in enumerate(clips):
            writer.add(
                clip.clip,
                features[number % len(features)],
                clip.label,
                clip.split,
                frame_rate=25,
                frames=8 * time,
            )


def drop_from_file_cache(path):
    """Makes the system read the file from the disk the next time.

    Nothing may hold it open: pages that are mapped would stay.
    """
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
