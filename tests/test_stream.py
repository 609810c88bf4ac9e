"""Videos that go on: cameras, addresses, pipes, files that are played."""

import contextlib
import http.server
import io
import json
import os
import signal
import threading
import time
import weakref

import keras
import numpy as np
import pytest
from PIL import Image

from actx_tf.backbones import make_backbone
from actx_tf.cli.main import main
from actx_tf.data import VideoError
from actx_tf.data import live_video
from actx_tf.data import synthetic
from actx_tf.data.live_video import LiveFrames
from actx_tf.export import export_saved_model
from actx_tf.models import ACF
from actx_tf.models import ActX
from actx_tf.prediction import VideoPredictor
from tests.harness import PROCESSES
from tests.harness import run_command
from tests.lossless import write_lossless
from tests.served import CHANNELS
from tests.test_prediction import Frame
from tests.test_prediction import films


@pytest.fixture(scope="module")
def simple():
    """A model whose steps see their own four frames alone."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((None, 48, 48, 3)),
            keras.layers.Conv3D(8, (4, 8, 8), strides=(4, 8, 8)),
        ]
    )
    backbone = make_backbone(
        network, frame_rate=8.0, size=(48, 48), value_range=(-1, 1)
    )
    model = ActX(3, rho=40.0, description=backbone.description)
    model.build((None, None, None, None, 8))
    return VideoPredictor(model, backbone)


@pytest.fixture
def at_once(monkeypatch):
    """Files are played without waiting."""
    monkeypatch.setattr(LiveFrames, "_wait", lambda self, seconds: None)


def test_statistics_are_those_of_the_clip_up_to_the_window(
    simple, served, tmp_path, at_once
):
    path, _ = films(tmp_path, 96)
    for predictor in (simple, served.predictor):
        windows = list(predictor.stream(path, window=2.0))
        assert [(w.start, w.end) for w in windows] == [
            (2.0 * k, 2.0 * k + 2) for k in range(6)
        ]
        whole, last = predictor(path), windows[-1]
        # S_act = 1 - C holds AttNorm and the percentile alone.
        np.testing.assert_allclose(
            last.context_map, whole.context_map[-4:], atol=1e-5
        )
        # S_att is over the window.
        ours, expected = last.action_map, whole.action_map[-4:]
        np.testing.assert_allclose(
            ours / ours.sum(), expected / expected.sum(), atol=1e-5
        )
    first = simple(path, end=2.0)
    (first_window, *_) = simple.stream(path, window=2.0)
    np.testing.assert_allclose(first_window.scores, first.scores, atol=1e-5)


def test_a_scene_that_stays_the_same_is_answered_as_the_whole(
    simple, tmp_path, at_once
):
    rng = np.random.default_rng(2)
    block = rng.integers(0, 256, (16, 48, 48, 3), np.uint8)
    path = write_lossless(tmp_path / "loop.mp4", np.tile(block, (20, 1, 1, 1)))
    whole = simple(path).scores
    errors = [
        np.abs(window.scores - whole).max()
        for window in simple.stream(path, window=2.0)
    ]
    assert len(errors) == 20
    # The percentile of the same values many times over is not that of once.
    assert errors[-1] < 1e-5
    assert errors[-1] <= errors[0]
    # Windows by themselves are off by as much to the end.
    alone = simple.timeline(path, window=2.0, overlap=0.0).scores
    assert np.abs(alone[-1] - whole).max() == pytest.approx(errors[0], abs=1e-6)


def test_what_is_older_than_the_history_is_forgotten(simple, tmp_path, at_once):
    path, _ = films(tmp_path, 96)
    *_, last = simple.stream(path, window=2.0, history=2.0)
    kept = simple(path, start=8.0)  # its own window, and the one before it
    np.testing.assert_allclose(
        last.context_map, kept.context_map[-4:], atol=1e-5
    )


def test_a_file_is_played_in_real_time(served, tmp_path):
    path, _ = films(tmp_path, 20)
    predictor = served.predictor
    list(predictor.stream(path))  # what is made once is made
    began = time.monotonic()
    ends, came = [], []
    for window in predictor.stream(path, window=0.5):
        came.append(time.monotonic() - began)
        ends.append(window.end)
    assert ends == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert came[-1] >= 2.5
    for end, moment in zip(ends, came, strict=True):
        assert end <= moment
    # A step sees two steps more, and a window has one: it waits for one.
    assert came[0] < 2.0


def test_no_more_is_held_than_a_window_and_what_waits(
    simple, tmp_path, at_once, monkeypatch
):
    alive, most = set(), [0]
    read = LiveFrames._frames

    def counted(self):
        for frame in read(self):
            frame = frame.view(Frame)
            alive.add(id(frame))
            weakref.finalize(frame, alive.discard, id(frame))
            most[0] = max(most[0], len(alive))
            yield frame

    monkeypatch.setattr(LiveFrames, "_frames", counted)
    for count in (64, 400):
        path, _ = films(tmp_path, count)
        assert len(list(simple.stream(path, window=1.0))) == count // 8
    assert 0 < most[0] <= 2 * 8 + 4


@pytest.fixture
def slow(simple, monkeypatch):
    """A machine that takes longer than the video."""
    network = simple._model.network._network

    def run(frames):
        time.sleep(0.02)
        return network(frames)

    monkeypatch.setattr(simple._model.network, "_network", run)


def test_what_a_live_source_loses_is_counted(
    simple, slow, tmp_path, at_once, monkeypatch
):
    path, _ = films(tmp_path, 400)
    opened = LiveFrames._open_source

    def live(self):
        stream = opened(self)
        self.is_live = True
        return stream

    monkeypatch.setattr(LiveFrames, "_open_source", live)
    end = dropped = 0
    for window in simple.stream(path, window=1.0):
        assert window.start * 8 - end == window.dropped
        end = window.end * 8
        dropped += window.dropped
    assert end == 400 and dropped > 0


def test_other_sources_wait_for_a_slow_machine(simple, slow, tmp_path, at_once):
    path, _ = films(tmp_path, 400)
    windows = list(simple.stream(path, window=1.0))
    assert len(windows) == 50 and not any(w.dropped for w in windows)


@contextlib.contextmanager
def standard_input(content):
    """Gives the process bytes as its standard input."""
    kept = os.dup(0)
    end, begin = os.pipe()
    os.dup2(end, 0)
    os.close(end)

    def write():
        with open(begin, "wb") as file, contextlib.suppress(BrokenPipeError):
            file.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        os.dup2(kept, 0)  # closes the pipe
        os.close(kept)
        writer.join()


def test_a_pipe(simple, tmp_path):
    path, video = films(tmp_path, 40, name="pipe.mkv")
    with standard_input(path.read_bytes()):
        piped = list(simple.stream("-", window=1.0))
    assert len(piped) == 5
    whole = simple(path)
    np.testing.assert_allclose(
        piped[-1].context_map, whole.context_map[-2:], atol=1e-5
    )
    path, _ = films(tmp_path, 40)
    with (
        standard_input(path.read_bytes()),
        pytest.raises(VideoError, match="'-': .*must be fragmented"),
    ):
        next(simple.stream("-"))


class Camera(http.server.BaseHTTPRequestHandler):
    """Sends JPEGs, as cameras of a network do, and then no more."""

    def do_GET(self):
        self.send_response(200)
        self.send_header(
            "Content-Type", "multipart/x-mixed-replace; boundary=frame"
        )
        self.end_headers()
        rng = np.random.default_rng(0)
        for _ in range(30):
            file = io.BytesIO()
            image = rng.integers(0, 256, (48, 48, 3), np.uint8)
            Image.fromarray(image).save(file, "jpeg")
            jpeg = file.getvalue()
            self.wfile.write(
                b"--frame\r\nContent-Type: image/jpeg\r\n"
                + f"Content-Length: {len(jpeg)}\r\n\r\n".encode()
                + jpeg
                + b"\r\n"
            )
            time.sleep(0.05)
        if self.path == "/stalls":
            time.sleep(3)

    def log_message(self, *args):
        pass


@pytest.fixture
def camera():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_camera_of_the_network(simple, camera, monkeypatch):
    began = time.monotonic()
    windows = []
    with pytest.raises(VideoError, match=r"/a': it stopped sending"):
        windows.extend(simple.stream(f"{camera}/a", window=0.5))
    assert time.monotonic() - began >= 1.4
    # Its frames have no times: they are shown when they come.
    assert 1.0 <= windows[-1].end <= 4.0
    assert all(np.isfinite(window.scores).all() for window in windows)
    monkeypatch.setattr(live_video, "_TIMEOUT", 1.0)
    with pytest.raises(VideoError, match="nothing came for 1 seconds"):
        list(simple.stream(f"{camera}/stalls", window=0.5))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("none.mp4", "'none.mp4': there is no such file"),
        (".", "'.': it is a folder, not a file"),
        ("7", "'7': "),
        ("http://me:secret@127.0.0.1:1/a?key=secret", "'http://127.0.0.1:1/a'"),
        ("rtsp://me:secret@127.0.0.1:1/a", "'rtsp://127.0.0.1:1/a'"),
        ("file:///etc/passwd", "addresses begin with one of rtsp"),
        ("concat://a.mp4", "addresses begin with one of rtsp"),
        ("pipe:0", "there is no such file"),
    ],
)
def test_sources_that_cannot_be_opened(simple, source, words):
    with pytest.raises(VideoError, match=words.replace("?", r"\?")) as error:
        next(simple.stream(source))
    assert "secret" not in str(error.value)


def test_a_file_opens_no_address(simple, tmp_path, camera):
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
        f"{camera}/a\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(VideoError, match="list.m3u8"):
        next(simple.stream(playlist))


def test_backbones_whose_steps_see_a_clip_answer_clips(tmp_path, at_once):
    network = synthetic.backbone().network
    backbone = make_backbone(network, num_frames=8, size=(48, 48))
    model = ACF(2, class_names=["a", "b"], description=backbone.description)
    model.build((None, None, None, None, CHANNELS))
    predictor = VideoPredictor(model, backbone)
    path, _ = films(tmp_path, 44)
    windows = list(predictor.stream(path, window=2.0))
    assert [w.end for w in windows] == [2.0, 4.0]
    for window in windows:
        alone = predictor(path, start=window.start, end=window.end)
        np.testing.assert_allclose(window.scores, alone.scores, atol=1e-5)
        assert window.action_map is None and window.label in "ab"
    with pytest.raises(ValueError, match="`window` must be given in seconds"):
        predictor.stream(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": -1}, "`window` must be positive and finite"),
        ({"window": 0.1}, "`window` must be a step, 0.5 seconds"),
        ({"history": 0}, "`history` must be positive"),
        ({"source": -1}, "`source` must be the number of a camera"),
    ],
)
def test_wrong_arguments(simple, tmp_path, options, words):
    path, _ = films(tmp_path, 8)
    with pytest.raises(ValueError, match=words):
        next(simple.stream(**{"source": path, **options}))


def test_the_command_writes_lines(served, simple, tmp_path, capfd, at_once):
    path, _ = films(tmp_path, 36)
    flags = ["predict", f"--stream={path}", f"--model={served.path}"]
    flags.append("--window=2")
    expected = list(served.predictor.stream(path, window=2.0))
    assert main(flags) == 0
    output, error = capfd.readouterr()
    head, *lines = output.splitlines()
    assert head.startswith("start,end,dropped,label,score_wave,score_jump")
    assert len(lines) == len(expected) == 3
    assert lines[0].startswith(f"0.0,2.0,0,{expected[0].label},")
    assert "by itself" not in error
    assert error.splitlines()[-1] == (
        "actx predict: windows answered: 3, up to 4.50 s; frames dropped: 0"
    )
    output = tmp_path / "lines.jsonl"
    assert main([*flags, f"--output={output}"]) == 0
    for line, window in zip(
        output.read_text("utf-8").splitlines(), expected, strict=True
    ):
        line = json.loads(line)
        assert (line["start"], line["end"]) == (window.start, window.end)
        assert list(line["scores"]) == list(window.class_names)
        np.testing.assert_allclose(
            list(line["scores"].values()), window.scores, atol=1e-4
        )
    capfd.readouterr()
    # The lines of another stream are not written over.
    assert main([*flags, f"--output={output}"]) == 1
    assert "is there already" in capfd.readouterr().err
    # A source that cannot be opened leaves no file that its next try meets.
    output = tmp_path / "none.csv"
    assert main([*flags, "--stream=none.mp4", f"--output={output}"]) == 1
    assert not output.exists()
    capfd.readouterr()
    assert main([*flags[:-1], "--stream=none.mp4"]) == 1
    _, error = capfd.readouterr()
    assert error.splitlines()[-1] == (
        "actx predict: error: 'none.mp4': there is no such file"
    )


def test_a_model_that_takes_nothing_of_earlier_windows_is_said_to(
    tmp_path, capfd, at_once
):
    backbone = synthetic.backbone()
    model = ACF(2, class_names=["a", "b"], description=backbone.description)
    model.build((None, None, None, None, CHANNELS))
    export_saved_model(model, tmp_path / "model", backbone=backbone)
    path, _ = films(tmp_path, 36)
    flags = ["predict", f"--stream={path}", f"--model={tmp_path / 'model'}"]
    assert main([*flags, "--window=2"]) == 0
    said = [
        line
        for line in capfd.readouterr().err.splitlines()
        if "each is answered by itself" in line
    ]
    assert len(said) == 1 and said[0].startswith("actx predict: the model")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--stream=0", "--segments"], "--segments is for files"),
        (["--stream=0", "--start=3"], "--start and --end are for files"),
        (["--stream=0", "a.mp4"], "one of them"),
        ([], "one of them"),
        (["a.mp4", "--format=json"], "--format is for --stream"),
    ],
)
def test_wrong_flags(flags, words, capsys):
    assert main(["predict", "--model=m", *flags]) == 2
    assert words in capsys.readouterr().err


def test_ctrl_c_is_how_a_stream_ends(served, tmp_path):
    path, _ = films(tmp_path, 2000)
    lines = tmp_path / "lines.csv"
    flags = ["predict", f"--stream={path}", f"--model={served.path}"]
    flags += ["--window=0.5", f"--output={lines}"]
    outputs = [tmp_path / name for name in ("stdout", "stderr")]
    process = PROCESSES.Process(
        target=run_command, args=("actx", flags, tmp_path, outputs)
    )
    process.start()
    deadline = time.monotonic() + 120
    # Each line is there as soon as its window is answered.
    while not (lines.exists() and lines.read_bytes().count(b"\n") > 2):
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    process.join(30)
    error = outputs[1].read_text("utf-8")
    assert process.exitcode == 0, error
    last = error.splitlines()[-1]
    assert (
        last.startswith("actx predict: windows answered: ")
        and "Trace" not in error
    )
    assert lines.read_text("utf-8").endswith("\n")
