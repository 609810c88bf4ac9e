"""The page of clips: what is in it, and what a browser shows, offline."""

import base64
import dataclasses
import io
import json
import re
import time

import keras
import numpy as np
import pytest
from PIL import Image

from actx_tf.backbones.description import location_centers
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import VideoError
from actx_tf.data import read_clip_index
from actx_tf.data import synthetic
from actx_tf.models import ACF
from actx_tf.models import ActX
from actx_tf.prediction import VideoPrediction
from actx_tf.visualization import PageClip
from actx_tf.visualization import overlay_attention
from actx_tf.visualization import view_clips
from actx_tf.visualization import write_page
from actx_tf.visualization.page_clips import built_in_clips
from tests.browser import browser as browser  # a fixture
from tests.harness import run_actx
from tests.lossless import write_lossless

CLASSES = ("</script><b>jump</b>", 'run & "hide"', "wink—😉")
NAMES = ["<!--<script>alert(1)", "{{data}} <b>", "c", "d&amp;"]
MODES = ("both", "action", "context", "act", "none")


# A network that sees frames as they are in the file.
DESCRIPTION = dataclasses.replace(
    synthetic.backbone().description, channels=8, size=None
)


def make_model(path=None, **kwargs):
    keras.utils.set_random_seed(0)
    known = {"class_names": sorted(CLASSES), "description": DESCRIPTION}
    model = ActX(len(CLASSES), **{**known, **kwargs})
    model.build((None, None, None, None, 8))
    model.head.kernel.assign(3 * model.head.kernel)  # surer of itself
    if path:
        model.save(path)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, a store and an index of four videos and a missing one."""
    folder = tmp_path_factory.mktemp("clips")
    make_model(folder / "actx.keras")
    rng = np.random.default_rng(0)
    lines = ["clip,file,label,split,conjugates"]
    with FeatureStoreWriter(folder / "store", DESCRIPTION) as store:
        for k, name in enumerate([*NAMES, "missing"]):
            label = CLASSES[k % 3]
            shape = (200, 120) if k == 1 else (200, 336)
            if name != "missing":
                video = rng.integers(0, 256, (20, 10, 12, 3), np.uint8)
                if k == 1:
                    video[:] = 90
                video = [
                    np.array(Image.fromarray(x).resize(shape[::-1]))
                    for x in video
                ]
                write_lossless(folder / f"{k}.mp4", np.stack(video), rate=10)
            fields = [name, f"{k}.mp4", label, "test", ""]
            lines.append(
                ",".join('"' + f.replace('"', '""') + '"' for f in fields)
            )
            store.add(
                name,
                rng.normal(size=(5, *(n // 8 for n in shape), 8)),
                label=label,
                split="test",
                frame_rate=10.0,
                frames=20,
            )
    lines.append("unstored,0.mp4,run,test,")
    (folder / "index.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def run_view_clips(folder, name, *flags):
    path = folder / name
    result = run_actx(
        "view",
        f"--model={folder / 'actx.keras'}",
        f"--features={folder / 'store'}",
        f"--index={folder / 'index.csv'}",
        f"--output={path}",
        *flags,
    )
    return path, result


@pytest.fixture(scope="module")
def page(folder):
    path, result = run_view_clips(folder, "page.html", "--title=<i>Mine</i>")
    assert result.returncode == 0, result.stderr
    assert "left out: missing" in result.stdout
    return path


def read_data(path):
    text = path.read_text(encoding="utf-8")
    pattern = r'<script type="application/json" id="data">(.*?)</script>'
    return json.loads(re.search(pattern, text, re.DOTALL)[1])


def read_frames(clip):
    return np.stack(
        [
            np.array(Image.open(io.BytesIO(base64.b64decode(jpeg))))
            for jpeg in clip["frames"]
        ]
    )


class Viewer:
    """The page in the browser, as its user sees it."""

    def __init__(self, browser, page, width=1280, height=900, clip="#1"):
        self.browser = browser
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": width,
                "height": height,
                "deviceScaleFactor": 1,
                "mobile": False,
            },
        )
        browser.get("about:blank")
        browser.get(page.as_uri() + clip)
        self.wait()

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def until(self, script):
        for _ in range(200):
            if self.run(f"return {script}"):
                return
            time.sleep(0.02)
        raise AssertionError(f"never: {script}")

    def wait(self):
        self.until("document.body.dataset.ready === 'true'")

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()
        self.wait()

    def click(self, selector):
        self.browser.find_element("css selector", selector).click()
        self.wait()

    def choose(self, id, text):
        from selenium.webdriver.support.select import Select

        element = self.browser.find_element("id", id)
        Select(element).select_by_visible_text(text)
        self.wait()

    @property
    def frame(self):
        return int(self.run("return document.getElementById('frame').value"))

    @property
    def name(self):
        return self.browser.find_element("id", "name").text

    @property
    def listed(self):
        return self.run(
            "return [...document.querySelectorAll('#clips button')]"
            ".map((button) => button.title)"
        )

    def canvases(self):
        """The pictures on the stage, uint8 `(height, width, 3)`."""
        encoded = self.run(
            "return [...document.querySelectorAll('#stage canvas')]"
            ".map((canvas) => canvas.toDataURL('image/png'))"
        )
        return [
            np.array(
                Image.open(
                    io.BytesIO(base64.b64decode(url.split(",")[1]))
                ).convert("RGB")
            )
            for url in encoded
        ]


@pytest.fixture
def viewer(browser, page):
    return Viewer(browser, page)


def test_the_page_holds_what_the_model_answers(page, folder):
    model = keras.saving.load_model(folder / "actx.keras")
    data = read_data(page)
    assert [clip["name"] for clip in data["clips"]] == NAMES
    assert data["classNames"] == sorted(CLASSES)
    left_out = [name for name, _ in data["leftOut"]]
    assert left_out == ["unstored", "missing"]
    with FeatureStore(folder / "store") as store:
        for clip in data["clips"]:
            features = store[clip["name"]].astype("float32")
            outputs = model.predict(features[None], verbose=0)
            scores = keras.ops.softmax(outputs["logits"])[0].numpy()
            np.testing.assert_allclose(clip["scores"], scores, atol=1e-4)
            (label,) = clip["labels"]
            assert (
                data["classNames"][label]
                == store.attributes(clip["name"])["label"]
            )
            assert clip["loss"] == pytest.approx(
                -np.log(scores[label]), abs=1e-3
            )
            levels = np.frombuffer(
                base64.b64decode(clip["action"]["levels"]), np.uint8
            )
            expected = outputs["action_map"][0]
            np.testing.assert_allclose(
                levels.reshape(clip["mapShape"]) / 255,
                expected / expected.max(),
                atol=0.5 / 255 + 1e-4,
            )


def test_a_page_is_made_smaller_where_it_must_be(folder, page):
    kept = {}
    for megabytes in (0.5, 0.15):
        path, result = run_view_clips(
            folder, "small.html", f"--max_megabytes={megabytes}"
        )
        assert result.returncode == 0, result.stderr
        assert path.stat().st_size <= 1e6 * megabytes < page.stat().st_size
        clips = read_data(path)["clips"]
        assert len(clips) == len(NAMES)
        for clip in clips:  # as long as before
            assert len(clip["frames"]) / clip["rate"] == pytest.approx(2.0)
        kept[megabytes] = sum(len(clip["frames"]) for clip in clips)
    assert kept[0.15] <= kept[0.5] <= 80


def test_the_built_in_set_needs_a_model_alone(tmp_path):
    keras.utils.set_random_seed(0)
    backbone = synthetic.backbone()
    model = ActX(
        8, class_names=synthetic.CLASS_NAMES, description=backbone.description
    )
    model.build((None, None, None, None, 64))
    model.save(tmp_path / "actx.keras")
    path = tmp_path / "page.html"
    result = run_actx(
        "view",
        f"--model={tmp_path / 'actx.keras'}",
        f"--output={path}",
        "--num_clips=3",
    )
    assert result.returncode == 0, result.stderr
    clips = read_data(path)["clips"]
    assert len(clips) == 3
    assert read_frames(clips[0]).shape == (16, 48, 48, 3)
    expected = backbone.description.centers((4, 6, 6), (16, 48, 48))
    for got, axis in zip(clips[0]["centers"], expected, strict=True):
        np.testing.assert_allclose(got, axis, atol=1e-5)


@pytest.fixture
def stored(folder):
    """The store and the clips of the index that it holds and that decode."""
    clips = read_clip_index(folder / "index.csv")
    with FeatureStore(folder / "store") as store:
        yield store, clips[: len(NAMES)]


def test_a_model_of_several_classes(stored, tmp_path):
    store, clips = stored
    several = [*CLASSES[:2]]
    clips[0] = dataclasses.replace(clips[0], label="|".join(several))
    model = make_model(activation="sigmoid")
    path = tmp_path / "page.html"
    page = view_clips(model, store, clips, path, progress=False)
    assert page.clips == NAMES and page.left_out == []
    about = read_data(path)["clips"][0]
    logits = model(store[NAMES[0]].astype("float32")[None])["logits"][0]
    scores = 1 / (1 + np.exp(-np.asarray(logits, "float64")))
    np.testing.assert_allclose(about["scores"], scores, atol=1e-4)
    names = [sorted(CLASSES)[k] for k in about["labels"]]
    assert sorted(names) == sorted(several)
    truth = np.isin(sorted(CLASSES), several)
    assert about["loss"] == pytest.approx(
        -np.log(np.where(truth, scores, 1 - scores)).mean(), abs=1e-3
    )


@pytest.mark.parametrize("size", [None, 96, (64, 80)])
def test_centers_are_those_of_the_frames_that_the_backbone_saw(
    stored, tmp_path, monkeypatch, size
):
    store, clips = stored
    # A part of a frame: 120 pixels high and 200 wide.
    clips = [dataclasses.replace(clips[0], box=(10, 20, 210, 140))]
    description = dataclasses.replace(DESCRIPTION, size=size)
    monkeypatch.setattr(store, "description", description)
    model = make_model(description=description)
    path = tmp_path / "page.html"
    view_clips(model, store, clips, path, progress=False)
    (about,) = read_data(path)["clips"]
    seen = {None: (120, 200), 96: (96, 160), (64, 80): (64, 80)}[size]
    expected = description.centers(about["mapShape"], (20, *seen))
    for got, axis in zip(about["centers"], expected, strict=True):
        np.testing.assert_allclose(got, axis, atol=1e-5)


def test_a_store_without_a_description_has_equal_cells(
    stored, tmp_path, monkeypatch
):
    store, clips = stored
    monkeypatch.setattr(store, "description", None)
    path = tmp_path / "page.html"
    view_clips(make_model(), store, clips[:1], path, progress=False)
    (about,) = read_data(path)["clips"]
    for got, count in zip(about["centers"], about["mapShape"], strict=True):
        np.testing.assert_allclose(
            got, (np.arange(count) + 0.5) / count, atol=1e-5
        )


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ({"class_names": None}, ValueError, "`class_names`"),
        (
            {"description": dataclasses.replace(DESCRIPTION, frame_rate=5.0)},
            ValueError,
            "`model` must be trained on .*frame_rate",
        ),
        ({"class_names": ["a", "b", "c"]}, ValueError, "no classes of the"),
    ],
)
def test_models_that_do_not_fit_the_clips(
    stored, tmp_path, model, error, message
):
    path = tmp_path / "page.html"
    with pytest.raises(error, match=message):
        view_clips(make_model(**model), *stored, path, progress=False)
    assert not list(tmp_path.iterdir())


def test_models_without_maps(stored, tmp_path):
    pooling = ACF(len(CLASSES), class_names=CLASSES, description=DESCRIPTION)
    pooling.build((None, None, None, None, 8))
    for model in (pooling, keras.Sequential([keras.layers.Dense(3)])):
        with pytest.raises(TypeError, match="`model` must .* maps"):
            view_clips(model, *stored, tmp_path / "page.html", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_model_of_other_features_than_the_built_in():
    with pytest.raises(ValueError, match="`backbone`.*size"):
        built_in_clips(make_model())


def test_clips_that_cannot_be_shown_lose_no_others(tmp_path):
    good = VideoPrediction(
        num_frames=4,
        read_frames=lambda: (np.zeros((4, 8, 6, 3), np.uint8), 8.0),
        action_map=np.ones((2, 1, 1), "float32"),
        context_map=np.ones((2, 1, 1), "float32"),
        centers=location_centers(None, (2, 1, 1)),
        scores=np.array([0.25, 0.75], "float32"),
        class_names=["a", "b"],
    )

    def fails(error):
        raise error

    nan = dataclasses.replace(good, scores=good.scores * np.nan)
    no_maps = dataclasses.replace(
        good, action_map=None, context_map=None, centers=None
    )
    three = dataclasses.replace(good, scores=np.ones(3) / 3)
    clips = [
        PageClip("broken", ["a"], lambda: fails(VideoError("does not decode"))),
        PageClip("gone", ["a"], lambda: fails(FileNotFoundError("is gone"))),
        PageClip("nan", ["a"], lambda: nan),
        PageClip("no maps", ["a"], lambda: no_maps),
        PageClip("three", ["a"], lambda: three),
        PageClip("other", ["c"], lambda: good),
        PageClip("two", ["a", "b"], lambda: good),
        PageClip("none", [], lambda: good),
        PageClip("good", ["b"], lambda: good),
    ]
    path = tmp_path / "new" / "page.html"
    page = write_page(path, clips, ["a", "b"], title="T", progress=False)
    assert page.path == path and page.clips == ["good"]
    reasons = dict(page.left_out)
    assert list(reasons) == [clip.name for clip in clips[:-1]]
    for name, reason in (
        ("broken", "does not decode"),
        ("gone", "is gone"),
        ("nan", "not finite"),
        ("no maps", "no maps"),
        ("three", "3 scores"),
        ("other", "'c'"),
        ("two", "one class"),
        ("none", "one class"),
    ):
        assert reason in reasons[name]
    data = read_data(path)
    assert [tuple(entry) for entry in data["leftOut"]] == page.left_out
    assert data["clips"][0]["loss"] == pytest.approx(-np.log(0.75), abs=1e-4)
    # Nothing takes the place of a page that is there.
    before = path.read_bytes()
    for bad, message in ((clips[:-1], "broken: does not"), ([], "no clip")):
        with pytest.raises(ValueError, match=message):
            write_page(path, bad, ["a", "b"], progress=False)
    for wrong in ({"max_megabytes": 0}, {"activation": "relu"}):
        with pytest.raises(ValueError, match=f"`{[*wrong][0]}`"):
            write_page(path, [], ["a", "b"], **wrong)
    assert path.read_bytes() == before


def test_a_split_without_clips_is_one_clear_line(folder):
    path, result = run_view_clips(folder, "none.html", "--split=none")
    assert result.returncode == 1
    assert not path.exists()
    assert "--split must be one of ['test']" in result.stderr
    assert "Traceback" not in result.stderr


def test_nothing_is_loaded_and_nothing_is_run_but_the_page(viewer, page):
    assert viewer.browser.get_log("browser") == []
    assert viewer.run(
        "return performance.getEntriesByType('resource')"
        ".every((entry) => entry.name.startsWith('data:'))"
    )
    assert viewer.run("return document.scripts.length") == 2
    assert viewer.browser.title == "<i>Mine</i>"
    assert viewer.listed == NAMES
    assert viewer.name == NAMES[0]
    labels = viewer.browser.find_elements("css selector", "#scores .label")
    shown = {label.get_attribute("title") for label in labels}
    assert shown == {f"{CLASSES[0]} (true)", *CLASSES[1:]}
    left_out = viewer.browser.find_element("id", "left-out")
    assert "missing" in left_out.get_attribute("textContent")


@pytest.mark.parametrize("number", [0, 1])
def test_canvases_show_what_the_library_draws(viewer, page, number):
    clip = read_data(page)["clips"][number]
    frames = read_frames(clip)
    for _ in range(number):
        viewer.press("j")
    shape = clip["mapShape"]
    maps = {
        name: np.frombuffer(
            base64.b64decode(clip[name]["levels"]), np.uint8
        ).reshape(shape)
        / 255
        for name in ("action", "context")
    }
    maps["act"] = 1 - clip["context"]["largest"] * maps["context"]
    centers = DESCRIPTION.centers(
        shape, (20, *[(200, 336), (200, 120)][number])
    )
    # Small frames are enlarged, by a whole factor; these are of one color,
    # which smoothing leaves.
    scale = viewer.canvases()[0].shape[0] // frames.shape[1]
    frames = frames.repeat(scale, axis=1).repeat(scale, axis=2)
    expected = {
        name: overlay_attention(frames, values, centers)
        for name, values in maps.items()
    }
    expected["none"] = frames
    for frame in (0, 11):
        viewer.run("seek(arguments[0])", frame)
        assert viewer.frame == frame
        for mode, names in (
            ("both", ("action", "context")),
            ("act", ("act",)),
            ("none", ("none",)),
        ):
            viewer.press(str(1 + MODES.index(mode)))
            for canvas, name in zip(viewer.canvases(), names, strict=True):
                error = np.abs(canvas - expected[name][frame].astype(float))
                assert error.mean() < 1.0
                assert error.max() < 12  # decoders of JPEG differ a little


def test_it_opens_on_a_clip_that_is_right(browser, page, tmp_path):
    data = read_data(page)
    for clip in data["clips"]:
        clip["answer"] = 1 - clip["labels"][0] % 2  # another one
    right = data["clips"][2]
    right["answer"] = right["labels"][0]
    changed = tmp_path / "changed.html"
    text = page.read_text(encoding="utf-8")
    start, end = (
        text.index('id="data">') + 10,
        text.rindex("</script>\n<script>"),
    )
    encoded = json.dumps(data).replace("<", "\\u003c")
    changed.write_text(text[:start] + encoded + text[end:], encoding="utf-8")
    viewer = Viewer(browser, changed, clip="")
    assert viewer.name == right["name"]
    # The list stays as in the index.
    assert viewer.listed == [clip["name"] for clip in data["clips"]]


def test_help_explains_what_is_seen(browser, page):
    viewer = Viewer(browser, page, width=390, height=800)
    viewer.click("#help-button")
    text = viewer.browser.find_element("id", "help").text
    for word in ("Action map", "Context map", "dashed", "Light rim", "Space"):
        assert word in text
    box = "find('help').getBoundingClientRect()"
    assert viewer.run(f"return {box}.left >= 0 && {box}.right <= 390")
    assert viewer.run("return find('help').scrollWidth <= 390")
    assert viewer.run("return find('help').scrollTop") == 0  # from its start
    viewer.click("#help button")
    assert not viewer.run("return find('help').open")


def test_it_plays_and_stops(viewer):
    begin = viewer.frame
    viewer.press(" ")
    viewer.until(f"document.getElementById('frame').value != {begin}")
    assert "Pause" in viewer.browser.find_element("id", "play").text
    viewer.click("#play")
    stopped = viewer.frame
    time.sleep(0.3)  # three frames
    assert viewer.frame == stopped


def test_keys(viewer):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    viewer.press(Keys.HOME)
    assert viewer.frame == 0
    viewer.press(Keys.RIGHT, Keys.RIGHT)
    assert viewer.frame == 2
    viewer.press(Keys.LEFT)
    assert viewer.frame == 1
    viewer.press(Keys.END)
    assert viewer.frame == 19
    viewer.press("p")
    strongest = viewer.frame
    viewer.press(Keys.HOME)
    chain = ActionChains(viewer.browser).key_down(Keys.SHIFT)
    chain.send_keys(Keys.RIGHT).key_up(Keys.SHIFT).perform()
    assert viewer.frame == 10
    viewer.press(Keys.DOWN)
    assert viewer.name == NAMES[1]
    viewer.press(Keys.UP, Keys.UP)  # around
    assert viewer.name == NAMES[-1]
    viewer.press("j")
    assert viewer.name == NAMES[0] and viewer.frame == strongest
    for key, mode in enumerate(MODES, 1):
        viewer.press(str(key))
        assert viewer.run("return mode()") == mode
    viewer.press("-", "-")
    assert viewer.run("return find('opacity').value") == "60"
    viewer.press("?")
    assert viewer.run("return find('help').open")
    viewer.press(Keys.ARROW_DOWN)
    assert viewer.name == NAMES[0]
    viewer.press(Keys.ESCAPE)
    assert not viewer.run("return find('help').open")
    viewer.press("/", "d&amp;")
    assert viewer.listed == ["d&amp;"]
    viewer.press(Keys.ESCAPE, "4")
    assert viewer.run("return mode()") == "act"


def test_sorting_and_filters(viewer, page):
    from selenium.webdriver.common.keys import Keys

    clips = {clip["name"]: clip for clip in read_data(page)["clips"]}
    names = sorted(CLASSES)
    viewer.choose("sort", "largest loss first")
    losses = [clips[name]["loss"] for name in viewer.listed]
    assert losses == sorted(losses, reverse=True) and len(set(losses)) > 1
    viewer.choose("sort", "surest mistakes first")
    wrong = [
        clips[name]["answer"] not in clips[name]["labels"]
        for name in viewer.listed
    ]
    assert wrong == sorted(wrong, reverse=True) and len(set(wrong)) == 2
    viewer.press(Keys.ESCAPE, "w")
    assert len(viewer.listed) == sum(wrong)
    assert viewer.name in viewer.listed
    viewer.click("#wrong")
    label = CLASSES[1]
    viewer.choose("class", f"{label} (1)")
    assert viewer.listed == [NAMES[1]]
    assert clips[NAMES[1]]["labels"] == [names.index(label)]
    assert viewer.name == NAMES[1]


def test_it_is_usable_on_a_narrow_window(browser, page):
    viewer = Viewer(browser, page, width=390, height=800)
    assert viewer.run("return document.documentElement.scrollWidth") <= 390
    outside = viewer.run(
        "return [...document.querySelectorAll('button, input, select, canvas')]"
        ".filter((e) => e.getClientRects().length)"
        ".filter((e) => e.getBoundingClientRect().right > 390"
        " || e.getBoundingClientRect().left < 0).map((e) => e.outerHTML)"
    )
    assert outside == []
    viewer.click("#next")
    assert viewer.name == NAMES[1]
    # Frames and the way to play them are on the first screen.
    assert viewer.run(
        "return find('play').getBoundingClientRect().bottom <= innerHeight"
    )
    # A clip that is chosen far below is shown.
    viewer.click("#clips li:last-child button")
    assert viewer.name == NAMES[-1]
    assert viewer.run("return scrollY") == viewer.run(
        "return Math.round(scrollY + "
        "find('player').getBoundingClientRect().top)"
    )


def test_every_control_has_a_name(viewer):
    tree = viewer.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})
    controls = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree["nodes"]
        if node.get("role", {}).get("value")
        in ("button", "slider", "combobox", "radio", "checkbox", "searchbox")
    ]
    roles = {role for role, _ in controls}
    assert {"button", "slider", "combobox", "radio", "checkbox"} <= roles
    assert [role for role, name in controls if not name.strip()] == []
