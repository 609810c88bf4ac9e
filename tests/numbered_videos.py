"""Videos whose frames show their numbers, written and read by FFmpeg itself.

The binary of `imageio-ffmpeg` is another build of FFmpeg than the one inside of
PyAV: what it shows is what a player shows.
"""

import re
import subprocess
from fractions import Fraction

import imageio_ffmpeg
import numpy as np

# Of a number's bits, so many are in each row and column of a frame.
ROWS, COLUMNS = 2, 4
DARK, BRIGHT = 40, 215
# What a player does to frames: whole ones of two fields, of square pixels.
SHOWN = (
    "bwdif=send_frame:auto:interlaced,"
    "scale='round(iw*max(1,sar))':'round(ih*max(1,1/sar))',setsar=1"
)


def run_ffmpeg(*arguments, given=None):
    """Runs FFmpeg; returns its output and its log, bytes and text."""
    result = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), *"-nostdin -nostats -y".split()]
        + [str(argument) for argument in arguments],
        input=given,
        capture_output=True,
    )
    log = result.stderr.decode(errors="replace")
    if result.returncode:
        raise RuntimeError(f"ffmpeg failed: {log[-1000:]}")
    return result.stdout, log


def draw(numbers, height=64, width=96):
    """Frames `(frames, height, width, 3)` that show these numbers."""
    numbers = np.asarray(numbers)[:, None, None]
    rows = np.arange(height)[:, None] * ROWS // height
    columns = np.arange(width) * COLUMNS // width
    bright = numbers >> (rows * COLUMNS + columns) & 1
    frames = np.where(bright, BRIGHT, DARK)[..., None].repeat(3, -1)
    # One corner tells colours.
    frames[:, : height // 8, : width // 8] = (200, 40, 40)
    return frames.astype(np.uint8)


def read_numbers(frames):
    """The numbers that frames show; upright, whatever their size."""
    frames = np.asarray(frames, float).mean(-1)
    _, height, width = frames.shape
    numbers = np.zeros(len(frames), int)
    for row in range(ROWS):
        for column in range(COLUMNS):
            y, x = int((row + 0.5) * height / ROWS), (column + 0.5) * width
            x, rest = int(x / COLUMNS), max(1, height // 16)
            block = frames[:, y - rest : y + rest, x - rest : x + rest]
            bright = block.mean((1, 2)) > (DARK + BRIGHT) / 2
            numbers += bright * 2 ** (row * COLUMNS + column)
    return numbers.tolist()


def write(path, frames, *options, rate=25):
    """Encodes frames with FFmpeg."""
    _, height, width, _ = frames.shape
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}")
    run_ffmpeg(
        *raw, "-r", rate, "-i", "-", *options, path, given=frames.tobytes()
    )


def copy(source, path, *options, before=()):
    """Copies the video of a file into another container."""
    run_ffmpeg(*before, "-i", source, "-c", "copy", *options, path)


def join(path, *parts):
    """Joins files byte by byte, as `cat` does."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))


def read_as_ffmpeg(path, filters=SHOWN, sound=False):
    """What FFmpeg shows: frames, and (begin, seconds) of each.

    `sound`: whether the sound is played, too, as it tells the time.
    """
    played = ("-map", "0:a:0", "-f", "null", "-") if sound else ()
    output, log = run_ffmpeg(
        *("-i", path, "-map", "0:V:0", "-vf", f"{filters},showinfo"),
        *("-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24"),
        *("-", *played),
    )
    unit = float(Fraction(re.search(r"in time_base: (\S+?),", log)[1]))
    times = [
        (int(begin) * unit, int(seconds) * unit)
        for begin, seconds in re.findall(
            r" n: *\d+ pts: *(-?\d+) .*? duration: *(\d+) ", log
        )
    ]
    width, height = re.search(r"showinfo.* s:(\d+)x(\d+) ", log).groups()
    shape = len(times), int(height), int(width), 3
    frames = np.frombuffer(output, np.uint8).reshape(shape)
    first = times[0][0]
    return frames, [(begin - first, seconds) for begin, seconds in times]
