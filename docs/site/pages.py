"""Makes pages of what lies outside of docs/, and leads links to them.

README.md is the first page. Any other file that a page links to becomes a page
too: Markdown as it is, code as a listing, a notebook with its stored outputs.
"""

import ast
import json
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File
from mkdocs.structure.files import Files
from mkdocs.structure.files import InclusionLevel
from mkdocs.structure.pages import Page
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer
from pygments.lexers import find_lexer_class_for_filename

PICTURES = (".png", ".gif", ".jpg", ".svg")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
# A label that is code, if it is, and the target, of Markdown and of HTML.
LINK = re.compile(r'(?:(?<=\[)`([\w.]+)`)?(\]\(|src="|href=")([^()"\s]+)')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages: of the first one, and of all that pages link to."""
    root = Path(config.config_file_path).parent
    queue = ["README.md", "CHANGELOG.md"]
    queue += [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    seen = set(queue)
    while queue:
        source = queue.pop()
        text = (root / source).read_text(encoding="utf-8")
        if source.endswith(".md"):
            for _, _, target in LINK.findall(FENCE.sub("", text)):
                linked = source_of(target, source)
                if linked not in seen and (root / linked).is_file():
                    seen.add(linked)
                    if not linked.endswith(PICTURES):
                        queue.append(linked)
        if files.get_file_from_path(uri_of(source)) is None:
            page = File.generated(
                config, uri_of(source), content=as_markdown(source, text)
            )
            page.edit_uri = source  # where it is from
            if not source.endswith((".md", ".ipynb")):  # a listing
                page.inclusion = InclusionLevel.NOT_IN_NAV
            files.append(page)
    return files


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Leads the links of a page to the pages that are made here."""
    root = Path(config.config_file_path).parent
    uri = page.file.src_uri
    source = f"docs/{uri}"
    if page.file.generated_by:
        source = page.file.edit_uri
    if not source.endswith((".md", ".ipynb")):
        return markdown  # a listing

    def lead(match: re.Match) -> str:
        label, start, target = match.groups()
        linked = source_of(target, source)
        if not (root / linked).is_file():
            return match[0]
        _, _, anchor = target.partition("#")
        if label and linked.endswith(".py"):
            anchor = f"line-{line_of(label, root / linked)}"
        new = posixpath.relpath(uri_of(linked), posixpath.dirname(uri) or ".")
        new += f"#{anchor}" if anchor else ""
        return (f"`{label}`" if label else "") + f"{start}{new}"

    parts = re.split(f"({FENCE.pattern})", markdown, flags=FENCE.flags)
    parts[::2] = [LINK.sub(lead, part) for part in parts[::2]]
    return "".join(parts)


def source_of(target: str, source: str) -> str:
    """Path in the repository of what a link of the file `source` leads to."""
    if re.match(r"#|[a-z]+:", target):
        return ""
    folder = posixpath.dirname(source)
    return posixpath.normpath(posixpath.join(folder, target.split("#")[0]))


def uri_of(source: str) -> str:
    """Path in the site's sources of a file of the repository."""
    path = source.removeprefix("docs/")
    folder, name = posixpath.split(path)
    if name == "README.md":
        return f"{folder or 'index'}.md"
    if name.endswith((".md", *PICTURES)):
        return path
    if name.endswith(".ipynb"):
        return path.removesuffix(".ipynb") + ".md"
    return f"{path}.md"


def as_markdown(source: str, text: str) -> str:
    """The text of the page of a file."""
    if source.endswith(".md"):
        return text
    if source.endswith(".ipynb"):
        return "\n\n".join(map(cell_as_markdown, json.loads(text)["cells"]))
    style = HtmlFormatter(cssclass="highlight", linespans="line", wrapcode=True)
    lexer = find_lexer_class_for_filename(source) or TextLexer
    code = highlight(text, lexer(), style)
    front = "---\nsearch: {exclude: true}\nhide: [toc]\n---\n"
    return f"{front}# {source}\n\n{code}"


def cell_as_markdown(cell: dict) -> str:
    """A cell of a notebook and its outputs: what is printed, and pictures."""
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return text
    parts = [f"```python\n{text}\n```"]
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            image = "".join(data["image/png"]).replace("\n", "")
            parts.append(f"![drawn by the cell](data:image/png;base64,{image})")
        else:
            printed = "".join(output.get("text", data.get("text/plain", "")))
            parts.append(f"```text\n{printed.rstrip()}\n```")
    return "\n\n".join(parts)


def line_of(name: str, path: Path) -> int:
    """Line on which a function, class or `Class.method` begins."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    for part in name.split("."):
        node = next(x for x in nodes if getattr(x, "name", None) == part)
        nodes = getattr(node, "body", [])
    return node.lineno
