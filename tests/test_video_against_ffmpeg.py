"""Reads files of many kinds as FFmpeg's own binary does.

The suite tries a sample; `python -m tests.test_video_against_ffmpeg` tries all
of them, and prints a table.
"""

import collections
import concurrent.futures
import dataclasses
import itertools
import pathlib
import tempfile

import numpy as np
import pytest

from actx_tf.data import VideoError
from actx_tf.data import read_clip
from actx_tf.data import video_duration
from tests.numbered_videos import copy
from tests.numbered_videos import draw
from tests.numbered_videos import join
from tests.numbered_videos import read_as_ffmpeg
from tests.numbered_videos import read_numbers
from tests.numbered_videos import run_ffmpeg
from tests.numbered_videos import write

pytest.importorskip("av")

SAMPLE = 40
FRAMES = 50
# Two builds of FFmpeg scale and convert with different rounding.
MOST_PIXEL_DIFFERENCE = 2.5
# Containers round times to milliseconds.
MOST_TIME_DIFFERENCE = 0.0025
SLACK = (0.0, MOST_TIME_DIFFERENCE, -MOST_TIME_DIFFERENCE)

YUV = ("-pix_fmt", "yuv420p")
CODECS = {
    "h264": ("-c:v", "libx264", *YUV, "-crf", "12", "-bf", "2", "-g", "12"),
    "h264 one GOP": ("-c:v", "libx264", *YUV, "-crf", "12"),
    "h264 no B": ("-c:v", "libx264", *YUV, "-crf", "12", "-bf", "0", "-g", "9"),
    "h264 open GOP": (
        *("-c:v", "libx264", *YUV, "-crf", "12", "-bf", "3", "-g", "12"),
        *("-x264opts", "open-gop=1:b-pyramid=normal:scenecut=0"),
    ),
    "h264 intra refresh": (
        *("-c:v", "libx264", *YUV, "-crf", "12", "-bf", "0", "-g", "12"),
        *("-x264opts", "intra-refresh=1"),
    ),
    "h264 10 bit": (
        *("-c:v", "libx264", "-pix_fmt", "yuv420p10le", "-crf", "12"),
        *("-g", "12"),
    ),
    "h264 4:4:4": (
        *("-c:v", "libx264", "-pix_fmt", "yuv444p", "-crf", "12", "-g", "12"),
    ),
    "hevc": (
        *("-c:v", "libx265", *YUV, "-crf", "14"),
        *("-x265-params", "keyint=12:log-level=none:pools=1"),
    ),
    "hevc 10 bit": (
        *("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-crf", "14"),
        *("-x265-params", "keyint=12:log-level=none:pools=1"),
    ),
    "av1": (
        *("-c:v", "libaom-av1", *YUV, "-crf", "20", "-cpu-used", "8"),
        *("-g", "12"),
    ),
    "vp8": ("-c:v", "libvpx", *YUV, "-b:v", "2M", "-g", "12", "-cpu-used", "8"),
    "vp9": (
        *("-c:v", "libvpx-vp9", *YUV, "-crf", "15", "-b:v", "0"),
        *("-g", "12", "-cpu-used", "8"),
    ),
    "mpeg1": ("-c:v", "mpeg1video", *YUV, "-q:v", "2", "-bf", "2", "-g", "12"),
    "mpeg2": ("-c:v", "mpeg2video", *YUV, "-q:v", "2", "-bf", "2", "-g", "12"),
    "mpeg2 no B": ("-c:v", "mpeg2video", *YUV, "-q:v", "2", "-g", "12"),
    "mpeg4": ("-c:v", "mpeg4", *YUV, "-q:v", "2", "-g", "12"),
    "mpeg4 B": ("-c:v", "mpeg4", *YUV, "-q:v", "2", "-bf", "2", "-g", "12"),
    "msmpeg4": ("-c:v", "msmpeg4", *YUV, "-q:v", "2", "-g", "12"),
    "wmv2": ("-c:v", "wmv2", *YUV, "-q:v", "2", "-g", "12"),
    "flv1": ("-c:v", "flv", *YUV, "-q:v", "2", "-g", "12"),
    "h263": ("-c:v", "h263", *YUV, "-q:v", "2", "-g", "12"),
    "theora": ("-c:v", "libtheora", *YUV, "-q:v", "9", "-g", "12"),
    "mjpeg": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "2"),
    "prores": ("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le"),
    "ffv1": ("-c:v", "ffv1", "-pix_fmt", "bgr0"),
    "huffyuv": ("-c:v", "huffyuv", "-pix_fmt", "rgb24"),
    "png": ("-c:v", "png", "-pix_fmt", "rgb24"),
    "gif": (
        "-c:v",
        "gif",
    ),
}
CONTAINERS = {
    "mp4": "h264, h264 one GOP, h264 no B, h264 open GOP, h264 intra refresh, "
    "h264 10 bit, h264 4:4:4, hevc, hevc 10 bit, av1, vp9, mpeg4 B, mjpeg",
    "mov": "h264, hevc, prores, mjpeg, png",
    "mkv": "h264, h264 one GOP, h264 open GOP, h264 10 bit, hevc 10 bit, vp9, "
    "mpeg2, mpeg4 B, mjpeg, ffv1",
    "webm": "vp8, vp9, av1",
    "avi": "h264, h264 no B, mpeg4, mpeg4 B, msmpeg4, mjpeg, huffyuv, ffv1",
    "ts": "h264, h264 one GOP, h264 no B, h264 open GOP, hevc, mpeg2, "
    "mpeg2 no B, mpeg4 B",
    "mts": "h264, mpeg2",
    "mpg": "mpeg1, mpeg2, mpeg2 no B",
    "vob": "mpeg2",
    "flv": "h264, flv1",
    "3gp": "h264 no B, h263, mpeg4",
    "wmv": "wmv2, msmpeg4",
    "ogv": "theora",
    "gif": "gif",
    "h264": "h264, h264 no B",
    "m2v": "mpeg2",
}
CLOCKS = ("ts", "mts", "mpg", "vob")
ROTATIONS = ("90", "180", "270", "hflip", "vflip")
KINDS = {
    # Kind of file: the containers, and the codecs of it (all, if empty).
    "plain": (tuple(CONTAINERS), ()),
    "wide pixels": (
        ("mp4", "mov", "mkv", "webm", "avi", "ts", "mpg", "vob", "3gp", "ogv"),
        (),
    ),
    "high pixels": (
        ("mp4", "mkv", "avi", "ts", "mov"),
        ("h264", "mpeg2", "hevc"),
    ),
    "late start": (("mp4", "mkv", "webm", "avi", "flv", "wmv", *CLOCKS), ()),
    "varying rate": (("mp4", "mov", "mkv", "webm", "ts", "flv", "3gp"), ()),
    "29.97 a second": (
        ("mp4", "mkv", "avi", "ts", "mpg", "vob", "webm", "wmv", "flv"),
        (),
    ),
    "sound": (("mp4", "mkv", "avi", "ts", "mpg", "vob", "mov", "flv"), ()),
    **{
        f"rotated {rotation}": (
            ("mp4", "mov", "mkv"),
            ("h264", "hevc", "mjpeg"),
        )
        for rotation in ROTATIONS
    },
    "rotated wide pixels": (("mp4", "mov"), ("h264", "hevc", "mpeg4 B")),
    "top field first": (
        ("mp4", "mkv", "ts", "mts", "mpg", "vob", "mov", "avi"),
        ("h264", "mpeg2", "mpeg2 no B", "ffv1", "prores"),
    ),
    "bottom field first": (
        ("mp4", "mkv", "ts", "mpg", "vob"),
        ("h264", "mpeg2", "prores"),
    ),
    "interlaced wide pixels": (
        ("mp4", "mkv", "ts", "mpg", "vob", "mov"),
        ("h264", "mpeg2", "prores"),
    ),
    "interlaced joined": (CLOCKS, ("h264", "mpeg2")),
    "odd size": (
        ("mp4", "mkv", "mov", "webm", "avi"),
        ("h264 4:4:4", "vp9", "av1", "mpeg4", "mpeg4 B", "ffv1", "png", "vp8"),
    ),
    "odd wide pixels": (
        ("mp4", "mkv", "webm", "avi"),
        ("h264 4:4:4", "vp9", "av1", "mpeg4", "ffv1"),
    ),
    "5 a second": (("mp4", "mkv", "avi", "ts", "webm", "flv", "3gp"), ()),
    "120 a second": (("mp4", "mkv", "avi", "ts", "webm", "mov"), ()),
    "joined": (CLOCKS, ()),
    "joined with sound": (("ts", "mpg"), ()),
    "jump ahead": (CLOCKS, ()),
    "pause of 3 s": (("ts", "mp4", "mkv", "mpg"), ()),
    "clock overflows": (("ts", "mts"), ()),
    "begins between keyframes": (
        ("ts", "mts"),
        ("h264", "h264 no B", "h264 open GOP", "hevc", "mpeg2", "mpeg4 B"),
    ),
    "empty chunks": (("avi",), ()),
    "edit list": (("mp4", "mov"), ("h264", "hevc", "h264 open GOP")),
    "fragmented": (("mp4",), ()),
    "no times": (("mkv",), ()),
    "cover": (("mp4", "mov", "mkv"), ("h264", "hevc", "vp9", "mjpeg")),
}


