"""Where and when, in untrimmed video: the tables of docs/evidence.md.

    python -m benchmarks.untrimmed --built_in --self_training \\
        --gmdcsa=gmdcsa --output=runs/untrimmed --report=docs/evidence.md

Segments are found in the same windows with ActX, average and max pooling, and
measured by mean average precision at temporal IoU. Each method is trained from
--seeds seeds.

- --built_in: trained on the built-in clips, with conjugates as clips of a class
  "none"; 60 untrimmed videos to choose windows and scores by, 60 to test.
- --self_training: trained on what whole videos show and nothing else; then once
  more with conjugates, stretches that the first model calls nothing.
- --gmdcsa: falls at home, the folder of GMDCSA-24. Features of I3D, trained on
  all subjects but one, whose clips are the test.

The same command goes on after an interruption: features and models in --output
are not made again.
"""

import argparse
import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Callable
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from actx_tf.backbones.description import BackboneDescription
from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import read_segments
from actx_tf.data import synthetic
from actx_tf.data import write_clip_index
from actx_tf.data import write_segments
from actx_tf.data.annotations import read_gmdcsa
from actx_tf.experiments.loading import load_data
from actx_tf.experiments.method_training import train_method
from actx_tf.experiments.run_data import Part
from actx_tf.experiments.run_data import RunData
from actx_tf.experiments.run_data import Task
from actx_tf.experiments.run_data import batches_of_arrays
from actx_tf.export.trained_model import answers
from actx_tf.metrics import mean_average_precision_of_segments
from actx_tf.models import PairedModel
from actx_tf.ops.activations import scores as scores_of
from actx_tf.prediction import Timeline
from actx_tf.prediction.windows import answer_in_windows
from actx_tf.segments import Segment
from actx_tf.settings import DataSettings
from actx_tf.settings import TrainingSettings
from actx_tf.utils.atomic_write import atomic_write
from benchmarks.commands import run_actx
from benchmarks.evidence_tables import put_table

METHODS = ("ActX", "average pooling", "max pooling")
OVERLAPS = tuple(np.arange(1, 8) / 10)
NONE = "none"
_FRAMES = 160  # of an untrimmed video of the built-in set


@dataclasses.dataclass(frozen=True)
class Videos:
    """Untrimmed videos.

    Attributes:
        features: The feature map of each, by its name.
        times: The borders of its steps, in seconds.
        truth: What happens in it.
    """

    features: Mapping[str, np.ndarray]
    times: dict[str, np.ndarray]
    truth: dict[str, list[Segment]]


