"""examples/check_i3d.py on a made-up clone of kinetics-i3d."""

import numpy as np
import pytest
import torch

from tests.harness import run_example
from tests.i3d_in_torch import InceptionI3d
from tests.i3d_in_torch import randomize
from tests.test_inception_i3d import save_checkpoint
from tests.test_inception_i3d import to_checkpoint


def run(*flags):
    return run_example("check_i3d.py", *flags)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Returns the clone, and the logits of its networks in PyTorch."""
    root = tmp_path_factory.mktemp("kinetics-i3d")
    logits = {}
    for stream, channels in (("rgb", 3), ("flow", 2)):
        folder = root / "data" / "checkpoints" / f"{stream}_imagenet"
        folder.mkdir(parents=True)
        port = randomize(InceptionI3d(400, channels), seed=channels)
        for name, tensor in port.state_dict().items():
            if name.endswith("bn.weight"):
                tensor.fill_(1)  # the released networks have no scale
        save_checkpoint(
            folder / "model.ckpt", to_checkpoint(port.state_dict(), stream)
        )
        sample = np.random.default_rng(0).uniform(-1, 1, (1, 9, 224, 224, 3))
        sample = sample[..., :channels].astype("float32")
        np.save(root / "data" / f"v_CricketShot_g04_c01_{stream}.npy", sample)
        with torch.no_grad():
            outputs = port(torch.tensor(sample).permute(0, 4, 1, 2, 3))
        logits[stream] = outputs[0].numpy()
    names = [f"action {i} (of many)" for i in range(400)]
    (root / "data" / "label_map.txt").write_text("\n".join(names) + "\n")
    return root, logits


def published(logits):
    scores = np.exp(logits - logits.max())
    lines = [f"Norm of logits: {np.linalg.norm(logits):f}", ""]
    lines += ["Top classes and probabilities"]
    for i in np.argsort(-logits)[:20]:
        score = scores[i] / scores.sum()
        lines.append(f"{score} {logits[i]} action {i} (of many)")
    return "\n".join(lines)


def test_both_streams_answer_as_published(clone, tmp_path):
    root, logits_of = clone
    logits = logits_of["rgb"] + logits_of["flow"]
    (tmp_path / "joint.txt").write_text(published(logits))
    result = run(f"--root={root}", f"--expected={tmp_path / 'joint.txt'}")
    assert result.returncode == 0, result.stderr
    first = result.stdout.split("probabilities\n")[1].splitlines()[0]
    assert first.endswith(f" action {logits.argmax()} (of many)")
    assert "largest relative error" in result.stdout

    other = tmp_path / "other.txt"
    logits = logits_of["rgb"]
    other.write_text(published(logits + 0.1 * np.abs(logits).max()))
    result = run(f"--root={root}", "--stream=rgb", f"--expected={other}")
    assert result.returncode == 1
    assert "not the published answer" in result.stderr


def test_what_is_missing_is_told(tmp_path):
    result = run(f"--root={tmp_path / 'nowhere'}")
    assert result.returncode == 1
    assert "label_map.txt" in result.stderr
    assert "Traceback" not in result.stderr
