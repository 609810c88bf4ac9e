import av
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from actx_tf import visualization
from actx_tf.backbones.description import Axis
from actx_tf.backbones.description import BackboneDescription
from actx_tf.backbones.description import location_centers
from actx_tf.data import read_clip
from actx_tf.prediction import VideoPrediction
from actx_tf.visualization.overlays import map_colors
from tests.harness import clips

SPACE = Axis(((7, 2, None), *[(3, 2, None)] * 3, (2, 2, None)))
# As I3D sees a clip.
I3D = BackboneDescription(
    name="i3d",
    channels=1024,
    time=Axis(((7, 2, None), (3, 2, None), (2, 2, None))),
    height=SPACE,
    width=SPACE,
)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def spot(shape, place):
    """A map that is 1 at a place and 0 elsewhere."""
    values = np.zeros(shape)
    values[place] = 1.0
    return values


def test_a_map_is_resized_as_scipy_interpolates_at_the_centers():
    shape, size = (3, 4, 5), (24, 128, 150)
    values = np.abs(clips(*shape))
    centers = I3D.centers(shape, size)
    # Each frame or pixel p lies at the location (p - start) / stride.
    places = [
        (np.arange(n) - (c[0] * n - 0.5)) / (n * (c[1] - c[0]))
        for n, c in zip(size, centers, strict=True)
    ]
    expected = map_coordinates(
        values, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest"
    )
    np.testing.assert_allclose(
        visualization.resize_map(values, size, centers), expected, atol=1e-5
    )


def test_a_resized_map_peaks_at_the_center_at_any_size_and_frame_rate():
    # Location (1, 2, 1) of I3D sees around frame 13, row 87 and column 55.
    centers = I3D.centers((2, 4, 3), (16, 128, 96))
    values = spot((2, 4, 3), (1, 2, 1))
    for size in ((16, 128, 96), (32, 256, 192), (48, 640, 480)):
        resized = visualization.resize_map(values, size, centers)
        peak = np.array(np.unravel_index(resized.argmax(), size))
        expected = (np.array((13, 87, 55)) + 0.5) / (16, 128, 96) * size - 0.5
        assert np.abs(peak - expected).max() <= 0.5


def test_an_overlay_keeps_frames_where_the_map_is_zero():
    video = noise(9, 35, 21, 3)  # a portrait of odd size
    values = spot((3, 5, 3), (1, 2, 1))
    overlay = visualization.overlay_attention(video, values)
    share = visualization.resize_map(values, video.shape[:3])
    assert overlay.shape == video.shape and overlay.dtype == np.uint8
    np.testing.assert_array_equal(overlay[share == 0], video[share == 0])
    # At its largest value and opacity 1 a map is the end of the scale.
    overlay = visualization.overlay_attention(video, 7 * values, opacity=1.0)
    np.testing.assert_array_equal(overlay[4, 17, 10], map_colors()[-1])


def test_each_step_is_drawn_on_the_frame_in_the_middle_of_what_it_sees():
    video = np.repeat(np.arange(16, dtype=np.uint8) * 10, 32 * 48 * 3)
    video = video.reshape(16, 32, 48, 3)
    shape = (2, 1, 2)
    centers = I3D.centers(shape, video.shape[:3])
    action_map = spot(shape, (1, 0, 1))
    figure = visualization.attention_figure(
        [video], [action_map], [1 - action_map], ["$a_b$"], [centers]
    )
    images = [axis.get_images()[0].get_array() for axis in figure.axes[:6]]
    for step, frame in enumerate((5, 13)):
        np.testing.assert_array_equal(images[step], video[frame])
    np.testing.assert_array_equal(images[2], images[0])  # no action
    changed = np.argwhere((images[3] != images[1]).any(axis=-1))
    assert changed[:, 1].min() > 0 and changed[:, 1].max() == 47
    assert figure.axes[-1].get_ylabel().startswith("share")
    figure.canvas.draw()  # a name with mathematics does not stop it


def test_long_and_portrait_clips_fit_a_figure():
    videos = [noise(100, 64, 36, 3), noise(9, 36, 64, 3)]
    maps = [np.abs(clips(13, 2, 2)), np.abs(clips(3, 2, 2))]
    figure = visualization.attention_figure(videos, maps, maps)
    figure.canvas.draw()
    width, height = figure.get_size_inches()
    assert width < 15 and height < 15


