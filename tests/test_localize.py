"""Tubes of boxes on the grid of a feature map, and `actx localize`."""

import csv
import json
import re

import keras
import numpy as np
import pytest

import actx_tf
from actx_tf import experiments
from actx_tf.backbones import Backbone
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import Masks
from actx_tf.data import read_clip
from actx_tf.data import synthetic
from actx_tf.data import write_masks
from actx_tf.data.tubes import Tube
from actx_tf.data.tubes import draw_tubes
from actx_tf.data.tubes import masks_to_voxels
from actx_tf.data.tubes import read_tubes
from tests.described import describe
from tests.harness import ROOT
from tests.harness import run_actx
from tests.test_extraction import write_video

UCF101 = ROOT.parent / "shared" / "data" / "ucf101_100"


def test_tubes_fill_the_voxels_that_they_cover():
    # Two at a time; one goes on beyond the video and the frame.
    tubes = [
        Tube(3, np.array([[10, 4, 10, 8]] * 2)),
        Tube(4, np.array([[30, 0, 30, 4]] * 9)),
    ]
    masks = draw_tubes(tubes, (8, 16, 40))
    expected = np.zeros((8, 16, 40), bool)
    expected[2:4, 4:12, 10:20] = True
    expected[3:, :4, 30:] = True
    np.testing.assert_array_equal(masks, expected)
    # Voxels of 4 frames, 4 x 10 pixels.
    voxels = np.zeros((2, 4, 4), bool)
    voxels[0, 1:3, 1] = True  # for half of the time
    voxels[1, 0, 3] = True
    voxels[0, 0, 3] = True  # for a quarter
    for share, last in ((0.0, True), (0.25, True), (0.3, False)):
        voxels[0, 0, 3] = last
        actual = masks_to_voxels(masks, (2, 4, 4), share=share)
        np.testing.assert_array_equal(actual, voxels)
    # A part of the file, and of its frames.
    actual = masks_to_voxels(
        masks, (2, 1, 2), frames=[2, 3, 4], box=(10, 4, 30, 12), share=1.0
    )
    np.testing.assert_array_equal(actual, [[[True, False]]] * 2)


