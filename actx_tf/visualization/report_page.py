"""What pages without a script share: their tables, and frames of clips."""

import html
import os
from collections.abc import Mapping
from collections.abc import Sequence

from actx_tf.data.clip_index import Clip
from actx_tf.data.shown_frames import read_shown_frames
from actx_tf.visualization.page import jpegs
from actx_tf.visualization.whole_page import make_page
from actx_tf.visualization.whole_page import write_whole

_FRAMES = 4  # of a clip
_LONGEST = 240  # pixels
_QUALITY = 75


def write_report_page(
    path: str | os.PathLike, kind: str, title: str, parts: Mapping[str, str]
) -> None:
    """Writes a page of the style of reports: see `make_page`."""
    write_whole(path, make_page(kind, title, parts, "report_page.css"))


def frames_of(clip: Clip, unread: dict[str, str]) -> str:
    """Returns frames of a clip in HTML, or what is said in their place.

    Args:
        clip: The clip.
        unread: Gets the reason why it cannot be read, by its name.
    """
    try:
        frames, _, _ = read_shown_frames(
            clip.file, _LONGEST, num_frames=_FRAMES, **clip.part
        )
    except (OSError, ValueError) as error:
        unread[clip.clip] = str(error)
        return f'<p class="unread">{html.escape(str(error))}</p>'
    images = "".join(
        f'<img alt="" src="data:image/jpeg;base64,{image}">'
        for image in jpegs(list(frames), _LONGEST, _QUALITY)
    )
    return f'<div class="frames">{images}</div>'


def table_of(lines: Sequence[Sequence[str]]) -> str:
    """Returns lines of cells as a table in HTML, the first as its header."""
    header, *lines = lines
    heads = "".join(f'<th scope="col">{html.escape(x)}</th>' for x in header)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in lines
    )
    return (
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def list_of(notes: Sequence[str]) -> str:
    """Returns notes as the entries of a list in HTML."""
    return "".join(f"<li>{html.escape(note)}</li>" for note in notes)
