"""The folder saved_models/: the demonstration and the server's settings."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
import yaml

from actx_tf.data import synthetic
from actx_tf.export import read_metadata
from tests.harness import ROOT
from tests.harness import run_example

FOLDER = ROOT / "saved_models"


def test_demo_answers_as_when_it_was_made():
    expected = json.loads((FOLDER / "demo" / "answers.json").read_bytes())
    [num_clips] = re.findall(r"make_part\('test', (\d+)\)", expected["clips"])
    clips = synthetic.make_part("test", int(num_clips))
    served = tf.saved_model.load(str(FOLDER / "demo" / "1"))
    answers = served.signatures["video"](
        frames=tf.constant(clips.videos[:8]), lengths=tf.constant([16] * 8)
    )
    for name in ("scores", "action_map"):
        np.testing.assert_allclose(answers[name], expected[name], atol=1e-4)
    labels = [label.decode() for label in answers["label"].numpy()]
    assert labels == expected["label"]
    # It was trained: it knows more than chance, an eighth.
    names = [synthetic.CLASS_NAMES[label] for label in clips.labels[:8]]
    assert np.mean(np.equal(labels, names)) >= 0.5
    assert expected["figures"]["accuracy"] > 0.7


def test_demo_is_small_and_whole():
    version = FOLDER / "demo" / "1"
    files = [path for path in version.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_500_000
    assert read_metadata(version)["class_names"] == list(synthetic.CLASS_NAMES)
    assert (version / "assets.extra" / "tf_serving_warmup_requests") in files


def test_the_script_makes_the_same_again(tmp_path):
    flags = ["--train_clips=12", "--test_clips=8", "--epochs=2"]
    answers = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        result = run_example(
            "export_demo.py",
            *flags,
            f"--output={folder / 'demo'}",
            f"--runs={folder / 'runs'}",
        )
        assert result.returncode == 0, result.stderr
        answers.append((folder / "demo" / "answers.json").read_bytes())
    assert answers[0] == answers[1]


def test_model_config_names_what_is_there():
    model_server_config = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2"
    )
    from google.protobuf import text_format

    text = (FOLDER / "models.config").read_text()
    config = text_format.Parse(text, model_server_config.ModelServerConfig())
    [model] = config.model_config_list.config
    versions = set(model.model_version_policy.specific.versions)
    for version in versions:
        path = FOLDER / model.base_path.removeprefix("/models/") / str(version)
        assert (path / "saved_model.pb").exists()
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) <= versions


def test_settings_are_those_that_the_server_knows():
    text = (FOLDER / "batching.config").read_text()
    fields = re.findall(r"^(\w+)", text, re.MULTILINE)
    # The fields of BatchingParameters, session_bundle_config.proto.
    assert set(fields) <= {
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "num_batch_threads",
        "thread_pool_name",
        "allowed_batch_sizes",
        "pad_variable_length_inputs",
    }
    assert "pad_variable_length_inputs: true" in text
    compose = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())
    service = compose["services"]["tf_serving"]
    assert service["volumes"] == [".:/models:ro"]
    for flag in service["command"]:
        if "=/models/" in flag:
            assert (FOLDER / flag.split("=/models/")[1]).exists()
