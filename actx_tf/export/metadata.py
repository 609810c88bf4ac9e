"""What an exported model says of itself."""

import json
import math
import os
from pathlib import Path
from typing import Any

from actx_tf.backbones.description import BackboneDescription
from actx_tf.ops.activations import ACTIVATIONS
from actx_tf.version import __version__

PATH = "assets/actx_tf.json"  # in the folder of a version
_KINDS: dict[str, Any] = {
    "actx_tf": str,
    "class_names": list,
    "activation": str,
    "background": list,
    "channels": int,
    "max_steps": int,
    "crop_steps": (int, type(None)),
    "memory": float,
    "signatures": list,
    "backbone": (dict, type(None)),
}


def read_metadata(version_dir: str | os.PathLike) -> dict[str, Any]:
    """Reads what an exported model says of itself.

    A client asks the signature `describe` for the same: see `parse_metadata`.

    Args:
        version_dir: Path of `<base_dir>/<version>`, see `export_saved_model`.

    Returns:
        As `parse_metadata`.

    Raises:
        FileNotFoundError: If there is no such SavedModel.
        ValueError: If it says something else.
    """
    path = Path(version_dir) / PATH
    if not path.is_file():
        raise FileNotFoundError(f"no SavedModel of actx_tf: there is no {path}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8: {error}") from error
    return parse_metadata(text, str(path))


def parse_metadata(text: str, source: str) -> dict[str, Any]:
    """Returns what an exported model says of itself.

    Args:
        text: The content of `assets/actx_tf.json`, or what the signature
            `describe` answers.
        source: What to call it in errors.

    Returns:
        A dictionary: `class_names`; `activation`; `background`, the classes
        that show no action; `channels` of the feature maps; `max_steps` of a
        request, and the `memory` that one of frames may take, in GiB;
        `crop_steps` of the training, `None` if they are not known; the names
        of the `signatures`; `backbone`, the `BackboneDescription` of what makes
        the feature maps, `None` if it is not known; and `actx_tf`, the
        package's version.

    Raises:
        ValueError: If it is anything else.
    """
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: not JSON: {error}") from error
    for key, kinds in _KINDS.items():
        if not isinstance(metadata, dict) or key not in metadata:
            raise ValueError(f"{source}: `{key}` is missing.")
        if not isinstance(metadata[key], kinds):
            raise ValueError(
                f"{source}: `{key}` is of another kind. "
                f"Received: {key}={metadata[key]!r:.80}"
            )
    names, crop_steps = metadata["class_names"], metadata["crop_steps"]
    for key, good in (
        ("class_names", names and all(isinstance(n, str) for n in names)),
        ("activation", metadata["activation"] in ACTIVATIONS),
        ("background", all(name in names for name in metadata["background"])),
        ("channels", metadata["channels"] >= 1),
        ("max_steps", metadata["max_steps"] >= 1),
        ("crop_steps", crop_steps is None or crop_steps >= 1),
        ("memory", 0 < metadata["memory"] < math.inf),
        ("signatures", all(isinstance(s, str) for s in metadata["signatures"])),
    ):
        if not good:
            raise ValueError(
                f"{source}: `{key}` is wrong. "
                f"Received: {key}={metadata[key]!r:.80}"
            )
    if "video" in metadata["signatures"] and metadata["backbone"] is None:
        raise ValueError(f"{source}: `backbone` is missing.")
    if metadata["backbone"] is not None:
        try:
            metadata["backbone"] = BackboneDescription.from_dict(
                metadata["backbone"]
            )
        except ValueError as error:
            raise ValueError(f"{source}: `backbone`: {error}") from error
    return metadata


def metadata_text(backbone: BackboneDescription | None, **about: Any) -> str:
    """Returns what `parse_metadata` reads; `about` has its other keys."""
    description = backbone and backbone.to_dict()
    return json.dumps(
        {"actx_tf": __version__, **about, "backbone": description}, indent=2
    )
