"""A page of the pairs of a scene report, clips and conjugates side by side."""

import html
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from actx_tf.data.clip_index import Clip
from actx_tf.visualization.report_page import frames_of
from actx_tf.visualization.report_page import list_of
from actx_tf.visualization.report_page import table_of
from actx_tf.visualization.report_page import write_report_page


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
        name: frames_of(clips[name], unread)
        for pair in pairs
        for name in dict.fromkeys((pair["clip"], pair["conjugate"]))
    }
    write_report_page(
        path,
        "scene_page",
        title,
        {
            "table": table_of(table),
            "notes": list_of(notes),
            "pairs": "".join(_pair(pair, shown) for pair in pairs),
        },
    )
    return list(unread.items())


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
