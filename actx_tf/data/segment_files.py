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


def write_segments(
    path: str | os.PathLike, segments: Segments, external_data: str = ""
) -> None:
    """Writes segments as the name of the file says.

    `.csv` has one row a segment, and none of a video without segments. The
    columns are `video`, `start`, `end` (seconds), `label` and `score`.

    `.json` is results of ActivityNet's detection task:

    ```
    {"version": "VERSION 1.3",
     "results": {"5n7NCViB5TU": [{"label": "Discus throw", "score": 0.9,
                                  "segment": [24.25, 38.08]}]},
     "external_data": {"used": true, "details": "..."}}
    ```

    `.coco.json` has the form of COCO's JSON, for videos:

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
    COCO's results. Numbers begin with 1; those of the classes are in the order
    of their names.

    Args:
        path: Path of the file.
        segments: Mapping from each video's name to its segments. ActivityNet
            names a video by YouTube's id.
        external_data: For ActivityNet, what the model was trained on apart
            from the data set itself, such as its backbone's weights. Defaults
            to `""`: nothing.

    Raises:
        ValueError: If the name of the file ends otherwise, or another name
            cannot be written in UTF-8. An earlier file is left as it was.

    Reference:
        - The guidelines of the ActivityNet challenge 2016, and the evaluation
          toolkit of github.com/activitynet/ActivityNet,
          `sample_detection_prediction.json`.
        - cocodataset.org, "Data format" and "Results format".
        - Yang et al., Video Instance Segmentation, ICCV 2019 (YouTube-VIS).
        - Dave et al., TAO: A Large-Scale Benchmark for Tracking Any Object,
          ECCV 2020.
    """
    name = pathlib.Path(path).name.lower()
    if name.endswith(".csv"):
        text = _to_csv(segments)
    elif name.endswith(".coco.json"):
        text = json.dumps(_to_coco(segments))
    elif name.endswith(".json"):
        text = json.dumps(_to_results(segments, external_data))
    else:
        raise ValueError(
            "`path` must end in .csv, .json (ActivityNet's results) or "
            f".coco.json. Received: path={path}"
        )
    _write(path, text)


def read_segments(path: str | os.PathLike) -> dict[str, list[Segment]]:
    """Reads a file of segments of any of the three kinds.

    Args:
        path: Path of JSON in ActivityNet's or COCO's form, if it ends in
            `.json`; else of CSV. See `write_segments`. Other columns are
            skipped; without `score`, each is 1.

    Returns:
        A dictionary from each video's name to its segments, in the order of
        the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is wrong, or of another kind. The message
            starts with the path, and names the line of CSV or the video.
    """
    if not _is_json(path):
        return _from_csv(path)
    content = _read_json(path)
    if "results" in content:
        return _from_results(path, content)
    if "videos" in content:
        return _from_coco(path, content)
    raise ValueError(
        f"{path}: expected segments in CSV, or JSON with `results` "
        "(ActivityNet's), or with `videos` and `annotations` (COCO's)."
    )


def is_annotations(path: str | os.PathLike) -> bool:
    """Says whether a file is ActivityNet's annotations, which have splits.

    Args:
        path: Path of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, and its name ends so.
    """
    return _is_json(path) and "database" in _read_json(path)


def _to_csv(segments):
    """Returns CSV with a row for each segment."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for video, entries in segments.items():
        for entry in entries:
            times = float(entry.start), float(entry.end)
            writer.writerow([video, *times, entry.label, float(entry.score)])
    return text.getvalue()


def _from_csv(path):
    """Returns the segments of CSV."""
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


def _to_results(segments, external_data):
    """Returns the content of ActivityNet's results."""
    return {
        "version": "VERSION 1.3",
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


def _from_results(path, content):
    """Returns the segments of ActivityNet's results."""
    return {
        video: [_to_segment(path, video, entry) for entry in entries]
        for video, entries in _part(content, path, "results", dict).items()
        if _is_list(path, video, entries)
    }


def _to_coco(segments):
    """Returns the content of COCO's JSON."""
    every = [
        (number, entry)
        for number, entries in enumerate(segments.values(), 1)
        for entry in entries
    ]
    labels = sorted({entry.label for _, entry in every})
    numbers = {label: number for number, label in enumerate(labels, 1)}
    return {
        "info": {"description": "Segments of videos, in seconds"},
        "videos": [
            {"id": number, "name": video}
            for number, video in enumerate(segments, 1)
        ],
        "categories": [
            {"id": number, "name": label} for label, number in numbers.items()
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


def _from_coco(path, content):
    """Returns the segments of COCO's JSON."""
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
    part = content.get(key)
    if not isinstance(part, kind):
        what = {dict: "an object", list: "a list"}[kind]
        raise ValueError(f"{path}: expected an object with {what} `{key}`.")
    return part


def _is_json(path):
    return pathlib.Path(path).suffix.lower() == ".json"


def _read_json(path):
    """Returns the object of a file; an empty one, if it holds another kind."""
    try:
        content = json.loads(
            _read(path), object_pairs_hook=functools.partial(_object, path)
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}:{error.lineno}: not JSON: {error.msg}."
        ) from error
    except RecursionError as error:
        raise ValueError(f"{path}:1: not JSON: too many brackets.") from error
    return content if isinstance(content, dict) else {}


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
