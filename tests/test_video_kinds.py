"""Each kind of video file that a player shows otherwise than it is stored."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from PIL import ImageOps

from actx_tf.data import ClipFrames
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

av = pytest.importorskip("av")

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "12")
MPEG2 = ("-c:v", "mpeg2video", "-pix_fmt", "yuv420p", "-q:v", "2")


def scene(height=64, width=96, frames=3):
    """A scene without symmetry, as it is seen: red on top, a white box."""
    image = np.full((height, width, 3), (30, 30, 200), np.uint8)
    image[: height // 2] = (200, 30, 30)
    image[height // 2 + 8 : height - 8, 8:24] = 255
    return image[None].repeat(frames, 0)


def close(frames, expected, most=8.0):
    assert frames.shape == expected.shape
    return np.abs(frames.astype(int) - expected).mean() < most


ROTATIONS = {
    # FFmpeg's options, and how a camera held so stores what is seen.
    "90": (["-display_rotation", "90"], lambda x: np.rot90(x, -1, (1, 2))),
    "180": (["-display_rotation", "180"], lambda x: x[:, ::-1, ::-1]),
    "270": (["-display_rotation", "270"], lambda x: np.rot90(x, 1, (1, 2))),
    "mirrored": (
        ["-display_rotation", "0", "-display_hflip"],
        lambda x: x[:, :, ::-1],
    ),
    "upside down": (
        ["-display_rotation", "0", "-display_vflip"],
        lambda x: x[:, ::-1],
    ),
}


def write_rotated(path, rotation, seen, *options):
    before, store = ROTATIONS[rotation]
    stored = path.with_name(f"stored{path.suffix}")
    write(stored, np.ascontiguousarray(store(seen)), *H264, *options)
    copy(stored, path, before=before)


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_rotated(tmp_path, rotation, name):
    path, seen = tmp_path / name, scene()
    write_rotated(path, rotation, seen)
    frames, _ = read_clip(path)
    assert close(frames, seen)
    assert close(frames, read_as_ffmpeg(path)[0], 2.0)
    # What is asked for refers to what is seen.
    assert read_clip(path, size=32)[0].shape == (3, 32, 48, 3)
    box, _ = read_clip(path, box=(8, 40, 24, 56))
    assert box.shape == (3, 16, 16, 3) and box[:, 2:-2, 2:-2].min() > 225


def test_another_angle_is_refused(tmp_path):
    write(tmp_path / "stored.mp4", scene(), *H264)
    path = tmp_path / "a.mp4"
    copy(tmp_path / "stored.mp4", path, before=["-display_rotation", "30"])
    with pytest.raises(VideoError, match="a.mp4.*another angle than 90"):
        read_clip(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_upright_as_its_exif_data_say(tmp_path, orientation):
    image = Image.fromarray(scene()[0])
    exif = image.getexif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    image.save(tmp_path / "a.jpg", exif=exif, quality=95, dpi=(300, 72))
    with Image.open(tmp_path / "a.jpg") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    frames, _ = read_clip(tmp_path / "a.jpg")
    assert close(frames, expected[None], 4.0)


@pytest.mark.parametrize(
    "name, stored, aspect, seen",
    [
        ("a.mp4", (72, 90), "sar=16/11", (72, 131)),  # wide pixels
        ("a.mp4", (48, 72), "sar=8/9", (54, 72)),  # high ones
        ("a.mkv", (48, 72), "sar=8/9", (54, 72)),
        ("a.ts", (64, 96), "sar=4/3", (64, 128)),
        ("a.mpg", (72, 90), "dar=16/9", (72, 128)),  # as on a DVD
        ("a.mpg", (72, 90), "dar=4/3", (72, 96)),
    ],
)
def test_pixels_are_square(tmp_path, name, stored, aspect, seen):
    path = tmp_path / name
    codec = MPEG2 if name == "a.mpg" else H264
    write(path, draw(range(5), *stored), "-vf", f"set{aspect}", *codec)
    frames, _ = read_clip(path)
    assert frames.shape[1:3] == seen
    assert close(frames, read_as_ffmpeg(path)[0], 2.0)
    assert read_numbers(frames) == list(range(5))
    shorter, _ = read_clip(path, size=32)
    height, width = seen
    assert shorter.shape[1:3] == (32, round(32 * width / height))
    with pytest.raises(VideoError, match=f"{width} pixels wide"):
        read_clip(path, box=(width, 0, width + 9, 9))


def test_rotated_frames_of_wide_pixels(tmp_path):
    path = tmp_path / "a.mp4"
    write_rotated(path, "90", scene(96, 64), "-vf", "setsar=3/2")
    frames, _ = read_clip(path)
    # Stored 96 wide and 64 high, made 144 wide, and then turned.
    assert frames.shape == (3, 144, 64, 3)
    assert close(frames, read_as_ffmpeg(path)[0], 2.0)


def test_the_density_of_an_image_is_not_the_shape_of_its_pixels(tmp_path):
    image = Image.fromarray(scene()[0])
    image.save(tmp_path / "a.png", dpi=(300, 72))
    frames, _ = read_clip(tmp_path / "a.png")
    np.testing.assert_array_equal(frames, scene()[:1])


def combing(frames):
    """How far rows differ from the mean of the rows above and below."""
    grey = frames.astype(float).mean(-1)
    return np.abs(grey[:, 1:-1] - (grey[:, :-2] + grey[:, 2:]) / 2).mean()


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("name", ["a.mpg", "a.ts", "a.mp4"])
def test_interlaced(tmp_path, name, order):
    # Fifty fields a second, and a box that moves from each to the next.
    fields = np.zeros((60, 96, 160, 3), np.uint8)
    for number, field in enumerate(fields):
        field[24:72, 2 * number : 2 * number + 32] = 255
    flags = ("-flags", "+ilme+ildct", "-bf", "2", "-g", "12")
    if name == "a.mp4":
        flags = ("-x264opts", f"{order}=1", "-g", "12")
    path = tmp_path / name
    codec = H264 if name == "a.mp4" else MPEG2
    filters = f"interlace=scan={order}:lowpass=0"
    write(path, fields, "-vf", filters, *codec, *flags, rate=50)

    frames, rate = read_clip(path)
    assert len(frames) == 30 and rate == pytest.approx(25)
    stored, _ = read_as_ffmpeg(path, filters="null")
    shown, times = read_as_ffmpeg(path)
    assert combing(stored[2:]) > 4 * combing(frames[2:])
    assert close(frames, shown, 1.0)
    assert video_duration(path) == pytest.approx(1.2)
    assert ClipFrames(path).count() == 30
    # Fields that come before a stretch help with its first frame.
    part, _ = read_clip(path, start=0.48, end=0.8)
    np.testing.assert_array_equal(part, frames[12:20])


def test_frames_that_are_not_flagged_are_left_alone(tmp_path):
    drawn = draw(range(10))
    write(tmp_path / "a.mkv", drawn, "-c:v", "ffv1", "-pix_fmt", "bgr0")
    frames, _ = read_clip(tmp_path / "a.mkv")
    np.testing.assert_array_equal(frames, drawn)


JOINED = {
    "h264.ts": ("ts", H264, ("-g", "8", "-bf", "2")),
    "mpeg2.ts": ("ts", MPEG2, ("-g", "12", "-bf", "2")),
    "mpeg2.mpg": ("mpg", MPEG2, ("-g", "12", "-bf", "2")),
    "mpeg2.vob": ("vob", MPEG2, ("-g", "12", "-bf", "0")),
}


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize("kind", JOINED)
def test_joined(tmp_path, kind, sound):
    suffix, codec, options = JOINED[kind]
    parts = []
    for first in (0, 50, 100):
        parts.append(tmp_path / f"{first}.{suffix}")
        write(parts[-1], draw(range(first, first + 50)), *codec, *options)
        if sound:
            with_sound = tmp_path / f"{first} with sound.{suffix}"
            run_ffmpeg(
                *("-i", parts[-1], "-f", "lavfi", "-i", "sine=d=2"),
                *("-c:v", "copy", "-c:a", "mp2", with_sound),
            )
            parts[-1] = with_sound
    path = tmp_path / f"joined.{suffix}"
    join(path, *parts)
    frames, rate = read_clip(path)
    assert read_numbers(frames) == list(range(150))
    assert rate == pytest.approx(25, rel=0.01)
    assert video_duration(path) == pytest.approx(6.0, abs=0.06)
    frames, _ = read_clip(path, num_frames=15)
    assert np.abs(np.array(read_numbers(frames)) - range(5, 150, 10)).max() <= 1
    for start in (1.6, 2.4, 4.6):
        frames, _ = read_clip(path, start=start, end=start + 0.8)
        expected = np.arange(20) + round(25 * start)
        numbers = np.array(read_numbers(frames))
        assert abs(len(numbers) - 20) <= 1
        assert (np.diff(numbers) == 1).all()
        # The sound of a part can be a little longer than its pictures.
        assert abs(numbers[0] - expected[0]) <= (1 if sound else 0)


@pytest.mark.parametrize("name", ["a.mkv", "a.webm"])
def test_a_clock_that_starts_over_where_it_must_not(tmp_path, name):
    codec = H264 if name == "a.mkv" else ("-c:v", "libvpx", "-b:v", "2M")
    write(tmp_path / name, draw(range(50)), *codec)
    path = tmp_path / f"joined {name}"
    join(path, tmp_path / name, tmp_path / name)
    problem = "joined a.*start over, 1.[89]. seconds back.*concat"
    for arguments in ({}, {"num_frames": 5}, {"frame_rate": 5}):
        with pytest.raises(VideoError, match=problem):
            read_clip(path, **arguments)
    with pytest.raises(VideoError, match=problem):
        video_duration(path)
    frames, _ = read_clip(path, start=0.4, end=0.6)
    assert read_numbers(frames) == [10, 11, 12, 13, 14]


def test_joined_parts_whose_streams_have_other_numbers(tmp_path):
    parts = [tmp_path / "a.ts", tmp_path / "b.ts"]
    write(parts[0], draw(range(50)), *H264)
    write(parts[1], draw(range(50, 100)), *H264, "-mpegts_start_pid", "300")
    join(tmp_path / "c.ts", *parts)
    frames, _ = read_clip(tmp_path / "c.ts")
    # FFmpeg loses the last packet of the first part.
    missing = set(range(100)).difference(read_numbers(frames))
    assert len(frames) >= 99 and missing <= {48, 49}
    # Another program is another film, as to a player.
    other = ("-mpegts_start_pid", "400", "-mpegts_pmt_start_pid", "500")
    write(parts[1], draw(range(50, 100)), *H264, *other)
    join(tmp_path / "c.ts", *parts)
    frames, _ = read_clip(tmp_path / "c.ts")
    assert read_numbers(frames) == list(range(50))


def test_a_jump_ahead_in_mpeg_ts(tmp_path):
    parts = [tmp_path / "a.ts", tmp_path / "b.ts"]
    write(parts[0], draw(range(50)), *H264)
    write(parts[1], draw(range(50, 100)), *H264, "-output_ts_offset", "300")
    join(tmp_path / "c.ts", *parts)
    assert video_duration(tmp_path / "c.ts") == pytest.approx(4.0)
    frames, _ = read_clip(tmp_path / "c.ts", frame_rate=10)
    assert len(frames) == 40
    assert read_numbers(frames) == [
        int(2.5 * k + 1.25 + 1e-6) for k in range(40)
    ]
    frames, _ = read_clip(tmp_path / "c.ts", start=3.0, end=3.2)
    assert read_numbers(frames) == [75, 76, 77, 78, 79]


def test_the_clock_of_mpeg_ts_overflows(tmp_path):
    # Its 33 bits last for 26.5 hours.
    offset = 2**33 / 90000 - 2.4
    path = tmp_path / "a.ts"
    write(path, draw(range(50)), *H264, "-output_ts_offset", offset, "-g", "10")
    frames, _ = read_clip(path)
    assert read_numbers(frames) == list(range(50))
    assert video_duration(path) == pytest.approx(2.0)
    frames, _ = read_clip(path, start=1.2, end=1.6)
    assert read_numbers(frames) == list(range(30, 40))


CUT = (*H264, "-g", "20", "-sc_threshold", "0")


def test_a_recording_that_begins_between_keyframes(tmp_path):
    write(tmp_path / "whole.ts", draw(range(60)), *CUT, "-bf", "0")
    content = (tmp_path / "whole.ts").read_bytes()
    path = tmp_path / "a.ts"
    path.write_bytes(content[188 * (len(content) // 188 // 2) :])
    frames, _ = read_clip(path)
    numbers = read_numbers(frames)
    # From the next keyframe on, as FFmpeg.
    assert numbers == list(range(numbers[0], 60)) and numbers[0] in (20, 40)
    assert numbers == read_numbers(read_as_ffmpeg(path)[0])
    assert video_duration(path) == pytest.approx(len(numbers) / 25)


@pytest.mark.parametrize(
    "codec",
    [
        ("-c:v", "mpeg4", "-q:v", "2", "-bf", "0"),
        ("-c:v", "mpeg4", "-q:v", "2", "-bf", "2"),
        (*H264, "-bf", "2"),
        ("-c:v", "mjpeg", "-q:v", "2"),
    ],
)
def test_empty_chunks_of_avi_repeat_the_frame(tmp_path, codec):
    lossless = tmp_path / "lossless.mkv"
    path = tmp_path / "a.avi"
    write(lossless, draw(range(100)), "-c:v", "ffv1", "-pix_fmt", "bgr0")
    drop = "select='not(between(n,20,44))'"
    options = ("-vf", drop, "-fps_mode", "vfr", *codec)
    run_ffmpeg("-i", lossless, *options, path)
    assert video_duration(path) == pytest.approx(4.0)
    frames, _ = read_clip(path)
    kept = [k for k in range(100) if not 20 <= k <= 44]
    assert read_numbers(frames) == kept
    frames, _ = read_clip(path, frame_rate=25)
    assert read_numbers(frames) == [k if k in kept else 19 for k in range(100)]
    frames, _ = read_clip(path, start=3.0, end=3.2)
    assert read_numbers(frames) == [75, 76, 77, 78, 79]


@pytest.mark.parametrize("name", ["a.mpg", "a.vob", "mpeg1.mpg"])
def test_stretches_of_mpeg_ps(tmp_path, name):
    path = tmp_path / name
    codec = ("-c:v", "mpeg1video" if "1" in name else "mpeg2video", *MPEG2[2:])
    write(path, draw(range(200)), *codec, "-g", "15", "-bf", "2")
    for first in range(1, 180, 14):
        frames, _ = read_clip(path, start=first / 25, end=(first + 5) / 25)
        assert read_numbers(frames) == list(range(first, first + 5))


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.wmv"])
def test_a_late_start_is_no_truncation(tmp_path, name):
    path = tmp_path / name
    codec = ("-c:v", "wmv2", "-q:v", "2") if name == "a.wmv" else H264
    write(path, draw(range(50)), *codec, "-output_ts_offset", "7.3", "-g", "9")
    frames, _ = read_clip(path)
    assert read_numbers(frames) == list(range(50))
    frames, _ = read_clip(path, start=1.2, end=1.4)
    assert read_numbers(frames) == [30, 31, 32, 33, 34]
    if name == "a.mkv":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(VideoError, match="a.mkv.*truncated"):
            read_clip(path)


def boxes(data):
    """The boxes of MP4: their types and contents."""
    while data:
        size, kind = struct.unpack(">I4s", data[:8])
        yield kind, data[8:size]
        data = data[size:]


def box(kind, *contents):
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def put_cover_first(source, path, image):
    """Puts a cover in front of the tracks, as taggers of music do."""
    cover = box(b"data", struct.pack(">II", 13, 0), image)
    handler = box(b"hdlr", bytes(8), b"mdir", b"appl", bytes(9))
    items = box(b"ilst", box(b"covr", cover))
    tags = box(b"udta", box(b"meta", bytes(4), handler, items))
    content = b""
    for kind, inner in boxes(source.read_bytes()):
        if kind == b"moov":
            head, *rest = [
                box(*part) for part in boxes(inner) if part[0] != b"udta"
            ]
            inner = b"".join([head, tags, *rest])
        content += box(kind, inner)
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["first.mp4", "last.mp4", "attached.mkv"])
def test_a_cover_is_passed_over(tmp_path, kind):
    video, path = tmp_path / "video.mp4", tmp_path / kind
    cover = tmp_path / "cover.jpg"
    write(video, draw(range(50)), *H264)
    Image.fromarray(scene(300, 300)[0]).save(cover)
    if kind == "first.mp4":
        put_cover_first(video, path, cover.read_bytes())
        with av.open(str(path)) as container:
            assert container.streams.video[0].name == "mjpeg"
    elif kind == "last.mp4":
        both = ("-map", "1", "-map", "0", "-disposition:v:1", "attached_pic")
        copy(video, path, *both, before=["-i", cover])
    else:
        copy(
            video,
            path,
            "-attach",
            cover,
            "-metadata:s:t",
            "mimetype=image/jpeg",
        )
    frames, rate = read_clip(path)
    assert read_numbers(frames) == list(range(50)) and rate == 25
    assert video_duration(path) == 2.0


def test_music_with_a_cover_is_no_video(tmp_path):
    cover, path = tmp_path / "cover.jpg", tmp_path / "music.mp4"
    Image.fromarray(scene(300, 300)[0]).save(cover)
    run_ffmpeg(
        *("-f", "lavfi", "-i", "sine=d=1", "-i", cover, "-map", "0"),
        *("-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic", path),
    )
    with pytest.raises(VideoError, match="music.mp4.*no video stream"):
        read_clip(path)


def test_animated_webp_is_refused(tmp_path):
    first, *others = [Image.fromarray(frame) for frame in draw(range(5))]
    path = tmp_path / "a.webp"
    first.save(path, save_all=True, append_images=others, duration=100)
    with pytest.raises(VideoError, match="a.webp.*animated WebP.*GIF"):
        read_clip(path)
    first.save(tmp_path / "still.webp", lossless=True)
    frames, _ = read_clip(tmp_path / "still.webp")
    assert read_numbers(frames) == [0]


@pytest.mark.parametrize("codec", [H264, ("-c:v", "mjpeg", "-q:v", "2")])
def test_time_stamps_that_are_all_the_same(tmp_path, codec):
    write(tmp_path / "timed.mkv", draw(range(50)), *codec)
    path = tmp_path / "a.mkv"
    copy(tmp_path / "timed.mkv", path, "-bsf:v", "setts=ts=0")
    assert video_duration(path) == 2.0
    frames, rate = read_clip(path)
    assert read_numbers(frames) == list(range(50)) and rate == 25
    frames, _ = read_clip(path, frame_rate=5)
    assert read_numbers(frames) == list(range(2, 50, 5))
    frames, _ = read_clip(path, start=1.0, end=1.2)
    assert read_numbers(frames) == [25, 26, 27, 28, 29]


def test_a_gif_is_a_video(tmp_path):
    images = [Image.fromarray(frame) for frame in draw(range(5))]
    content = io.BytesIO()
    images[0].save(
        content, "GIF", save_all=True, append_images=images[1:], duration=200
    )
    (tmp_path / "a.gif").write_bytes(content.getvalue())
    frames, rate = read_clip(tmp_path / "a.gif")
    assert read_numbers(frames) == list(range(5)) and rate == 5
