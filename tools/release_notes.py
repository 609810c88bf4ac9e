"""Writes the notes of a release: the CHANGELOG's section of the version.

    python tools/release_notes.py --output=FILE [--tag=v1.2.3]

The version is that of actx_tf/version.py; a tag of another is refused.
"""

import argparse
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def package_version(root: Path) -> str:
    """Returns the version of the package in a folder of the sources."""
    text = (root / "actx_tf" / "version.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)[1]


def notes(changelog: str, version: str) -> str:
    """Returns what a changelog says of a version, without its heading.

    Args:
        changelog: The text of CHANGELOG.md.
        version: Such as `"1.2.3"`.

    Raises:
        ValueError: If there is no section of it with a date, or nothing in it.
    """
    heading = rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d\n"
    if not (found := re.search(heading, changelog, re.MULTILINE)):
        raise ValueError(
            f"CHANGELOG.md must have a heading `## {version} - YYYY-MM-DD`"
        )
    section = re.split(r"^## ", changelog[found.end() :], flags=re.MULTILINE)[0]
    if not (section := section.strip()):
        raise ValueError(f"CHANGELOG.md says nothing of {version}")
    return section + "\n"


def check_tag(tag: str, version: str) -> None:
    """Raises `ValueError` unless a tag is `v` and the version."""
    if tag != f"v{version}":
        raise ValueError(
            f"`tag` must be v{version}, the version of actx_tf/version.py. "
            f"Received: tag={tag}"
        )


def main() -> None:
    """Reads the flags, and writes the notes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tag", default="", help="the tag that is released")
    arguments = parser.parse_args()
    version = package_version(ROOT)
    try:
        if arguments.tag:
            check_tag(arguments.tag, version)
        changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        text = notes(changelog, version)
    except ValueError as error:
        parser.exit(1, f"{error}\n")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
