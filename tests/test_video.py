import pathlib
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from actx_tf.data import ClipFrames
from actx_tf.data import VideoError
from actx_tf.data import read_clip
from actx_tf.data import video
from actx_tf.data import video_duration

av = pytest.importorskip("av")

DATA = pathlib.Path(__file__).parents[1].parent / "shared" / "data"
DARKEST = 20
PER_FRAME = 5


def write_video(
    path,
    num_frames=40,
    rate=20,
    times=None,
    codec="libx264",
    options=None,
    size=(48, 64),
    noise=0,
    keyframe_every=250,
):
    """Writes a video whose frames tell their number by their brightness.

    `times`: of each frame, in milliseconds.
    """
    random = np.random.default_rng(0)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000  # so that brightness is kept
        stream.gop_size = keyframe_every
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(num_frames):
            image = np.full((*size, 3), DARKEST + PER_FRAME * number)
            image += random.integers(-noise, noise + 1, image.shape)
            frame = av.VideoFrame.from_ndarray(
                image.clip(0, 255).astype(np.uint8), format="rgb24"
            )
            frame.pts = number
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def numbers(frames):
    """Returns the numbers of the frames."""
    brightness = frames.mean(axis=(1, 2, 3))
    return np.rint((brightness - DARKEST) / PER_FRAME).astype(int).tolist()