def test_shares_sum_to_a_hundred_at_their_times():
    action_map = np.abs(clips(4, 2, 3))
    centers = I3D.centers((4, 2, 3), (32, 64, 96))
    figure = visualization.action_share_figure(
        action_map, 2.0, centers, noise(32, 64, 96, 3), "<$"
    )
    times, shares = figure.axes[0].get_lines()[0].get_data()
    np.testing.assert_allclose(times, (np.array([5, 13, 21, 29]) + 0.5) / 16)
    assert shares.sum() == pytest.approx(100)
    assert shares.argmax() == action_map.sum(axis=(1, 2)).argmax()
    figure.canvas.draw()


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
@pytest.mark.parametrize("shape", [(30, 41, 63), (7, 64, 36)])
def test_a_written_video_shows_frame_action_and_context(
    tmp_path, suffix, shape
):
    height, width = shape[1:]
    video = np.full((*shape, 3), 90, np.uint8)
    first, last = spot((2, 1, 2), (0, 0, 0)), spot((2, 1, 2), (1, 0, 1))
    path = tmp_path / f"attention{suffix}"
    visualization.save_attention_video(
        path, video, first, last, 24.0, title="a", side=96
    )
    assert list(tmp_path.iterdir()) == [path]
    if suffix == ".mp4":
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        frames, rate = read_clip(path)
        assert len(frames) == len(video)
        assert rate == pytest.approx(24.0, rel=1e-3)
    else:
        with Image.open(path) as image:
            seconds = 0.0
            frames = []
            for k in range(image.n_frames):
                image.seek(k)
                seconds += image.info["duration"] / 1000
                frames.append(np.array(image.convert("RGB")))
        assert seconds == pytest.approx(len(video) / 24, abs=0.01)
    scale = 96 / max(height, width)
    wide = round(scale * width)
    top = frames[0].shape[0] // 3
    left = [8 + k * (wide + 8) for k in range(3)]

    def differs(frame, panel, side):
        """Whether a map is over the left or the right of a panel."""
        x = left[panel] + (5 if side == "left" else wide - 6)
        color = frame[top, x].astype(int)
        return np.abs(color - frame[top, left[0] + 20].astype(int)).max() > 30

    for frame, action, context in (
        (frames[0], True, False),
        (frames[-1], False, True),
    ):
        assert differs(frame, 1, "left") == action
        assert not differs(frame, 1, "right")
        assert differs(frame, 2, "right") == context
        assert not differs(frame, 0, "right")


def prediction_of(action_map, context_map, centers):
    return VideoPrediction(
        num_frames=16,
        read_frames=lambda: (noise(16, 40, 24, 3), 8.0),
        action_map=action_map,
        context_map=context_map,
        centers=centers,
        scores=np.array([0.25, 0.75], "float32"),
        class_names=["run", "$_jump <b>"],
    )


def test_files_of_a_prediction(tmp_path):
    shape = (2, 2, 1)
    maps = [spot(shape, (1, 0, 0)), spot(shape, (0, 1, 0))]
    prediction = prediction_of(*maps, I3D.centers(shape, (16, 40, 24)))
    folder = tmp_path / "new" / "folder"
    written = visualization.save_prediction(prediction, folder)
    names = ["action_share.png", "maps.gif", "maps.mp4", "maps.png"]
    assert sorted(path.name for path in written) == names
    assert sorted(folder.iterdir()) == sorted(written)
    frames, rate = read_clip(folder / "maps.mp4")
    assert len(frames) == 16 and rate == pytest.approx(8.0)
    # Each step is drawn on the frame in the middle of what it sees.
    figure = visualization.prediction_figure(prediction)
    images = [axis.get_images()[0].get_array() for axis in figure.axes[:2]]
    for image, frame in zip(images, (5, 13), strict=True):
        np.testing.assert_array_equal(image, prediction.frames[frame])


def test_a_prediction_without_maps_is_not_drawn(tmp_path):
    prediction = prediction_of(None, None, None)
    for draw in (
        visualization.prediction_figure,
        lambda x: visualization.save_prediction(x, tmp_path / "new"),
    ):
        with pytest.raises(ValueError, match="`prediction` must have maps"):
            draw(prediction)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_drawn_is_told(tmp_path):
    video, values = noise(4, 8, 8, 3), np.ones((1, 2, 2))
    for message, function, arguments in (
        ("same number", visualization.attention_figure, ([video], [], [])),
        (
            "`titles`",
            visualization.attention_figure,
            ([video], [values], [values], ["a", "b"]),
        ),
        ("`video`", visualization.overlay_attention, (video / 255.0, values)),
        ("`attention_map`", visualization.overlay_attention, (video, video)),
        (
            "`opacity`",
            visualization.overlay_attention,
            (video, values, None, 2),
        ),
        (
            "`centers`",
            visualization.resize_map,
            (values, (4, 8, 8), location_centers(None, (2, 2, 2))),
        ),
        ("`size`", visualization.resize_map, (values, (0, 8, 8))),
        (
            "`path`",
            visualization.save_attention_video,
            (tmp_path / "a.avi", video, values, values, 8.0),
        ),
        (
            "`frame_rate`",
            visualization.save_attention_video,
            (tmp_path / "a.gif", video, values, values, 0.0),
        ),
    ):
        with pytest.raises(ValueError, match=message):
            function(*arguments)
    assert not list(tmp_path.iterdir())
