"""What an exported model says of itself, read again."""

import json

import pytest

from actx_tf.export import metadata
from actx_tf.export import parse_metadata
from actx_tf.export import read_metadata
from actx_tf.version import __version__
from tests.described import describe

ABOUT = {
    "class_names": ["wave", "jump"],
    "activation": "softmax",
    "background": ["jump"],
    "channels": 8,
    "max_steps": 4,
    "crop_steps": None,
    "memory": 1.0,
    "signatures": ["serving_default", "video"],
}
NET = describe("net", channels=8, frame_rate=12.5)


def edited(**values):
    return {**json.loads(metadata.metadata_text(NET, **ABOUT)), **values}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"channels": 1, "max_steps": 1, "crop_steps": 1},
        {"crop_steps": 12, "memory": 1e-9, "background": []},
        {"signatures": [], "class_names": ["one"], "background": ["one"]},
        {"a key of a later version": [1]},
    ],
)
def test_round_trip(tmp_path, values):
    path = tmp_path / "1" / metadata.PATH
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(edited(**values)), encoding="utf-8")
    expected = {"actx_tf": __version__, **ABOUT, "backbone": NET, **values}
    assert read_metadata(tmp_path / "1") == expected
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="actx_tf.json: not UTF-8"):
        read_metadata(tmp_path / "1")
    with pytest.raises(FileNotFoundError, match="no SavedModel of actx_tf"):
        read_metadata(tmp_path)


def test_without_a_backbone():
    about = {**ABOUT, "signatures": ["serving_default"]}
    text = metadata.metadata_text(None, **about)
    assert parse_metadata(text, "server")["backbone"] is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("actx_tf", 1),
        ("class_names", []),
        ("class_names", [1, 2, 3]),
        ("class_names", ["wave", 3]),
        ("activation", "relu"),
        ("background", ["nothing"]),
        ("background", ["jump", "nothing"]),
        ("channels", 0),
        ("max_steps", 0),
        ("max_steps", -5),
        ("crop_steps", 0),
        ("crop_steps", "10"),
        ("memory", 0.0),
        ("memory", -1.0),
        ("memory", float("inf")),
        ("memory", float("nan")),
        ("signatures", ["video", 1]),
        ("backbone", None),
        ("backbone", {"frame_rate": 10**400}),
        ("backbone", {"channels": 10**30}),
        ("backbone", {"time": {"stages": [[1, 1, 0]] * 2000}}),
    ],
)
def test_what_was_edited_is_refused(key, value):
    if isinstance(value, dict):
        value = edited()["backbone"] | value
    with pytest.raises(ValueError, match=f"^file: `{key}`"):
        parse_metadata(json.dumps(edited(**{key: value})), "file")


@pytest.mark.parametrize("key", edited())
def test_what_lacks_is_named(key):
    values = edited()
    del values[key]
    with pytest.raises(ValueError, match=f"^file: `{key}` is missing"):
        parse_metadata(json.dumps(values), "file")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "`actx_tf` is missing"),
        ("3", "`actx_tf` is missing"),
    ],
)
def test_what_is_no_metadata_is_refused(text, words):
    with pytest.raises(ValueError, match=f"^file: {words}"):
        parse_metadata(text, "file")
