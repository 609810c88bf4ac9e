"""The sections that Google's style lacks, such as "Input shape", as Markdown.

`Args`, `Attributes` and `Raises` are left to griffe, which looks up their
annotations.
"""

import inspect
import re

from griffe import Extension
from griffe import Object

TITLES = (
    "Call arguments|Returns|Yields|Input shape|Output shape|Masking|Example"
    "|Reference"
)
PARAGRAPH = re.compile(rf"^({TITLES}): (.+(?:\n.+)*)", re.MULTILINE)
BLOCK = re.compile(rf"^({TITLES}):\n((?: {{4}}.*\n|\n)*)", re.MULTILINE)
ENTRY = re.compile(r"^(\*{0,2}\w+): ", re.MULTILINE)
SESSION = re.compile(r"^>>> .+(?:\n.+)*", re.MULTILINE)


class Dialect(Extension):
    """Rewrites the docstring of each function and class."""

    def on_object(self, *, obj: Object, **kwargs: object) -> None:
        """Called by griffe for each object that it has loaded."""
        if obj.docstring:
            obj.docstring.value = as_google_style(obj.docstring.value)


def as_google_style(docstring: str) -> str:
    """A docstring of this package with no sections but those of griffe."""
    docstring = PARAGRAPH.sub(
        lambda match: f"{title(match[1])} {flush_left(match[2])}", docstring
    )
    docstring = BLOCK.sub(block, docstring + "\n")
    return SESSION.sub(r"```pycon\n\g<0>\n```", docstring).rstrip()


def block(section: re.Match) -> str:
    """A section whose text begins below its title."""
    text = inspect.cleandoc(section[2])
    if section[1] == "Call arguments":
        text = ENTRY.sub(r"- `\1`: ", text)
    return f"{title(section[1])}\n\n{text}\n\n"


def title(name: str) -> str:
    """The title of a section, as mkdocstrings writes those of its own."""
    return f'<span class="doc-section-title">{name}:</span>'


def flush_left(paragraph: str) -> str:
    """A paragraph whose lines are not indented."""
    return "\n".join(line.strip() for line in paragraph.splitlines())