@dataclasses.dataclass(frozen=True)
class Choice:
    """How segments are found, which is chosen on validation videos."""

    window: int  # steps
    context: str
    contrast: float
    iou: float

    def __str__(self):
        context = ", F_c at its mean" if self.context == "mean" else ""
        return f"{self.window} steps{context}; {self.contrast:g}; {self.iou:g}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--built_in", action="store_true")
    parser.add_argument("--self_training", action="store_true")
    parser.add_argument("--gmdcsa", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    flags = parser.parse_args()
    flags.output.mkdir(parents=True, exist_ok=True)
    tables = {}
    if flags.built_in:
        tables["untrimmed"] = _built_in(flags)
    if flags.self_training:
        tables["self_training"] = _self_training(flags)
    if flags.gmdcsa:
        tables["gmdcsa"] = _gmdcsa(flags)
    for name, rows in tables.items():
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
        print(f"\n{name}\n\n{table}")
        if flags.report:
            put_table(flags.report, name, table)


# Windows and segments


def timelines(model, videos, task, window, context="keep"):
    """What `VideoPredictor.timeline` answers, of features that are there.

    Windows of so many steps overlap by half.
    """
    found = {}
    for name in videos.truth:
        of_steps = answer_in_windows(
            _answers(model, context),
            [np.asarray(videos.features[name], "float32")],
            window,
            max(1, round(window / 2)),
        )
        times = videos.times[name]
        found[name] = Timeline(
            times=times,
            scores=of_steps["scores"],
            class_names=task.class_names,
            background=task.background,
            window=window * float(np.median(np.diff(times))),
            num_frames=0,
            frame_rate=1.0,
        )
    return found


def precision(videos, found, contrast=1.0, iou=0.3):
    """Mean average precision at each of `OVERLAPS`, of the segments found."""
    segments = {
        name: timeline.segments(contrast=contrast, iou=iou)
        for name, timeline in found.items()
    }
    return precision_of(videos, segments)


def precision_of(videos, segments):
    """The same of segments that are known."""
    return mean_average_precision_of_segments(
        videos.truth, segments, OVERLAPS
    ).means


def step_times(
    description: BackboneDescription, steps: int, frames: int, rate: float
) -> np.ndarray:
    """Returns the borders of the steps of a video, in seconds."""
    middles = frames * description.time.centers(steps, frames)
    inner = (middles[1:] + middles[:-1]) / 2
    return np.array([0, *inner, frames]) / rate


def _answers(model, context) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    if isinstance(model, PairedModel):
        model.context = context
        return lambda clips: {"scores": answers(model, clips)["scores"]}

    def of_pooling(clips):
        mask = np.ones(clips.shape[:-1], bool)
        logits = model({"features": clips, "mask": mask})
        scores = scores_of(logits, model.activation)
        return {"scores": ops.convert_to_numpy(scores)}

    return of_pooling


def _choose(method, model, task, videos):
    """The choice of the largest average over videos for validation."""
    figures = {}
    for window, context in itertools.product(
        (1, 2, 3, 4), ("keep", "mean") if method == "ActX" else ("keep",)
    ):
        found = timelines(model, videos, task, window, context)
        for contrast, iou in itertools.product((0.0, 1.0), (0.3, 0.5)):
            choice = Choice(window, context, contrast, iou)
            figures[choice] = precision(videos, found, contrast, iou).mean()
            print(f"{method}, {choice}: {figures[choice]:.3f}", flush=True)
    return max(figures, key=figures.__getitem__)


def _test(models, task, videos, choice):
    """Mean average precision of each model, `(models, overlaps)`."""
    return [
        precision(
            videos,
            timelines(model, videos, task, choice.window, choice.context),
            choice.contrast,
            choice.iou,
        )
        for model in models
    ]


def _row_of(name, choice, figures):
    """A row: means over the seeds, and the deviation of the average."""
    average = _in_words(np.mean(figures, axis=1), 3)
    means = [f"{x:.2f}" for x in np.mean(figures, axis=0)]
    return [name, str(choice), average, *means]


def _in_words(values, digits):
    """The mean, and the deviation if there are several values."""
    text = f"{np.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1):.{digits}f}"
    return text


def _header():
    titles = ["", "windows; contrast; NMS", "average"]
    titles += [f"{x:g}" for x in OVERLAPS]
    return [titles, ["---"] * len(titles)]


def _train(method, data, settings, seed, folder, run):
    """Trains a model, unless it is there already."""
    path = folder / "models" / f"{run}-{seed}.keras"
    if path.exists():
        model = keras.models.load_model(path)
    else:
        print(f"{folder.name}: {run}, seed {seed}", flush=True)
        model, _ = train_method(
            method,
            data,
            settings,
            seed=seed,
            output=folder / "logs",
            run=f"{run}-{seed}",
        )
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as draft:
            model.save(draft)
    if not isinstance(model, PairedModel):
        model.activation = data.task.activation
    return model


def _data(task, inputs, labels, batch_size):
    """Arrays as the data of a run, of which nothing but training is asked."""
    batches = batches_of_arrays(inputs, labels, batch_size)

    def make_training(seed, pairs=True, conjugates=True, **which):
        return batches(shuffle=True, seed=seed, **which)

    nobody = Part((), batches, labels[:0], list)
    return RunData(
        settings=DataSettings(),
        task=task,
        inputs=frozenset(inputs),
        training=[Clip(str(i), "", "", "train") for i in range(len(labels))],
        make_training=make_training,
        whole_training=batches(),
        validation=None,
        test=nobody,
    )


# The built-in set


def _built_in(flags):
    folder = flags.output / "built_in"
    folder.mkdir(exist_ok=True)
    validation, test = (_untrimmed(flags.output, 60, seed) for seed in (1, 2))
    names = (*synthetic.CLASS_NAMES, NONE)
    data = _clips_and_nothing(folder, names)
    settings = TrainingSettings(epochs=flags.epochs, deterministic=False)
    rows = _header()
    for method in METHODS:
        models = [
            _train(method, data, settings, seed, folder, method)
            for seed in range(flags.seeds)
        ]
        choice = _choose(method, models[0], data.task, validation)
        shown = {method: choice}
        if method == "ActX":
            for name, change in (
                ("F_c kept", {"context": "keep"}),
                ("without contrast", {"contrast": 0.0}),
                ("NMS at 0.5", {"iou": 0.5}),
            ):
                shown[f"ActX, {name}"] = dataclasses.replace(choice, **change)
        for name, each in shown.items():
            figures = _test(models, data.task, test, each)
            rows.append(_row_of(name, each, figures))
    return rows


def _untrimmed(folder, count, seed):
    """Videos of the built-in set, whose features are made once."""
    backbone = synthetic.backbone()
    path, truth = (folder / f"untrimmed-{seed}.{x}" for x in ("npy", "json"))
    if not (path.exists() and truth.exists()):
        videos = list(synthetic.make_untrimmed(count, _FRAMES, seed=seed))
        write_segments(
            truth, {f"video{i}": x.segments for i, x in enumerate(videos)}
        )
        with atomic_write(path) as draft, open(draft, "wb") as file:
            frames = (video.frames[np.newaxis] for video in videos)
            maps = [backbone(x.astype("float32"))[0] for x in frames]
            np.save(file, np.stack(maps))
    features = np.load(path, mmap_mode="r")
    times = step_times(
        backbone.description, features.shape[1], _FRAMES, synthetic.FRAME_RATE
    )
    segments = read_segments(truth)
    return Videos(
        dict(zip(segments, features, strict=True)),
        dict.fromkeys(segments, times),
        segments,
    )


def _clips_and_nothing(folder, names):
    """The built-in training clips; their conjugates show nothing."""
    backbone = synthetic.backbone()
    path = folder / "training.npz"
    if not path.exists():
        clips = synthetic.make_part("train", 2400)
        acting, nothing = (
            backbone.predict(videos, verbose=0)
            for videos in (clips.videos, clips.conjugates)
        )
        with atomic_write(path) as draft, open(draft, "wb") as file:
            np.savez(file, acting=acting, nothing=nothing, labels=clips.labels)
    with np.load(path) as made:
        acting, nothing = made["acting"], made["nothing"]
        labels = made["labels"]
    features = np.concatenate([acting, nothing])
    mask = np.ones(features.shape[:2], bool)
    inputs = {
        "features": features,
        "mask": mask,
        "conjugate": np.concatenate([nothing, np.zeros_like(nothing)]),
        "conjugate_mask": mask & (np.arange(len(mask)) < len(acting))[:, None],
        "has_conjugate": np.arange(len(mask)) < len(acting),
    }
    labels = np.r_[labels, np.full(len(nothing), names.index(NONE))]
    task = Task(
        names,
        features.shape[-1],
        description=backbone.description,
        background=(NONE,),
    )
    return _data(task, inputs, labels.astype("int32"), 36)


# Self-training


def _self_training(flags):
    folder = flags.output / "self_training"
    folder.mkdir(exist_ok=True)
    training = _untrimmed(flags.output, 200, 0)
    validation, test = (_untrimmed(flags.output, 60, seed) for seed in (1, 2))
    names = synthetic.CLASS_NAMES
    description = synthetic.backbone().description
    task = Task(names, description.channels, "sigmoid", description)
    features = np.stack([training.features[name] for name in training.truth])
    labels = np.array(
        [
            [label in {x.label for x in segments} for label in names]
            for segments in training.truth.values()
        ],
        "float32",
    )
    weak = {"features": features, "mask": np.ones(features.shape[:2], bool)}
    settings = TrainingSettings(epochs=20, deterministic=False)
    rows = _header()

    def train(method, seed, run, nothing=None):
        inputs = weak | (_conjugates(training, nothing) if nothing else {})
        data = _data(task, inputs, labels, 16)
        return _train(method, data, settings, seed, folder, run)

    def report(method, run, models):
        choice = _choose(method, models[0], task, validation)
        figures = _test(models, task, test, choice)
        rows.append(_row_of(run, choice, figures))
        return choice

    seeds = range(flags.seeds)
    for method in METHODS[::-1]:  # ActX the last, which is gone on with
        models = [train(method, seed, method) for seed in seeds]
        choice = report(method, method, models)
    mined = [
        {
            name: timeline.stretches_of_nothing()
            for name, timeline in timelines(
                model, training, task, choice.window, choice.context
            ).items()
        }
        for model in models
    ]
    for nothing in mined:
        print(_purity(training, nothing), flush=True)
    run = "ActX, once more with mined conjugates"
    if any(stretches for nothing in mined for stretches in nothing.values()):
        again = [train("ActX", seed, run, mined[seed]) for seed in seeds]
        report("ActX", run, again)
    else:
        empty = [""] * (len(rows[0]) - 2)
        rows.append([run, "no stretch is called nothing", *empty])
    run = "ActX, with all that is nothing"
    true = {
        name: _between(segments, training.times[name][-1])
        for name, segments in training.truth.items()
    }
    best = [train("ActX", seed, run, true) for seed in seeds]
    report("ActX", run, best)
    return rows


def _between(segments, end):
    """Stretches of a video in which nothing happens."""
    starts = [0.0, *(x.end for x in segments)]
    return list(zip(starts, [*(x.start for x in segments), end], strict=True))


def _purity(videos, nothing):
    """How much is mined, and how much of that shows nothing, in words."""
    found = wrong = 0.0
    for name, stretches in nothing.items():
        for start, end in stretches:
            found += end - start
            wrong += sum(
                max(0.0, min(end, x.end) - max(start, x.start))
                for x in videos.truth[name]
            )
    without = sum(not stretches for stretches in nothing.values())
    return (
        f"{found / len(nothing):.1f} seconds a video are mined, of which "
        f"{wrong / max(found, 1e-9):.1%} show an action; {without} videos "
        "have none"
    )


def _conjugates(videos, nothing, steps=8):
    """The middle of the longest stretch of nothing of each video."""
    conjugates, real = [], []
    for name, stretches in nothing.items():
        times, features = videos.times[name], videos.features[name]
        start, end = max(
            stretches, key=lambda x: x[1] - x[0], default=(0.0, 0.0)
        )
        inside = (start <= times[:-1]) & (times[1:] <= end)
        (places,) = np.nonzero(inside)
        spare = max(0, len(places) - steps) // 2
        places = places[spare : spare + steps]
        padded = np.zeros((steps, *features.shape[1:]), "float32")
        padded[: len(places)] = features[places]
        conjugates.append(padded)
        real.append(np.arange(steps) < len(places))
    real = np.stack(real)
    return {
        "conjugate": np.stack(conjugates),
        "conjugate_mask": real,
        "has_conjugate": real.any(axis=1),
    }


# Falls


def _gmdcsa(flags):
    folder = flags.output / "gmdcsa"
    folder.mkdir(exist_ok=True)
    videos = read_gmdcsa(flags.gmdcsa).only(["Falling"])
    store = _features_of(videos, folder)
    seen = Videos(
        store,
        {
            name: step_times(
                store.description,
                store.shape(name)[0],
                store.attributes(name)["frames"],
                store.attributes(name)["frame_rate"],
            )
            for name in store
        },
        {video.name: list(video.segments) for video in videos.videos},
    )
    subjects = sorted({video.source for video in videos.videos})
    clips = _store_stretches(videos, seen, folder)
    similarities = _store_similarities(clips, folder)
    settings = TrainingSettings(epochs=25, deterministic=False)
    rows = [["", *(f"{x:g}" for x in OVERLAPS)]]
    rows.append(["---"] * len(rows[0]))
    whole = {
        name: [Segment(0.0, float(times[-1]), "Falling")]
        for name, times in seen.times.items()
    }
    # Equal scores count in the order of the videos.
    figures = []
    for seed in range(100):
        order = np.random.default_rng(seed).permutation(sorted(whole))
        figures.append(precision_of(seen, {x: whole[x] for x in order}))
    rows.append(_row_of_falls("the whole clip, unseen", figures))
    for method in METHODS:
        rates = (3e-3,) if method == "ActX" else (1e-3, 3e-3, 1e-2)
        for rate in rates:
            run = method if len(rates) == 1 else f"{method}, {rate:g}"
            kind = "all" if method == "ActX" else method
            figures = []
            for seed in range(flags.seeds):
                found = {}
                for subject in subjects:
                    data = load_data(
                        DataSettings(
                            features=str(folder / f"stretches of {kind}"),
                            index=str(_fold(clips, subject, folder)),
                            background=("background",),
                            similarities=(
                                similarities if method == "ActX" else None
                            ),
                            batch_size=16,
                        )
                    )
                    model = _train(
                        method,
                        data,
                        dataclasses.replace(settings, learning_rate=rate),
                        seed,
                        folder,
                        f"{run}, without {subject}",
                    )
                    tested = dataclasses.replace(
                        seen,
                        truth={
                            video.name: list(video.segments)
                            for video in videos.videos
                            if video.source == subject
                        },
                    )
                    found |= timelines(
                        model, tested, data.task, data.settings.crop_steps
                    )
                figures.append(precision(seen, found))
            rows.append(_row_of_falls(run, figures))
    return rows


def _row_of_falls(name, figures):
    return [name, *(_in_words(x, 2) for x in np.transpose(figures))]


def _features_of(videos, folder):
    """Those of I3D of each whole clip."""
    index = folder / "videos.csv"
    write_clip_index(
        index,
        [
            Clip(video.name, video.file, "video", "train", source=video.source)
            for video in videos.videos
        ],
    )
    run_actx(
        "extract",
        f"--index={index}",
        f"--output={folder / 'features'}",
        "--backbone=inception_i3d",
    )
    return FeatureStore(folder / "features")


_KINDS = {
    "all": lambda steps: steps,
    # Pooled by step: windows of them have the same pooled features.
    "average pooling": lambda steps: steps.mean((1, 2), keepdims=True),
    "max pooling": lambda steps: steps.max((1, 2), keepdims=True),
}


def _store_stretches(videos, seen, folder):
    """Cuts falls, and what is no fall, out of the features of their clips."""
    clips = []
    store = seen.features
    with contextlib.ExitStack() as stack:
        writers = {
            kind: stack.enter_context(
                FeatureStoreWriter(
                    folder / f"stretches of {kind}",
                    store.description if kind == "all" else f"{kind} of steps",
                )
            )
            for kind in _KINDS
        }
        for clip in videos.clips("background"):
            name = clip.extra["scene"]
            borders = seen.times[name]
            middles = (borders[1:] + borders[:-1]) / 2
            inside = (clip.start <= middles) & (middles < clip.end)
            (steps,) = np.nonzero(inside)
            if not len(steps):
                continue
            clips.append(clip)
            features = store[name][steps[0] : steps[-1] + 1].astype("float32")
            for kind, writer in writers.items():
                if clip.clip not in writer:
                    writer.add(
                        clip.clip,
                        _KINDS[kind](features),
                        clip.label,
                        clip.split,
                        frame_rate=store.attributes(name)["frame_rate"],
                        frames=len(steps) * store.description.frames_per_step,
                    )
    return [_with_conjugates(clip, clips) for clip in clips]


def _store_similarities(clips, folder):
    """Computes the similarity of each pair once, for all folds and seeds."""
    index, path = folder / "stretches.csv", str(folder / "similarities")
    write_clip_index(
        index, [dataclasses.replace(clip, split="train") for clip in clips]
    )
    run_actx(
        "similarities",
        f"--features={folder / 'stretches of all'}",
        f"--index={index}",
        f"--output={path}",
        "--background=background",
    )
    return path


def _with_conjugates(clip, clips):
    """What is no fall, in the same clip or else of the same subject."""
    if clip.label == "background":
        return clip
    nothing = [other for other in clips if other.label == "background"]
    near = [x for x in nothing if x.extra["scene"] == clip.extra["scene"]]
    near = near or [x for x in nothing if x.source == clip.source]
    return dataclasses.replace(clip, conjugates=tuple(x.clip for x in near))


def _fold(clips, subject, folder):
    index = folder / f"without {subject}.csv"
    write_clip_index(
        index,
        [
            dataclasses.replace(
                clip, split="test" if clip.source == subject else "train"
            )
            for clip in clips
        ],
    )
    return index


if __name__ == "__main__":
    main()
