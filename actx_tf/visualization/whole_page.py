"""A page of one file: a browser opens it without a server or a network."""

import html
import os
import re
from collections.abc import Mapping
from pathlib import Path

from actx_tf.utils.atomic_write import atomic_write


def make_page(
    kind: str,
    title: str,
    parts: Mapping[str, str],
    *styles: str,
    scripts: bool = False,
) -> str:
    """Returns a page.

    Args:
        kind: Name of the files of its body (`.html`) and style (`.css`).
        title: Its title.
        parts: What stands in the body for each `{{name}}`, in HTML.
        scripts: Whether it can run the scripts in its body. Defaults to
            `False`.
        *styles: Names of files of style that go before its own.
    """
    title = html.escape(title)
    styles = ("palette.css", *styles, f"{kind}.css")
    return _fill(
        "whole_page.html",
        {
            "title": title,
            "scripts": "'unsafe-inline'" if scripts else "'none'",
            "style": "\n".join(map(read_part, styles)),
            "body": _fill(f"{kind}.html", {"title": title, **parts}),
        },
    )


def write_whole(path: str | os.PathLike, page: str) -> None:
    """Writes it whole or not at all; its folder is made if need be."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as draft:
        draft.write_text(page, encoding="utf-8")


def read_part(name: str) -> str:
    """Returns the text of a file in this folder."""
    return Path(__file__).with_name(name).read_text("utf-8")


def _fill(template, parts):
    """At once: what is filled in is not looked at."""
    text = read_part(template)
    return re.sub(r"{{(\w+)}}", lambda match: parts[match[1]], text)