def test_voxels_of_the_built_in_set_are_the_same():
    masks = synthetic.make_part("test", 8).actor_masks
    expected = synthetic.to_voxels(masks)
    for mask, voxels in zip(masks, expected, strict=True):
        actual = masks_to_voxels(mask, synthetic.FEATURE_SIZE)
        np.testing.assert_array_equal(actual, voxels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "boxes.json: not JSON"),
        ("[]", "must be an object of clips"),
        ('{"a": [{"start": 1, "end": 2}]}', "clip 'a': .*boxes_xywh"),
        (
            '{"a": [{"start": 1, "end": 2, "boxes_xywh": [[1, 2, 3, 4]]}]}',
            r"clip 'a': .*\(1, 4\) boxes for the frames 1 to 2",
        ),
        (
            '{"a": [{"start": 0, "end": 0, "boxes_xywh": [[1, 2, 3, 4]]}]}',
            "for the frames 0 to 0",
        ),
    ],
)
def test_wrong_tubes_are_told(content, message, tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_tubes(path)


def table_of(result):
    """Row -> column -> (figure, chance)."""
    assert result.returncode == 0, result.stderr
    lines = [
        re.split(r"\s{2,}", line.strip())
        for line in result.stdout.splitlines()
        if "  " in line
    ]
    header = lines[0][1:]
    table = {}
    for name, *cells in lines[1:]:
        pairs = [tuple(map(float, re.findall(r"[\d.]+", c))) for c in cells]
        table[name] = dict(zip(header, pairs, strict=True))
    return table


def test_the_built_in_set_with_the_demonstration(tmp_path):
    path = tmp_path / "rows.csv"
    table = table_of(
        run_actx(
            "localize",
            f"--model={ROOT / 'saved_models' / 'demo'}",
            f"--output={path}",
            "--test_clips=12",
        )
    )
    for name in ("AUC", "pointing, steps", "pointing, clip", "energy"):
        figure, chance = table["S"][name]
        # Of the energy a map of 30% of a clip has little where 1% acts.
        assert figure > chance + (0.1 if name == "energy" else 0.2), name
        assert table["center"][name][1] == chance
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 * 5
    for name, (_, chance) in table["S"].items():
        mean = np.mean(
            [float(row[name]) for row in rows if row["map"] == "constant"]
        )
        assert mean == pytest.approx(chance, abs=6e-4)
    # Chance is what the true voxels say.
    clips = synthetic.make_part("test", 12)
    volume = synthetic.to_voxels(clips.actor_masks).mean()
    assert table["S"]["energy"][1] == pytest.approx(volume, abs=6e-4)


@pytest.fixture
def folder(tmp_path):
    """Clips whose features' norm is large in the box, and a model."""
    model = actx_tf.models.ActX(2)
    random = np.random.default_rng(0)
    lines = ["clip,file,label,split,conjugates,start,end"]
    tubes = {}
    with FeatureStoreWriter(
        tmp_path / "features", describe("random", 8)
    ) as writer:
        for clip, frames, span in (
            ("whole", 16, ","),
            ("part", 24, "0.5,2"),
            ("no_tube", 16, ","),
        ):
            write_video(tmp_path / f"{clip}.mp4", frames, rate=8)
            lines.append(f"{clip},{clip}.mp4,a,test,,{span}")
            steps = 3 if clip == "part" else 4  # of 4 frames, half a second
            features = random.random((steps, 4, 6, 8))
            if clip != "no_tube":
                # Frames 9 to 12 of the file, rows 8 to 16, columns 24 to 40.
                step = 1 if clip == "part" else 2
                features[step, 1, 3:5] += 5.0
                box = {
                    "start": 9,
                    "end": 12,
                    "boxes_xywh": [[24, 8, 16, 8]] * 4,
                }
                tubes[clip] = [box]
            writer.add(clip, features, "a", "test", 8.0, 4 * steps)
            model(features[np.newaxis])
    (tmp_path / "index.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "boxes.json").write_text(json.dumps(tubes), encoding="utf-8")
    model.save(tmp_path / "actx.keras")
    with FeatureStoreWriter(tmp_path / "masks", "masks") as writer:
        mask = np.zeros((4, 4, 6, 1))
        mask[2, 1, 3:5] = 1
        writer.add("whole", mask, "a", "test", 8.0, 16)
    return tmp_path


def run(folder, *flags):
    return run_actx(
        "localize",
        f"--features={folder / 'features'}",
        f"--index={folder / 'index.csv'}",
        f"--model={folder / 'actx.keras'}",
        *flags,
    )


def test_boxes_in_videos_and_masks(folder):
    result = run(folder, f"--boxes={folder / 'boxes.json'}")
    table = table_of(result)
    norm = table["norm of features"]
    # Two of 96 and of 72 voxels; two of 24 in their step; one step of 4, of 3.
    volume = (2 / 96 + 2 / 72) / 2
    for name, chance in (
        ("AUC", 0.5),
        ("pointing, steps", 2 / 24),
        ("pointing, clip", volume),
        ("temporal IoU", (1 / 4 + 1 / 3) / 2),
        ("temporal AUC", 0.5),
    ):
        assert norm[name] == (1.0, pytest.approx(chance, abs=6e-4)), name
    assert volume < norm["energy"][0] < 1
    assert table["clips"]["AUC"] == (2,)
    assert "left out: 1 clips: no boxes" in result.stdout

    masked = table_of(run(folder, f"--masks={folder / 'masks'}"))
    assert masked["clips"]["AUC"] == (1,)
    expected = pytest.approx((1.0, 2 / 96), abs=6e-4)
    assert masked["norm of features"]["pointing, clip"] == expected


def test_masks_of_pixels_are_as_boxes(folder):
    tubes = read_tubes(folder / "boxes.json")
    masks = {}
    for name, its in tubes.items():
        video = read_clip(folder / f"{name}.mp4")[0]
        masks[name] = draw_tubes(its, video.shape[:3])
    write_masks(folder / "masks.npz", masks.items())
    arguments = {
        "index": folder / "index.csv",
        "features": folder / "features",
    }
    rows, left_out = experiments.localize(
        folder / "actx.keras", masks=folder / "masks.npz", **arguments
    )
    expected, _ = experiments.localize(
        folder / "actx.keras", boxes=folder / "boxes.json", **arguments
    )
    assert rows == expected and len(rows) > 0
    assert left_out == [("no_tube", "no masks")]
    # Of another video.
    masks["whole"] = masks["whole"][1:]
    write_masks(folder / "masks.npz", masks.items())
    _, left_out = experiments.localize(
        folder / "actx.keras", masks=folder / "masks.npz", **arguments
    )
    assert "the masks are of (15, " in dict(left_out)["whole"]


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4)), np.zeros((2, 4, 4), np.float32), np.zeros((4, 4), bool)],
)
def test_wrong_masks_are_said(array, tmp_path):
    np.savez(tmp_path / "masks.npz", clip=array)
    with pytest.raises(ValueError, match="masks.npz: 'clip' must be booleans"):
        Masks(tmp_path / "masks.npz")
    (tmp_path / "masks.npz").write_text("no archive")
    with pytest.raises(ValueError, match="masks.npz: not an .npz file"):
        Masks(tmp_path / "masks.npz")


