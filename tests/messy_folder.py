"""A folder of videos as people keep them, and what is right to make of it."""

import shutil
import unicodedata
from pathlib import Path

import av
import numpy as np

from tests.lossless import write_lossless

SHAKE = "Händeschütteln"
# A codec that each container takes, and the format of its frames.
CONTAINERS = {
    ".3gp": ("mpeg4", "yuv420p"),
    ".MOV": ("mpeg4", "yuv420p"),
    ".MTS": ("mpeg2video", "yuv420p"),
    ".flv": ("flv", "yuv420p"),
    ".gif": ("gif", "rgb8"),
    ".m2ts": ("mpeg2video", "yuv420p"),
    ".ogv": ("libvpx", "yuv420p"),
    ".ts": ("mpeg2video", "yuv420p"),
    ".vob": ("mpeg2video", "yuv420p"),
    ".webm": ("libvpx", "yuv420p"),
    ".wmv": ("wmv2", "yuv420p"),
}


def write_container(path, seed=0):
    """Writes a short video in the container of the path's suffix."""
    codec, pixels = CONTAINERS[path.suffix]
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 32, pixels
        for _ in range(16):
            image = random.integers(0, 256, (32, 32, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode())


def write_messy_folder(root):
    """Writes it; returns what is right.

    Returns:
        A tuple `(taken, left_out)`: the label and source of each video by its
        path from the root, and the label and reason of all that is none.
    """
    random = np.random.default_rng(0)
    taken, left_out = {}, {}

    def put(label, *paths, source=""):
        for path in paths:
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix in CONTAINERS:
                write_container(file, len(taken))
            else:
                video = random.integers(0, 256, (8, 32, 32, 3), np.uint8)
                write_lossless(file, video)
            taken[path] = label, source

    def put_other(label, reason, *paths, content=b"\0\5\x16\7\0\2\0\0Mac OS X"):
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
            left_out[path] = label, reason

    put("jump", *(f"jump/{i}{x}" for i, x in enumerate(CONTAINERS)))
    put("jump", "jump/a b.mp4", "jump/a_b.mp4", "jump/new one.mp4")
    put("jump", "jump/anna/1.mp4", "jump/anna/2.mp4", source="anna")
    put("jump", "jump/ben/day 1/1.mp4", source="ben")
    put("none", *(f"none/{i}.mp4" for i in range(6)))
    put("none", "none/anna/3.mp4", source="anna")
    put("sit", " sit /1.mp4", " sit /2.mp4", "sit/3.mp4")
    put('a, "b"', 'a, "b"/1.mp4', 'a, "b"/2.mp4')
    nfc, nfd = (unicodedata.normalize(x, SHAKE) for x in ("NFC", "NFD"))
    put(nfc, f"{nfc}/1.mp4", f"{nfc}/2.mp4", f"{nfd}/2.mp4", f"{nfd}/3.mp4")

    put_other("jump", "hidden", "jump/._a b.mp4", "jump/.DS_Store")
    put_other("jump", "hidden", "jump/anna/.ipynb_checkpoints/1.mp4")
    put_other("jump", "not a video (.txt)", "jump/notes.TXT")
    put_other("jump", "not a video (no suffix)", "jump/anna/README")
    put_other("none", "empty", "none/x.mp4", "none/ben/y.mts", content=b"")
    put_other("drafts", "not a video (.odt)", "drafts/ideas.odt")
    put_other(
        "",
        "hidden",
        "__MACOSX/jump/._1.mp4",
        "@eaDir/jump/1.mp4/SYNOVIDEO.mp4",
        ".Trash-1000/files/1.mp4",
        "Thumbs.db",
    )
    put_other("", "not a video (.csv)", "index of 2019.csv")
    for folder, label, reason in (
        ("backup", "backup", "empty folder"),
        ("jump/carla", "jump", "empty folder"),
        (".ipynb_checkpoints", "", "hidden"),
    ):
        (root / folder).mkdir()
        left_out[folder] = label, reason
    shutil.copy(root / "sit/3.mp4", root / "loose.mp4")
    left_out["loose.mp4"] = "", "in no folder of a class"
    (root / "none" / "gone.mp4").symlink_to(root / "moved.mp4")
    left_out["none/gone.mp4"] = "none", "link to nothing"
    (root / "none" / "all").symlink_to(root)
    left_out["none/all"] = "none", "link to a folder around it"
    latin = "none/\udce9.mp4"  # "é" of an old disk
    shutil.copy(root / "sit/3.mp4", root / latin)
    left_out[latin] = "none", "name is not UTF-8"
    return taken, left_out


def all_files(root):
    """All files of a folder and of its folders, from the root on."""
    return {
        str(path.relative_to(root))
        for path in Path(root).rglob("*")
        if not path.is_dir()
    }
