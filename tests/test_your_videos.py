"""From a folder of videos to a page of clips, by the commands of the guide."""

import collections
import re
import shlex
import shutil

import numpy as np
import pytest

from actx_tf.cli.main import main
from actx_tf.data import Clip
from actx_tf.data import ClipFrames
from actx_tf.data import read_clip_index
from actx_tf.experiments import evaluate_stored
from actx_tf.experiments import read_rows
from actx_tf.experiments import video_training
from actx_tf.export import read_metadata
from tests.harness import ROOT
from tests.lossless import write_lossless
from tests.test_extraction import weights as weights  # a fixture
from tests.test_fine_tune import tiny

COUNTS = {"jump": 4, "run": 4, "none": 5}
# What makes it small: the guide leaves all of these at their defaults.
SMALL = {
    "extract": ["--backbone={tiny}"],
    "train": ["--epochs=1", "--seeds=1", "--batch_size=4"],
    "fine-tune": ["--backbone={tiny}", "--epochs=1", "--crop_frames=8"],
}
# Of networks that a file does not hold.
OF_NAMES = ("--backbone=", "--size=")


@pytest.fixture
def strong_weights(weights, tmp_path):
    """Random ones vanish from layer to layer."""
    with np.load(weights) as arrays:
        scaled = {
            name: array * 3 if name.endswith("kernel") else array
            for name, array in arrays.items()
        }
    np.savez(tmp_path / "strong.npz", **scaled)
    return tmp_path / "strong.npz"


def commands():
    page = ROOT / "docs" / "your_own_videos.md"
    text = page.read_text(encoding="utf-8").split("\n## Step by step\n")[1]
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("actx")]


def make_videos(folder):
    random = np.random.default_rng(0)
    for label, count in COUNTS.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            video = random.integers(0, 256, (8, 32, 32, 3), np.uint8)
            write_lossless(folder / label / f"{number}.mp4", video)
    (folder / "jump" / "notes.txt").write_text("no video")
    (folder / "run" / "broken.mp4").write_text("no video either")


def test_step_by_step(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_videos(tmp_path / "videos")
    tiny().save(tmp_path / "tiny.keras")
    random = np.random.default_rng(1)
    video = random.integers(0, 256, (8, 48, 32, 3), np.uint8)
    write_lossless(tmp_path / "new.mp4", video)
    found = commands()
    assert len(found) == 8
    for _, name, *flags in found:
        small = SMALL.get(name, [])
        if any(flag.startswith("--backbone=") for flag in small):
            flags = [flag for flag in flags if not flag.startswith(OF_NAMES)]
        flags += [flag.format(tiny=tmp_path / "tiny.keras") for flag in small]
        assert main([name, *flags]) == 0, capsys.readouterr()
        said = capsys.readouterr().out
        if name == "extract":
            assert "broken" in said
    mine = tmp_path / "runs" / "steps"
    metadata = read_metadata(mine / "saved_model" / "1")
    assert metadata["class_names"] == ["jump", "none", "run"]
    page = (mine / "clips.html").read_text(encoding="utf-8")
    assert "jump" in page and 'src="http' not in page
    assert (tmp_path / "runs" / "tuned" / "actx.keras").is_file()
    names = {file.name for file in (tmp_path / "runs" / "new").iterdir()}
    assert {"maps.png", "maps.gif", "maps.mp4", "action_share.png"} <= names


def test_all_in_one_command(tmp_path, capsys):
    make_videos(tmp_path / "videos")
    tiny().save(tmp_path / "tiny.keras")
    output = tmp_path / "mine"
    flags = [
        "fit",
        str(tmp_path / "videos"),
        "--background=none",
        f"--output={output}",
        f"--backbone={tmp_path / 'tiny.keras'}",
        "--epochs=1",
    ]
    assert main(flags) == 0
    said = capsys.readouterr().out
    num_clips = sum(COUNTS.values()) + 1
    assert f"Of {num_clips} clips {num_clips - 1} could be read" in said
    assert "failed: run_broken.mp4" in said
    pairs = read_clip_index(output / "pairs.csv")
    conjugates = [
        len(c.conjugates) for c in pairs if c.conjugates and c.split == "train"
    ]
    assert (
        f"{len(conjugates)} training clips show an action and have "
        f"{sum(conjugates)} conjugates" in said
    )
    labels = {clip.clip: clip.label for clip in pairs}
    for clip in pairs:
        assert {labels[name] for name in clip.conjugates} <= {"none"}
    [row] = read_rows(output / "results.csv")
    held_out = [clip for clip in pairs if clip.split == "test"]
    assert f"Of {len(held_out)} held-out clips" in said
    assert f"accuracy {row['accuracy']:.3f}, mAP {row['mAP']:.3f}" in said
    card = (output / "model_card.md").read_text(encoding="utf-8")
    assert f"class none | {sum(conjugates)} |" in card
    assert f"Of the {len(held_out)} clips of the split test" in card
    # The figures are those of the model that is there.
    evaluation = evaluate_stored(
        output / "saved_model",
        features=output / "features",
        index=output / "pairs.csv",
    )
    for name in ("accuracy", "mAcc", "mAP"):
        assert evaluation.figures[name] == pytest.approx(row[name])

    # Again, nothing is made anew; other flags are refused.
    def written():
        return {
            path: path.stat().st_mtime_ns
            for path in output.rglob("*")
            if path.is_file() and path.suffix != ".h5"
        }

    before = written()
    assert main(flags) == 0
    again = capsys.readouterr().out
    assert again.split("\n\n")[1] == said.split("\n\n")[1]
    assert written() == before
    assert main([*flags, "--seed=1"]) == 1
    assert "begun with other settings" in capsys.readouterr().err
    (tmp_path / "videos" / "jump" / "new.mp4").write_text("no video yet")
    assert main(flags) == 1
    assert "came or went, such as jump_new.mp4" in capsys.readouterr().err
    assert written() == before

    # A comparison can be added; what it says is what the runs answered.
    (tmp_path / "videos" / "jump" / "new.mp4").unlink()
    assert main([*flags, "--compare"]) == 0
    text = capsys.readouterr().out
    right = collections.defaultdict(dict)
    for answer in read_rows(output / "answers.csv"):
        run = answer["method"], answer["seed"]
        right[run][answer["clip"]] = answer["answer"] == answer["label"]
    assert len(right) == 6
    accuracy = {run: np.mean(list(of.values())) for run, of in right.items()}
    for row in read_rows(output / "results.csv"):
        assert accuracy[row["method"], row["seed"]] == row["accuracy"]
    actx, baseline = (
        np.mean([value for run, value in accuracy.items() if run[0] == method])
        for method in ("ActX", "average pooling")
    )
    assert f"{100 * (actx - baseline):+.1f} points of accuracy" in text
    gains = [
        np.mean([right["ActX", k][name] for k in range(3)])
        - np.mean([right["average pooling", k][name] for k in range(3)])
        for name in right["ActX", 0]
    ]
    error = 100 * np.std(gains, ddof=1) / len(gains) ** 0.5
    assert f"standard error {error:.1f} over {len(gains)} clips" in text
    assert (output / "actx.keras").stat().st_mtime_ns == before[
        output / "actx.keras"
    ]

    # What people edit is not passed over, nor mixed with what was trained.
    for name, words in (
        ("index.csv", "index.csv was edited after pairs were mined"),
        ("pairs.csv", "pairs.csv was edited after the training"),
    ):
        content = (output / name).read_bytes()
        lines = content.decode().splitlines()
        place = next(i for i, line in enumerate(lines) if ",train," in line)
        if name == "index.csv":
            lines[place] = lines[place].replace(",train,", ",test,")
        else:
            lines[place] += " "  # whatever is edited
        (output / name).write_text("\n".join(lines), encoding="utf-8")
        capsys.readouterr()
        assert main(flags) == 1
        assert words in capsys.readouterr().err
        (output / name).write_bytes(content)
    # Stray files are nothing new, and what was compared stays compared.
    (tmp_path / "videos" / ".DS_Store").touch()
    assert main(flags) == 0
    assert "points of accuracy" in capsys.readouterr().out
    # Another video of the same name is new, and so is one that was mended.
    random = np.random.default_rng(5)
    video = random.integers(0, 256, (12, 32, 32, 3), np.uint8)
    broken = tmp_path / "videos" / "run" / "broken.mp4"
    write_lossless(broken, video)
    assert main(flags) == 1
    assert "1 clips, such as run_broken.mp4, that" in capsys.readouterr().err
    write_lossless(tmp_path / "videos" / "run" / "1.mp4", video)
    capsys.readouterr()
    assert main(flags) == 1
    assert "changed since" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["frozen", "emptied"])