@dataclasses.dataclass(frozen=True)
class Case:
    kind: str
    container: str
    codec: str

    def __str__(self):
        return f"{self.kind}, {self.container}, {self.codec}"


CASES = [
    Case(kind, container, codec)
    for kind, (containers, codecs) in KINDS.items()
    for container in containers
    for codec in CONTAINERS[container].split(", ")
    if not codecs or codec in codecs
]


def sample():
    # Each kind at least once, and other files with each change of the list.
    random = np.random.default_rng(0)
    order = [CASES[k] for k in random.permutation(len(CASES))]
    once = {case.kind: case for case in order}
    rest = [case for case in order if case not in once.values()]
    return [*once.values(), *rest][:SAMPLE]


def is_interlaced(kind):
    return kind.endswith("field first") or kind.startswith("interlaced")


def pictures(case, first, size):
    """Draws the frames of a part; or their fields, where something moves."""
    numbers = np.arange(first, first + FRAMES)
    if not is_interlaced(case.kind):
        return draw(numbers, *size)
    fields = draw(numbers.repeat(2), *size)
    height, width = size
    rows = slice(height * 7 // 16, height * 9 // 16)  # beside what is read
    for number, field in enumerate(fields):
        left = 20 * number % width
        field[rows, left : left + 20] = 255
    return fields


def make(case, folder):
    """Makes a file, and returns its path."""
    path = folder / f"a.{case.container}"
    codec = [*CODECS[case.codec]]
    size = (64, 96)
    if case.codec in ("h263", "prores"):
        size = (144, 176)
    kind = case.kind
    if kind.startswith("odd"):
        size = (61, 97)
    frames = pictures(case, 0, size)
    rate = "25"
    if kind.endswith("a second"):
        rate = kind.split()[0].replace("29.97", "30000/1001")
    filters, before, output = [], [], []
    if "wide pixels" in kind:
        wide = "dar=16/9" if "mpeg" in case.codec[:5] else "sar=16/11"
        filters.append(f"set{wide}")
    if kind == "high pixels":
        filters.append("setdar=4/3" if case.codec == "mpeg2" else "setsar=8/9")
    if kind.startswith("rotated"):
        turn = kind.split()[1]
        turn = turn if turn in ROTATIONS else "90"
        before = ["-display_rotation", "0", f"-display_{turn}"]
        if turn.isdigit():
            before = ["-display_rotation", turn]
            frames = np.rot90(frames, -int(turn) // 90, (1, 2))
        else:
            axis = 2 if turn == "hflip" else 1
            frames = np.flip(frames, axis)
        frames = np.ascontiguousarray(frames)
    if is_interlaced(kind):
        order = "bff" if "bottom" in kind else "tff"
        rate = "50"
        filters.append(f"interlace=scan={order}:lowpass=0")
        if "h264" in case.codec:
            codec += ["-x264opts", f"{order}=1"]
        else:
            codec += ["-flags", "+ilme+ildct"]
    if kind == "varying rate":
        filters.append("setpts='(N+3*floor(N/4))/25/TB'")
        output += ["-fps_mode", "vfr"]
    if kind == "pause of 3 s":
        filters.append("setpts='(N+75*gte(N,20))/25/TB'")
        output += ["-fps_mode", "vfr"]
    if kind == "empty chunks":
        filters.append("select='not(between(n,11,18)+between(n,30,31))'")
        output += ["-fps_mode", "vfr"]
    if kind == "late start":
        output += ["-output_ts_offset", "7.3"]
    if kind == "clock overflows":
        output += ["-output_ts_offset", str(2**33 / 90000 - 2.4)]
    if kind == "fragmented":
        output += ["-movflags", "frag_keyframe+empty_moov"]
    if filters:
        codec += ["-vf", ",".join(filters)]
    if case.container == "3gp" and case.codec == "h263":
        codec += ["-s", "176x144"]
    write(path, frames, *codec, *output, rate=rate)
    return change(case, path, codec, before)


def change(case, path, codec, before):
    """Does what is done to a file that is already encoded."""
    kind, changed = case.kind, path.with_name(f"changed.{case.container}")
    if before:
        copy(path, changed, before=before)
    elif "sound" in kind:
        changed = add_sound(path, changed)
        if kind.startswith("joined"):
            joined = path.with_name(f"joined.{case.container}")
            join(joined, changed, changed)
            changed = joined
    elif kind in ("joined", "interlaced joined", "jump ahead"):
        second = path.with_name(f"second.{case.container}")
        offset = ["-output_ts_offset", "300"] if kind == "jump ahead" else []
        rate = "50" if is_interlaced(kind) else "25"
        frames = pictures(case, FRAMES, (64, 96))
        write(second, frames, *codec, *offset, rate=rate)
        join(changed, path, second)
    elif kind == "begins between keyframes":
        content = path.read_bytes()
        packet = 192 if case.container == "mts" else 188
        start = packet * (len(content) // packet // 3)
        changed.write_bytes(content[start:])
    elif kind == "edit list":
        copy(path, changed, before=["-ss", "0.7"])
    elif kind == "cover":
        cover = path.with_name("cover.png")
        write(cover, draw([77], 256, 256), "-frames:v", "1")
        kept = ("-map", "1", "-map", "0", "-disposition:v:1", "attached_pic")
        if case.container == "mkv":
            kept = ("-attach", cover, "-metadata:s:t", "mimetype=image/png")
        copy(path, changed, *kept, before=("-i", cover) * ("-map" in kept))
    elif kind == "no times":
        copy(path, changed, "-bsf:v", "setts=ts=0")
    else:
        return path
    return changed


def add_sound(path, changed):
    seconds = FRAMES / 25
    codec = {".flv": "aac", ".mp4": "aac", ".mov": "aac"}.get(
        path.suffix, "mp2"
    )
    run_ffmpeg(
        *("-i", path, "-f", "lavfi", "-i", f"sine=d={seconds}"),
        *("-map", "0", "-map", "1", "-c:v", "copy", "-c:a", codec, changed),
    )
    return changed


class Reference:
    """What FFmpeg shows of a file, frame by frame."""

    def __init__(self, case, path):
        self.frames, times = read_as_ffmpeg(path, sound="sound" in case.kind)
        self.numbers = np.array(read_numbers(self.frames))
        begins = np.maximum.accumulate([begin for begin, _ in times])
        if case.kind == "no times" or case.container in ("h264", "m2v"):
            begins = np.arange(len(times)) / 25  # FFmpeg tells no times
        self.begins = begins
        last = times[-1][1]
        if not 0 < last < 0.5 or case.kind == "no times":
            last = 1 / 25
        self.ends = np.append(begins[1:], begins[-1] + last)

    def within(self, start, end):
        """The frames whose middles are in a stretch, and what else could be."""
        middles = (self.begins + self.ends) / 2
        for first, last in itertools.product(SLACK, SLACK):
            inside = (start + first <= middles) & (middles < end + last)
            if not inside.any():  # take the frame that is shown then
                inside = [np.flatnonzero(self.begins < end + last)[-1]]
            yield self.numbers[inside].tolist()

    def at(self, times):
        """The frames on display at these times, a little before and after."""
        slack = np.array(
            [[0.0], [MOST_TIME_DIFFERENCE], [-MOST_TIME_DIFFERENCE]]
        )
        found = np.searchsorted(self.begins, times + slack, "right") - 1
        return self.numbers[found.clip(0, len(self.numbers) - 1)]


def check(case, path, reference):
    frames, rate = read_clip(path)
    found = read_numbers(frames)
    assert found == reference.numbers.tolist(), "frames of the whole file"
    assert frames.shape == reference.frames.shape, "shape"
    difference = np.abs(frames.astype(int) - reference.frames).mean((1, 2, 3))
    assert difference.max() < MOST_PIXEL_DIFFERENCE, "pixels"

    length = reference.ends[-1]
    seconds = video_duration(path)
    half = 0.5 * length / len(frames)
    assert abs(seconds - length) < half + MOST_TIME_DIFFERENCE, "duration"
    assert abs(len(frames) / rate - length) < half + 0.003, "mean rate"

    # Times: the frame on display at each hundredth of a second.
    fine = read_numbers(read_clip(path, frame_rate=100)[0])
    times = (np.arange(len(fine)) + 0.5) / 100
    assert abs(len(fine) / 100 - length) < 0.03, "length at 100 a second"
    assert (fine == reference.at(times)).any(0).all(), "times"

    start, end = length * np.array([0.37, 0.71])
    shares = (0.03, 0.52, 0.77, 0.93)
    parts = [(share * length, (share + 0.06) * length) for share in shares]
    for part in [(start, end), *parts]:
        found = read_numbers(read_clip(path, start=part[0], end=part[1])[0])
        assert found in reference.within(*part), "stretch"

    for part in ({}, {"start": start, "end": end}):
        begin, stop = part.get("start", 0.0), part.get("end", length)
        found = read_numbers(read_clip(path, frame_rate=9, **part)[0])
        times = begin + (np.arange(len(found)) + 0.5) / 9
        assert abs(len(found) / 9 - (stop - begin)) < 1 / 9, "frames at a rate"
        assert (found == reference.at(times)).any(0).all(), "frame rate"
        found = read_numbers(read_clip(path, num_frames=11, **part)[0])
        times = begin + (np.arange(11) + 0.5) / 11 * (stop - begin)
        assert (found == reference.at(times)).any(0).all(), "num_frames"


@pytest.mark.parametrize("case", sample(), ids=str)
def test_as_ffmpeg(tmp_path, case):
    try:
        path = make(case, tmp_path)
    except RuntimeError as error:
        pytest.skip(f"FFmpeg makes no such file: {error}")
    check(case, path, Reference(case, path))


def outcome(case):
    """What came of a case, and why."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = make(case, pathlib.Path(folder))
            reference = Reference(case, path)
        except RuntimeError as error:
            return "not made", str(error).splitlines()[-1]
        try:
            check(case, path, reference)
        except AssertionError as error:
            return "differ", str(error).splitlines()[0]
        except VideoError as error:
            return "refused", str(error).replace(folder, "")
        return "agree", ""


def main():
    columns = "agree", "differ", "refused", "not made"
    counts = collections.defaultdict(collections.Counter)
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        outcomes = threads.map(outcome, CASES)
        for case, (found, why) in zip(CASES, outcomes, strict=True):
            counts[case.kind][found] += 1
            counts["all"][found] += 1
            if why:
                print(f"{case}: {found}: {why}", flush=True)
    print(f"| kind | {' | '.join(columns)} |")
    print(f"| --- |{' --- |' * len(columns)}")
    for kind, count in counts.items():
        cells = [str(count[column]) for column in columns]
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
