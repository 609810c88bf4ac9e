"""Turns formulas into MathML, which browsers draw without a script."""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(
    r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL
)


def on_page_content(content: str, **kwargs: object) -> str:
    """Replaces what stood between `$$` and `$$` on a page."""
    return FORMULA.sub(
        lambda match: (
            '<div class="formula">'
            + convert(html.unescape(match[1]), display="block")
            + "</div>"
        ),
        content,
    )