def test_without_a_background_conjugates_are_made(
    way, tmp_path, strong_weights, capsys
):
    make_videos(tmp_path / "videos")
    shutil.rmtree(tmp_path / "videos" / "none")
    output = tmp_path / "mine"
    flags = [
        "fit",
        str(tmp_path / "videos"),
        f"--output={output}",
        f"--weights={strong_weights}",
        "--size=32,32",
        "--epochs=1",
    ]
    assert main(flags) == 1
    assert "without such clips give --conjugates=frozen" in (
        capsys.readouterr().err
    )
    assert not output.exists()
    flags.append(f"--conjugates={way}")
    assert main([*flags, "--background=none"]) == 1
    assert "no folder none" in capsys.readouterr().err
    # Noise moves everywhere: no camera can be seen to stand still in it.
    if way == "emptied":
        assert main(flags) == 1
        assert "no clip has a conjugate" in capsys.readouterr().err
        return
    assert main(flags) == 0
    pairs = read_clip_index(output / "pairs.csv")
    trained = [
        clip
        for clip in pairs
        if clip.split == "train" and clip.clip != "run_broken.mp4"
    ]
    made = {clip.clip: clip for clip in pairs if clip.split == "conjugate"}
    assert [clip.conjugates for clip in trained] == [
        (f"{clip.clip}.frozen",) for clip in trained
    ]
    for clip in trained:
        frames = list(ClipFrames(made[f"{clip.clip}.frozen"].file))
        assert len(frames) == len(list(ClipFrames(clip.file)))
        assert all(np.array_equal(frame, frames[0]) for frame in frames)
    printed = capsys.readouterr()
    assert f"{len(trained)} training clips show an action" in printed.out
    assert "clips without a conjugate: 1, " in printed.out
    assert "name it by `background`" not in printed.err
    # Again: nothing is made anew.
    assert main(flags) == 0
    assert "pairs: are there" in capsys.readouterr().out
    assert main([*flags, "--size=64,64"]) == 1
    assert "begun with other settings" in capsys.readouterr().err


def test_copies_of_training_clips_are_counted(tmp_path):
    files = {name: tmp_path / f"{name}.mp4" for name in "abcd"}
    for name, path in files.items():
        path.write_text("one" if name in "ab" else name)
    trained = [Clip("a", str(files["a"]), "run", "train")]
    tested = [
        Clip("b", str(files["b"]), "run", "test"),
        Clip("c", str(files["c"]), "run", "test"),
        # Another stretch of what is trained on is no copy.
        Clip("a2", str(files["a"]), "run", "test", start=2.0),
    ]
    assert video_training._count_copies(tested, trained + tested) == 1
    assert video_training._count_copies(tested[1:], trained + tested) == 0
