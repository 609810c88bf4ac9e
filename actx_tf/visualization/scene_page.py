"""A page of the pairs of a scene report, clips and conjugates side by side.

It is one file without a script: a browser opens it without a server.
"""

import html
import os
import re
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actx_tf.data.clip_index import Clip
from actx_tf.data.shown_frames import read_shown_frames
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.visualization.page import jpegs

_FRAMES = 4  # of a clip
_LONGEST = 240  # pixels
_QUALITY = 75


def write_scene_page(
    path: str | os.PathLike,
    table: Sequence[Sequence[str]],
    pairs: Sequence[Mapping[str, Any]],
    clips: Mapping[str, Clip],
    notes: Sequence[str] = (),
    title: str = "Action or scene",
) -> list[tuple[str, str]]:
    """Writes a page of a table, and of pairs in the order that is given.

    Args:
        path: Path of the page. It is written whole or not at all; its folder
            is made if it is not there.
        table: Lines of cells, as `scene_table` makes them.
        pairs: The pairs to show, as `SceneReport` has them.
        clips: The clips of the index, by name. Frames are read from their
            files.
        notes: Sentences after the table. Defaults to none.
        title: Title of the page. Defaults to `"Action or scene"`.

    Returns:
        Name and reason of each clip whose frames cannot be read: the page says
        so in their place.

    Raises:
        ImportError: If a package for it is not installed.
    """
    unread: dict[str, str] = {}
    shown = {
        name: _frames(clips[name], unread)
        for pair in pairs
        for name in dict.fromkeys((pair["clip"], pair["conjugate"]))
    }
    parts = {
        "title": html.escape(title),
        "style": Path(__file__).with_suffix(".css").read_text("utf-8"),
        "table": _table(table),
        "notes": "".join(f"<li>{html.escape(note)}</li>" for note in notes),
        "pairs": "".join(_pair(pair, shown) for pair in pairs),
    }
    template = Path(__file__).with_suffix(".html").read_text("utf-8")
    page = re.sub(r"{{(\w+)}}", lambda match: parts[match[1]], template)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as draft:
        draft.write_text(page, encoding="utf-8")
    return list(unread.items())


def _frames(clip, unread):
    """Frames of a clip as images, or what is said in their place."""
    try:
        frames, _, _ = read_shown_frames(
            clip.file,
            _LONGEST,
            num_frames=_FRAMES,
            start=clip.start,
            end=clip.end,
            box=clip.box,
        )
    except (OSError, ValueError) as error:
        unread[clip.clip] = str(error)
        return f'<p class="unread">{html.escape(str(error))}</p>'
    images = "".join(
        f'<img alt="" src="data:image/jpeg;base64,{image}">'
        for image in jpegs(frames, _LONGEST, _QUALITY)
    )
    return f'<div class="frames">{images}</div>'


def _table(table):
    header, *lines = table
    heads = "".join(f'<th scope="col">{html.escape(x)}</th>' for x in header)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in lines
    )
    return f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>"


def _pair(pair, shown):
    label = pair["label"]
    by_scene = "by-scene" if pair["scene_only"] else ""
    return (
        f'<article class="{by_scene}"><h3>{html.escape(label)}</h3>'
        '<div class="sides">'
        + _side(
            pair["clip"],
            pair["answer"],
            label,
            pair["score"],
            pair["right"],
            shown,
        )
        + _side(
            pair["conjugate"],
            pair["conjugate_answer"],
            label,
            pair["conjugate_score"],
            not pair["scene_only"],
            shown,
        )
        + "</div></article>"
    )


def _side(name, answer, label, score, is_good, shown):
    kind = "good" if is_good else "bad"
    return (
        f"<figure>{shown[name]}<figcaption>{html.escape(name)}: "
        f'<strong class="{kind}">{html.escape(answer)}</strong> '
        f"({html.escape(label)} {score:.3f})</figcaption></figure>"
    )
