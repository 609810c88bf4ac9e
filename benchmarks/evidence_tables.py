"""Tables of what benchmarks/evidence.py found, put into docs/evidence.md."""

import collections
import pathlib
import re

import numpy as np

from actx_tf.data import Clip
from actx_tf.data import read_clip_index
from actx_tf.utils.atomic_write import atomic_write

# Sets, and the columns of what clips of a group have in common.
GROUPS = {
    "sc_fight": "video",
    "ut_interaction": "sequence",
    "jhmdb": "source",
    "composite": "source",
}
RESAMPLES = 2000


def write_tables(folder: pathlib.Path, report: pathlib.Path) -> None:
    """Puts a table of each set in the place of the one in the report.

    Args:
        folder: What the benchmark wrote.
        report: Markdown, with `<!-- SET -->` before and `<!-- /SET -->` after
            the table of each set.
    """
    for name in GROUPS:
        if not (folder / name / "scores").is_dir():
            continue
        table = make_table(folder / name)
        print(f"\n{name}\n\n{table}")
        put_table(report, name, table)


def put_table(report: pathlib.Path, name: str, table: str) -> None:
    """Puts a table in the place of the one that the report has of this name.

    Args:
        report: As of `write_tables`.
        name: Of what the table is.
        table: The table, in Markdown.
    """
    text, count = re.subn(
        rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
        lambda found: f"{found[1]}\n{table}\n{found[2]}",
        report.read_text("utf-8"),
        flags=re.DOTALL,
    )
    if count != 1:
        raise ValueError(f"{report}: has no place for the table of {name}")
    with atomic_write(report) as draft:
        draft.write_text(text, "utf-8")


def group_of(clip: Clip, name: str) -> str:
    """Returns what a clip of a set has in common with others of its source."""
    return {"source": clip.source, **clip.extra}[GROUPS[name]]


def make_table(folder: pathlib.Path) -> str:
    """Returns the table of a set, in Markdown.

    A cell is the mean over clips and seeds, with a standard error from
    resampled groups of clips (each with all its clips and seeds). The last
    column is the difference in accuracy to average pooling at its best rate,
    with its 95% interval, from the same resamples.
    """
    known = _known(folder)
    runs = _whole(_read_runs(folder), folder)
    if not runs:
        return "Not measured yet.\n"
    clips = sorted({clip for run in runs.values() for clip in run})
    groups = [known[clip][0] for clip in clips]
    weights = _resample(groups)
    columns = _columns(folder.name, clips, known)
    cells, accuracies = {}, {}
    for name, run in runs.items():
        cells[name] = {}
        for column, (key, chosen) in columns.items():
            values = np.array(
                [
                    run[clip].get(key, np.nan) if use else np.nan
                    for clip, use in zip(clips, chosen, strict=True)
                ]
            )
            if not np.isnan(values).all():
                means = _means(values, weights)
                cells[name][column] = (np.nanmean(values), means.std())
                if column == "accuracy":
                    accuracies[name] = np.nanmean(values), means
    best = max(
        (name for name in accuracies if name.startswith("average")),
        key=lambda name: accuracies[name][0],
        default=None,
    )
    shown = [c for c in columns if any(c in row for row in cells.values())]
    lines = [
        ["", "seeds", *shown, "to average pooling"],
        ["---"] * (len(shown) + 3),
    ]
    for name, row in sorted(cells.items()):
        line = [name, str(_seeds(folder, name))]
        for column in shown:
            mean, error = row.get(column, (np.nan, np.nan))
            line.append("" if np.isnan(mean) else f"{mean:.3f} ± {error:.3f}")
        line.append("")
        if best and name != best:
            difference = accuracies[name][0] - accuracies[best][0]
            low, high = np.percentile(
                accuracies[name][1] - accuracies[best][1], (2.5, 97.5)
            )
            line[-1] = f"{difference:+.3f} ({low:+.3f} to {high:+.3f})"
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _seeds(folder, name):
    """From how many seeds a run was trained, on each of the parts."""
    files = [
        file.stem.rsplit("-", 2) for file in (folder / "scores").glob("*.npz")
    ]
    parts = collections.Counter(part for run, part, _ in files if run == name)
    return min(parts.values())


def _read_runs(folder):
    """Run -> clip -> figure -> mean over the seeds."""
    values = collections.defaultdict(
        lambda: collections.defaultdict(lambda: collections.defaultdict(list))
    )
    for file in sorted((folder / "scores").glob("*.npz")):
        name = file.stem.rsplit("-", 2)[0]
        with np.load(file) as found:
            labels = found["labels"]
            right = found["scores"].argmax(-1) == labels
            for i, clip in enumerate(found["clips"]):
                values[name][str(clip)]["right"].append(right[i])
                for key in found:
                    if key.startswith("AUC"):
                        values[name][str(clip)][key].append(found[key][i])
    return {
        name: {
            clip: {key: float(np.mean(x)) for key, x in figures.items()}
            for clip, figures in run.items()
        }
        for name, run in values.items()
    }


def _whole(runs, folder):
    """Those that have answered all clips; says which have not."""
    clips = set().union(*runs.values())
    if (folder / "own.csv").exists():  # every clip is once in a test part
        clips = {clip.clip for clip in read_clip_index(folder / "own.csv")}
    for name, run in runs.items():
        if len(run) < len(clips):
            print(
                f"{folder.name}: {name} is left out: {len(run)} clips of "
                f"{len(clips)} are answered"
            )
    return {name: run for name, run in runs.items() if len(run) == len(clips)}


def _known(folder):
    """Clip -> its group, and whether the scene says nothing of its class."""
    index = folder / "own.csv"
    if not index.exists():
        index = folder / "all.csv"
    return {
        clip.clip: (
            group_of(clip, folder.name) or clip.clip,
            bool(clip.conjugates),
        )
        for clip in read_clip_index(index)
    }


def _columns(name, clips, known):
    """Column -> the figure, and which clips it is a mean over."""
    every = [True] * len(clips)
    columns = {"accuracy": ("right", every)}
    if name == "sc_fight":
        paired = [known[clip][1] for clip in clips]
        columns["paired scenes"] = ("right", paired)
    if name == "composite":
        for column, start in (
            ("accuracy", "test"),
            ("biased part", "biased"),
            ("scene alone", "scene_only"),
        ):
            part = [clip.startswith(start) for clip in clips]
            columns[column] = ("right", part)
        every = columns["accuracy"][1]
    for kind in ("S", "1 - C", "CAM", "centre"):
        columns[f"AUC of {kind}"] = (f"AUC of {kind}", every)
    return columns


def _resample(groups):
    """How often each clip counts in each resample, `(resamples, clips)`."""
    names, member = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(0)
    counts = rng.multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES
    )
    return counts[:, member].astype(float)


def _means(values, weights):
    known = ~np.isnan(values)
    total = weights[:, known].sum(axis=1)
    return weights[:, known] @ values[known] / np.maximum(total, 1.0)