def test_a_saved_model_is_shown_the_videos(folder):
    network = keras.Sequential(
        [
            keras.Input((None, 32, 48, 3)),
            keras.layers.AveragePooling3D((4, 8, 8)),
            keras.layers.Dense(8, use_bias=False),
        ]
    )
    backbone = Backbone(network, describe("random", 8, size=(32, 48)))
    model = keras.models.load_model(folder / "actx.keras")
    path = actx_tf.export.export_saved_model(
        model, folder / "saved", backbone=backbone
    )
    table = table_of(
        run_actx(
            "localize",
            f"--index={folder / 'index.csv'}",
            f"--boxes={folder / 'boxes.json'}",
            f"--model={path}",
        )
    )
    assert "norm of features" not in table
    assert table["clips"]["AUC"] == (2,)
    assert table["S"]["temporal IoU"][1] == pytest.approx(7 / 24, abs=6e-4)


@pytest.mark.skipif(not UCF101.exists(), reason="needs shared/data: ucf101_100")
def test_tubes_of_real_clips_are_where_the_index_says():
    tubes = read_tubes(UCF101 / "boxes.json")
    with open(UCF101 / "index.csv", encoding="utf-8") as file:
        rows = {row["clip"]: row for row in csv.DictReader(file)}
    assert set(tubes) == {c for c, r in rows.items() if r["has_boxes"] == "1"}
    for clip, its in tubes.items():
        row = rows[clip]
        size = [int(row[key]) for key in ("frames", "height", "width")]
        masks = draw_tubes(its, size)
        idle = np.sum(~masks.any(axis=(1, 2)))
        assert idle == int(row["frames_without_action"]), clip
        voxels = masks_to_voxels(masks, (size[0] // 8, 7, 7))
        # Cells that are touched: not less than the boxes, but not all.
        assert masks.mean() < voxels.mean() < 0.9


def test_features_of_other_frames_than_the_model_s_are_refused(folder):
    model = keras.models.load_model(folder / "actx.keras")
    config = model.get_config()
    config["description"] = describe("random", 8, frame_rate=25.0).to_dict()
    other = actx_tf.models.ActX.from_config(config)
    other.build((None, None, None, None, 8))
    other.save(folder / "other.keras")
    with pytest.raises(ValueError, match=r"`model`.*frame_rate=None \(not"):
        experiments.localize(
            folder / "other.keras",
            index=folder / "index.csv",
            features=folder / "features",
            boxes=folder / "boxes.json",
        )


def test_boxes_need_to_know_what_a_step_is(folder):
    with FeatureStoreWriter(folder / "unknown", "maps by hand") as writer:
        writer.add("whole", np.ones((4, 4, 6, 8)), "a", "test", 8.0, 16)
    arguments = {
        "index": folder / "index.csv",
        "features": folder / "unknown",
    }
    with pytest.raises(ValueError, match="unknown does not say what made"):
        experiments.localize(
            folder / "actx.keras", boxes=folder / "boxes.json", **arguments
        )
    rows, left_out = experiments.localize(
        folder / "actx.keras", masks=folder / "masks", **arguments
    )
    assert {row["clip"] for row in rows} == {"whole"}
    assert left_out == [("part", "no masks"), ("no_tube", "no masks")]