FORMATS = {
    "a.mp4": {},
    "fragmented.mp4": {
        "options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "a.mkv": {},
    "a.ts": {},
    "h264.avi": {},
    "mpeg4.avi": {"codec": "mpeg4"},
    "a.h264": {"rate": 25},
}


@pytest.mark.parametrize("name", FORMATS)
def test_sampling(tmp_path, name):
    path = tmp_path / name
    write_video(path, **FORMATS[name])
    rate = FORMATS[name].get("rate", 20)

    frames, frame_rate = read_clip(path)
    assert frames.shape == (40, 48, 64, 3)
    assert frames.dtype == np.uint8
    assert numbers(frames) == list(range(40))
    assert frame_rate == pytest.approx(rate)

    frames, frame_rate = read_clip(path, num_frames=8)
    # The middles of the eight intervals of five frames.
    assert numbers(frames) == list(range(2, 40, 5))
    assert frame_rate == pytest.approx(rate / 5)

    frames, frame_rate = read_clip(path, frame_rate=rate)
    assert numbers(frames) == list(range(40))
    assert frame_rate == rate

    frames, _ = read_clip(path, frame_rate=rate / 2)
    assert numbers(frames) == list(range(1, 40, 2))

    frames, _ = read_clip(path, frame_rate=2 * rate)
    assert numbers(frames) == [number // 2 for number in range(80)]


STRETCHES = [(0.0, 0.5), (0.3, 1.1), (0.625, 0.875), (1.2, 1.75), (1.95, None)]


@pytest.mark.parametrize("start, end", STRETCHES)
@pytest.mark.parametrize("name", FORMATS)
def test_stretch(tmp_path, name, start, end):
    path = tmp_path / name
    write_video(path, keyframe_every=12, **FORMATS[name])
    rate = FORMATS[name].get("rate", 20)
    # The same seconds in frames, whatever the rate.
    part = {"start": start * 20 / rate, "end": end and end * 20 / rate}

    middles = (np.arange(40) + 0.5) / 20
    expected = np.flatnonzero((start <= middles) & (middles < (end or 2)))
    frames, frame_rate = read_clip(path, **part)
    assert numbers(frames) == expected.tolist()
    assert frame_rate == pytest.approx(rate)

    seconds = (end or 2) - start
    frames, frame_rate = read_clip(path, num_frames=3, **part)
    times = start + seconds * (np.arange(3) + 0.5) / 3
    assert numbers(frames) == np.floor(times * 20 + 1e-3).astype(int).tolist()
    assert frame_rate == pytest.approx(3 / seconds * rate / 20)

    frames, _ = read_clip(path, frame_rate=rate / 2, **part)
    times = np.arange(start + 0.05, end or 2, 0.1)
    assert numbers(frames) in (
        # A sample on the border of two frames takes either.
        np.floor(times * 20 + 1e-3).astype(int).tolist() or expected.tolist(),
        np.floor(times * 20 - 1e-3).astype(int).tolist() or expected.tolist(),
    )


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_stretch_is_read_from_the_keyframe_before_it(
    tmp_path, name, monkeypatch
):
    decoded = []
    displayed = video.shown_frames

    def counted(*arguments):
        for frame in displayed(*arguments):
            decoded.append(frame)
            yield frame

    monkeypatch.setattr(video, "shown_frames", counted)
    write_video(tmp_path / name, keyframe_every=12)
    frames, _ = read_clip(tmp_path / name, start=1.3, end=1.5)
    assert numbers(frames) == [26, 27, 28, 29]
    assert len(decoded) <= 12 + 4 + 1


def test_stretch_of_a_varying_frame_rate(tmp_path):
    times = [20 * k for k in range(10)] + [200 + 100 * k for k in range(10)]
    write_video(tmp_path / "a.mp4", num_frames=20, rate=50, times=times)
    frames, _ = read_clip(tmp_path / "a.mp4", start=0.15, end=0.44)
    # Shown for 20 ms each up to frame 9, then for 100 ms.
    assert numbers(frames) == [7, 8, 9, 10, 11]
    frames, _ = read_clip(tmp_path / "a.mp4", 3, start=0.15, end=0.44)
    # At 198, 295 and 392 milliseconds.
    assert numbers(frames) == [9, 10, 11]


def test_time_is_counted_from_the_first_frame(tmp_path):
    # An edited file can begin at any time stamp.
    times = [7000 + 50 * k for k in range(40)]
    write_video(tmp_path / "a.mkv", times=times)
    assert video_duration(tmp_path / "a.mkv") == pytest.approx(2, abs=0.01)
    frames, _ = read_clip(tmp_path / "a.mkv", start=1.5, end=1.75)
    assert numbers(frames) == [30, 31, 32, 33, 34]


@pytest.mark.parametrize("name", FORMATS)
def test_duration(tmp_path, name):
    write_video(tmp_path / name, **FORMATS[name])
    rate = FORMATS[name].get("rate", 20)
    assert video_duration(tmp_path / name) == pytest.approx(40 / rate)


def test_a_stretch_may_end_a_little_after_the_file(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path)
    frames, _ = read_clip(path, start=1.8, end=2.4)
    assert numbers(frames) == [36, 37, 38, 39]
    frames, _ = read_clip(path, num_frames=6, start=1.8, end=2.4)
    assert numbers(frames) == [37, 39, 39, 39, 39, 39]
    with pytest.raises(VideoError, match=r"ends at 2.50 .* the video at 2.00"):
        read_clip(path, start=1.8, end=2.5)
    with pytest.raises(VideoError, match=r"begins at 2.00 .*video ends at 2.0"):
        read_clip(path, start=2.0)
    with pytest.raises(VideoError, match=r"begins at 9.00 .*video ends at 2.0"):
        read_clip(path, num_frames=3, start=9.0)


def test_box(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, num_frames=3, noise=100, size=(60, 80))
    whole, _ = read_clip(path)
    part, _ = read_clip(path, box=(10, 5, 31, 26))
    np.testing.assert_array_equal(part, whole[:, 5:26, 10:31])
    # What lies outside of the frames is cut off.
    part, _ = read_clip(path, box=(-10, 50, 20, 99))
    np.testing.assert_array_equal(part, whole[:, 50:60, :20])
    part, _ = read_clip(path, size=(7, 9), box=(10, 5, 31, 26))
    assert part.shape == (3, 7, 9, 3)
    with pytest.raises(VideoError, match=r"80, 0, 99, 60.*80 pixels wide"):
        read_clip(path, box=(80, 0, 99, 60))


def test_an_image_is_a_clip_of_one_frame(tmp_path):
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (6, 8, 3)).repeat(8, 0).repeat(8, 1)
    frame = av.VideoFrame.from_ndarray(image.astype("uint8"), format="rgb24")
    with av.open(str(tmp_path / "a.jpg"), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "yuvj444p"
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for arguments in ({}, {"num_frames": 1}, {"frame_rate": 5}):
        frames, _ = read_clip(tmp_path / "a.jpg", **arguments)
        assert frames.shape == (1, *image.shape)
        assert np.abs(frames[0].astype(int) - image).mean() < 12
    frames, _ = read_clip(tmp_path / "a.jpg", box=(8, 16, 40, 48))
    assert frames.shape == (1, 32, 32, 3)


def test_more_frames_than_there_are(tmp_path):
    write_video(tmp_path / "a.mp4", num_frames=3)
    frames, frame_rate = read_clip(tmp_path / "a.mp4", num_frames=9)
    assert numbers(frames) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert frame_rate == pytest.approx(60)


def test_one_frame(tmp_path):
    write_video(tmp_path / "a.mp4", num_frames=1)
    for arguments in ({}, {"num_frames": 1}, {"frame_rate": 1}):
        frames, _ = read_clip(tmp_path / "a.mp4", **arguments)
        assert numbers(frames) == [0]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_fractional_rate(tmp_path, name):
    rate = Fraction(30000, 1001)
    write_video(tmp_path / name, rate=rate)
    # Not a frame twice, though neither the float nor Matroska is exact.
    frames, _ = read_clip(tmp_path / name, frame_rate=float(rate))
    assert numbers(frames) == list(range(40))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_varying_frame_rate(tmp_path, name):
    # Ten frames in 0.2 seconds, then ten in 1 second (the last is short).
    times = [20 * k for k in range(10)] + [200 + 100 * k for k in range(10)]
    write_video(tmp_path / name, num_frames=20, rate=50, times=times)
    frames, _ = read_clip(tmp_path / name)
    assert numbers(frames) == list(range(20))
    frames, frame_rate = read_clip(tmp_path / name, frame_rate=10)
    assert frame_rate == 10
    expected = [
        max(number for number in range(20) if times[number] <= time)
        for time in range(51, 1120, 100)  # the middles, in milliseconds
    ]
    assert numbers(frames) == expected


def test_size(tmp_path):
    write_video(tmp_path / "a.mp4")
    frames, _ = read_clip(tmp_path / "a.mp4", num_frames=4, size=(30, 50))
    assert frames.shape == (4, 30, 50, 3)
    assert numbers(frames) == [5, 15, 25, 35]


def test_colors_are_rgb(tmp_path):
    with av.open(str(tmp_path / "red.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        red = np.zeros((32, 32, 3), np.uint8)
        red[..., 0] = 200
        frame = av.VideoFrame.from_ndarray(red, format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames, _ = read_clip(tmp_path / "red.mp4")
    np.testing.assert_allclose(frames[0], red, atol=6)


@pytest.mark.parametrize("moov", ["front", "end"])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.9])
def test_truncated_mp4(tmp_path, moov, share):
    options = {"movflags": "faststart"} if moov == "front" else {}
    path = tmp_path / "a.mp4"
    write_video(path, options=options, noise=20)
    content = path.read_bytes()
    assert (content.index(b"moov") < content.index(b"mdat")) == (
        moov == "front"
    )
    path.write_bytes(content[: int(share * len(content))])
    for arguments in ({}, {"num_frames": 4}, {"frame_rate": 5}):
        with pytest.raises(VideoError, match="a.mp4"):
            read_clip(path, **arguments)


def test_truncated_matroska(tmp_path):
    path = tmp_path / "a.mkv"
    write_video(path, noise=20)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(VideoError, match="a.mkv.*truncated"):
        read_clip(path)


def test_a_frame_or_two_may_be_missing(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, options={"movflags": "faststart"}, noise=20)
    with av.open(str(path)) as container:
        # The file order is the decoding order; its tail are single frames.
        cut = [p.pos for p in container.demux(video=0) if p.size][-2]
    path.write_bytes(path.read_bytes()[:cut])
    frames, _ = read_clip(path)
    assert 37 <= len(frames) <= 39


def test_damaged_in_the_middle(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, options={"movflags": "faststart"}, noise=20)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(VideoError, match="a.mp4"):
        read_clip(path)


def test_what_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video " * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    for name in ("text.mp4", "empty.mp4", "sound.mp4", "missing.mp4", "."):
        for arguments in ({}, {"num_frames": 4}):
            with pytest.raises(VideoError) as info:
                read_clip(tmp_path / name, **arguments)
            assert str(tmp_path / name) in str(info.value)
    for name, problem in (
        ("sound.mp4", "no video stream"),
        ("empty.mp4", "mp4': the file is empty"),
        ("text.mp4", "mp4': FFmpeg cannot read it: Invalid data"),
    ):
        with pytest.raises(VideoError, match=problem):
            read_clip(tmp_path / name)


@pytest.mark.parametrize(
    "arguments, name",
    [
        ({"num_frames": 0}, "num_frames"),
        ({"num_frames": 2.5}, "num_frames"),
        ({"frame_rate": 0.0}, "frame_rate"),
        ({"frame_rate": -1}, "frame_rate"),
        ({"frame_rate": float("nan")}, "frame_rate"),
        ({"frame_rate": float("inf")}, "frame_rate"),
        ({"num_frames": 3, "frame_rate": 3}, "num_frames"),
        ({"size": (0, 32)}, "size"),
        ({"size": 0}, "size"),
        ({"size": 32.5}, "size"),
        ({"size": (32, 32, 3)}, "size"),
        ({"start": -1.0}, "start"),
        ({"start": float("nan")}, "start"),
        ({"start": 2.0, "end": 2.0}, "end"),
        ({"end": float("inf")}, "end"),
        ({"box": (0, 0, 10)}, "box"),
        ({"box": (0, 0, 10, 0)}, "box"),
        ({"box": (0, 0, 10, 0.5)}, "box"),
    ],
)
def test_wrong_arguments(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}`.*Received: ") as info:
        read_clip("unread.mp4", **arguments)
    assert not isinstance(info.value, VideoError)


def test_av_is_imported_late():
    code = """if True:
        import sys
        import actx_tf.data
        assert "av" not in sys.modules
        sys.modules["av"] = None
        try:
            actx_tf.data.read_clip("a.mp4")
        except ImportError as error:
            assert "pip install actx_tf[video]" in str(error)
        else:
            raise AssertionError
    """
    root = pathlib.Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_real_clip():
    path = DATA / "sc_fight" / "fight" / "fi001.mp4"
    if not path.exists():
        pytest.skip("no sc_fight data")
    frames, frame_rate = read_clip(path)
    assert frames.shape == (53, 240, 320, 3)
    assert frame_rate == pytest.approx(25)
    sampled, _ = read_clip(path, frame_rate=16, size=(224, 224))
    assert sampled.shape == (round(53 * 16 / 25), 224, 224, 3)
    assert abs(sampled.mean() - frames.mean()) < 2


@pytest.mark.parametrize(
    ("size", "expected"), [(24, (24, 32)), (96, (96, 128)), (31, (31, 41))]
)
def test_shorter_side(tmp_path, size, expected):
    write_video(tmp_path / "clip.mp4", num_frames=3, size=(48, 64))
    frames, _ = read_clip(tmp_path / "clip.mp4", size=size)
    assert frames.shape[1:3] == expected
    # In a part of the frames it is the part's.
    frames, _ = read_clip(tmp_path / "clip.mp4", size=8, box=(0, 0, 20, 40))
    assert frames.shape[1:3] == (16, 8)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"frame_rate": 7.0}, {"num_frames": 5}, {"start": 0.5, "end": 1.2}],
    ids=str,
)
def test_frames_one_by_one(tmp_path, arguments):
    path = tmp_path / "clip.mp4"
    write_video(path)
    expected, rate = read_clip(path, **arguments)
    clip = ClipFrames(path, **arguments)
    assert clip.count() == len(expected)
    for _ in range(2):  # each iteration begins anew
        np.testing.assert_array_equal(np.stack(list(clip)), expected)
    assert clip.frame_rate == rate
