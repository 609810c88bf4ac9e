"""Files of segments: CSV, ActivityNet's results, and COCO's JSON for videos.

What is written is read back the same, to the last digit. A file takes the
place of an earlier one once it is whole.
"""

import collections
import csv
import functools
import io
import json
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

from actx_tf.segments import Segment
from actx_tf.utils.atomic_write import atomic_write

Segments = Mapping[str, Sequence[Segment]]

_COLUMNS = ("video", "start", "end", "label", "score")
_VERSION = "VERSION 1.3"


def write_segments_csv(path: str | os.PathLike, segments: Segments) -> None:
    """Writes segments as CSV, one row a segment.

    The columns are `video`, `start`, `end` (seconds), `label` and `score`. A
    video without segments has no row.

    Args:
        path: Path of the CSV file.
        segments: Mapping from each video's name to its segments.

    Raises:
        ValueError: If a name cannot be written in UTF-8. An earlier file is
            left as it was.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for video, entries in segments.items():
        for entry in entries:
            times = float(entry.start), float(entry.end)
            writer.writerow([video, *times, entry.label, float(entry.score)])
    _write(path, text.getvalue())


def read_segments_csv(path: str | os.PathLike) -> dict[str, list[Segment]]:
    """Reads the segments of a CSV file.

    Args:
        path: Path of a file as `write_segments_csv` writes it. Other columns
            are skipped; without `score`, each is 1.

    Returns:
        A dictionary from each video's name to its segments, in the order of
        the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is wrong. The message starts with
            `{path}:{line}: `.
    """
    text = _read(path)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    segments: dict[str, list[Segment]] = {}
    line = 1  # where the row starts: a quoted field can span lines
    try:
        header = reader.fieldnames or ()
        if not set(_COLUMNS[:4]) <= set(header) or len(set(header)) < len(
            header
        ):
            raise ValueError(
                f"expected the columns {', '.join(_COLUMNS[:4])}, with commas "
                "between them, and each column once. "
                f"Received: {','.join(header)[:200]!r}"
            )
        line = reader.line_num + 1
        for row in reader:
            if None in row or None in row.values():
                raise ValueError("more or fewer fields than columns")
            if not row["video"]:
                raise ValueError("`video` is empty")
            segment = Segment(
                float(row["start"]),
                float(row["end"]),
                row["label"],
                float(row.get("score", 1.0)),
            )
            segments.setdefault(row["video"], []).append(segment)
            line = reader.line_num + 1
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}:{line}: {error}") from error
    return segments


def write_activitynet_results(
    path: str | os.PathLike,
    segments: Segments,
    external_data: str,
    version: str = _VERSION,
) -> None:
    """Writes segments as results of ActivityNet's detection task.

    ```
    {"version": "VERSION 1.3",
     "results": {"5n7NCViB5TU": [{"label": "Discus throw", "score": 0.9,
                                  "segment": [24.25, 38.08]}]},
     "external_data": {"used": true, "details": "..."}}
    ```

    Args:
        path: Path of the JSON file.
        segments: Mapping from each video's name to its segments. ActivityNet
            names a video by YouTube's id.
        external_data: What the model was trained on apart from the data set
            itself, such as its backbone's weights; `""` for nothing.
        version: Of the data set, as its owners write it. Defaults to
            `"VERSION 1.3"`.

    Reference:
        - The guidelines of the ActivityNet challenge 2016, and the evaluation
          toolkit of github.com/activitynet/ActivityNet,
          `sample_detection_prediction.json`.
    """
    content = {
        "version": version,
        "results": {
            video: [
                {
                    "label": entry.label,
                    "score": float(entry.score),
                    "segment": [float(entry.start), float(entry.end)],
                }
                for entry in entries
            ]
            for video, entries in segments.items()
        },
        "external_data": {
            "used": bool(external_data),
            "details": external_data,
        },
    }
    _write(path, json.dumps(content))


def read_activitynet_results(
    path: str | os.PathLike,
) -> dict[str, list[Segment]]:
    """Reads results of ActivityNet's detection task.

    Args:
        path: Path of the JSON file; see `write_activitynet_results`.

    Returns:
        A dictionary from each video's name to its segments, in the order of
        the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is wrong. The message names the video.
    """
    results = _part(_read_json(path), path, "results", dict)
    return {
        video: [_to_segment(path, video, entry) for entry in entries]
        for video, entries in results.items()
        if _is_list(path, video, entries)
    }


def write_coco_segments(
    path: str | os.PathLike,
    segments: Segments,
    class_names: Sequence[str] | None = None,
) -> None:
    """Writes segments in the form of COCO's JSON, for videos.

    ```
    {"info": {"description": "..."},
     "videos": [{"id": 1, "name": "a"}],
     "categories": [{"id": 1, "name": "run"}],
     "annotations": [{"id": 1, "video_id": 1, "category_id": 1,
                      "segment": [2.5, 8.0], "score": 0.9}]}
    ```

    COCO defines `info`, `annotations` and `categories`; YouTube-VIS and TAO
    `videos` in the place of `images`, and `video_id`. None of them has
    segments of time: `segment` is ActivityNet's, in seconds. All are
    annotations, so that one file holds names and segments; `score` is that of
    COCO's results. Numbers begin with 1.

    Args:
        path: Path of the JSON file.
        segments: Mapping from each video's name to its segments.
        class_names: Names of the classes, in the order of their numbers.
            Defaults to `None`: those of the segments, sorted.

    Raises:
        ValueError: If a segment is of another class, or a class is named
            twice. An earlier file is left as it was.

    Reference:
        - cocodataset.org, "Data format" and "Results format".
        - Yang et al., Video Instance Segmentation, ICCV 2019 (YouTube-VIS).
        - Dave et al., TAO: A Large-Scale Benchmark for Tracking Any Object,
          ECCV 2020.
    """
    every = [
        (number, entry)
        for number, entries in enumerate(segments.values(), 1)
        for entry in entries
    ]
    if class_names is None:
        class_names = sorted({entry.label for _, entry in every})
    if len(set(class_names)) < len(class_names):
        raise ValueError(
            "`class_names` must differ from one another. "
            f"Received: class_names={class_names}"
        )
    numbers = {name: number for number, name in enumerate(class_names, 1)}
    if unknown := {entry.label for _, entry in every} - numbers.keys():
        raise ValueError(
            "`class_names` must hold the label of each segment. "
            f"Received: a segment of {min(unknown)!r}, and "
            f"class_names={class_names}"
        )
    content = {
        "info": {"description": "Segments of videos, in seconds"},
        "videos": [
            {"id": number, "name": video}
            for number, video in enumerate(segments, 1)
        ],
        "categories": [
            {"id": number, "name": name} for name, number in numbers.items()
        ],
        "annotations": [
            {
                "id": number,
                "video_id": video,
                "category_id": numbers[entry.label],
                "segment": [float(entry.start), float(entry.end)],
                "score": float(entry.score),
            }
            for number, (video, entry) in enumerate(every, 1)
        ],
    }
    _write(path, json.dumps(content))


def read_coco_segments(path: str | os.PathLike) -> dict[str, list[Segment]]:
    """Reads segments in the form of COCO's JSON.

    Args:
        path: Path of the JSON file; see `write_coco_segments`. Without
            `score`, each is 1.

    Returns:
        A dictionary from each video's name to its segments, in the order of
        the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is wrong.
    """
    content = _read_json(path)
    names, labels = (
        _names(path, key, _part(content, path, key, list))
        for key in ("videos", "categories")
    )
    segments: dict[str, list[Segment]] = {name: [] for name in names.values()}
    for entry in _part(content, path, "annotations", list):
        try:
            video = names[entry["video_id"]]
            label = labels[entry["category_id"]]
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: each annotation must have the `video_id` of one of "
                "`videos`, and the `category_id` of one of `categories`. "
                f"Received: {str(entry)[:200]}"
            ) from error
        segment = _to_segment(path, video, {**entry, "label": label})
        segments[video].append(segment)
    return segments


def write_segments(
    path: str | os.PathLike, segments: Segments, external_data: str = ""
) -> None:
    """Writes segments as the name of the file says.

    Args:
        path: Path of the file: `.csv`; `.coco.json`, as `write_coco_segments`
            writes it; or `.json`, as `write_activitynet_results` does.
        segments: Mapping from each video's name to its segments.
        external_data: As of `write_activitynet_results`. Defaults to `""`.

    Raises:
        ValueError: If the name ends otherwise.
    """
    name = pathlib.Path(path).name.lower()
    if name.endswith(".csv"):
        write_segments_csv(path, segments)
    elif name.endswith(".coco.json"):
        write_coco_segments(path, segments)
    elif name.endswith(".json"):
        write_activitynet_results(path, segments, external_data)
    else:
        raise ValueError(
            "`path` must end in .csv, .json (ActivityNet's results) or "
            f".coco.json. Received: path={path}"
        )


def read_segments(path: str | os.PathLike) -> dict[str, list[Segment]]:
    """Reads a file of segments of any of the three kinds.

    Args:
        path: Path of CSV, or of JSON in ActivityNet's or COCO's form.

    Returns:
        As `read_segments_csv`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is wrong, or of another kind.
    """
    read = {
        "csv": read_segments_csv,
        "results": read_activitynet_results,
        "coco": read_coco_segments,
    }.get(file_kind(path))
    if read is None:
        raise ValueError(
            f"{path}: expected segments in CSV, or JSON with `results` "
            "(ActivityNet's), or with `videos` and `annotations` (COCO's)."
        )
    return read(path)


def file_kind(path: str | os.PathLike) -> str:
    """Says what a file of segments is, by its name, and JSON by its keys.

    Args:
        path: Path of the file.

    Returns:
        `"csv"`, `"results"`, `"coco"`; `"annotations"`, those of ActivityNet;
        or `"unknown"`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, and its name ends so.
    """
    if pathlib.Path(path).suffix.lower() != ".json":
        return "csv"
    content = _read_json(path)
    keys = set(content) if isinstance(content, dict) else set()
    for key, kind in (
        ("results", "results"),
        ("database", "annotations"),
        ("videos", "coco"),
    ):
        if key in keys:
            return kind
    return "unknown"


def _names(path, key, entries):
    """Returns the name of each id."""
    try:
        names = {entry["id"]: entry["name"] for entry in entries}
        texts = {name for name in names.values() if isinstance(name, str)}
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: each of `{key}` must have an `id` and a `name`."
        ) from error
    if not len(texts) == len(names) == len(entries):
        raise ValueError(
            f"{path}: each of `{key}` must have an `id` and a `name` of its "
            "own."
        )
    return names


def _to_segment(path, video, entry):
    try:
        start, end = entry["segment"]
        return Segment(start, end, entry["label"], entry.get("score", 1.0))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: video {video!r}: expected a segment [start, end] in "
            f"seconds, a label and a score. Received: {str(entry)[:200]}"
        ) from error


def _is_list(path, video, entries):
    if not isinstance(entries, list):
        raise ValueError(f"{path}: video {video!r}: expected a list.")
    return True


def _part(content, path, key, kind):
    part = content.get(key) if isinstance(content, dict) else None
    if not isinstance(part, kind):
        what = {dict: "an object", list: "a list"}[kind]
        raise ValueError(f"{path}: expected an object with {what} `{key}`.")
    return part


def _read_json(path):
    try:
        return json.loads(
            _read(path), object_pairs_hook=functools.partial(_object, path)
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}:{error.lineno}: not JSON: {error.msg}."
        ) from error
    except RecursionError as error:
        raise ValueError(f"{path}:1: not JSON: too many brackets.") from error


def _object(path, pairs):
    """An object of JSON, which would else keep the last of equal keys."""
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = collections.Counter(key for key, _ in pairs)
        repeated = max(counts, key=counts.__getitem__)
        raise ValueError(f"{path}: {repeated!r} is there twice.")
    return content


def _read(path):
    path = pathlib.Path(path)
    # A pipe would be waited for.
    if not path.is_file():
        raise FileNotFoundError(f"no file of segments at {path}")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}:{line}: not UTF-8.") from error


def _write(path, text):
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{path}: a name cannot be written in UTF-8. "
            f"Received: {text[max(0, error.start - 20) : error.end]!r}"
        ) from error
    with atomic_write(path) as draft:
        draft.write_bytes(data)
