"""What came of a training on videos, in plain words."""

import math

from actx_tf.experiments.video_training import Estimate
from actx_tf.experiments.video_training import VideoTraining

_ERRORS = 2  # standard errors that a difference must have to be one
_LEAST = 10  # clips that a standard error must be of


def verdict(trained: VideoTraining) -> str:
    """Returns a few sentences, a line each: what was learned, and where from.

    Args:
        trained: What came of the training.
    """
    lines = [
        _clips(trained),
        _accuracy(trained),
        *_copies(trained.copies),
        *_untested(trained.untested),
        _comparison(trained),
        _maps(trained.movement),
        f"See what it looks at: open {trained.page} in a browser.",
    ]
    return "\n".join(lines)


def _clips(trained):
    read = trained.clips - len(trained.failed)
    return (
        f"Of {trained.clips} clips {read} could be read. {trained.paired} "
        f"training clips show an action and have {trained.pairs} conjugates."
    )


def _accuracy(trained):
    label, share = trained.commonest
    accuracy, tested = trained.figures["accuracy"], trained.tested
    # Of clips that are drawn, each right with the probability `share`.
    error = math.sqrt(share * (1 - share) / tested)
    if accuracy - share > _ERRORS * error:
        learned = "the model has learned something."
    elif accuracy > share:
        learned = (
            f"too little ahead for {tested} clips to say that the model has "
            "learned something."
        )
    else:
        learned = (
            "the model is no better; it needs more clips, or longer training "
            "(--epochs)."
        )
    return (
        f"Of {tested} held-out clips the model (actx.keras) gets "
        f"{round(accuracy * tested)} right: accuracy {accuracy:.3f}, mAP "
        f"{trained.figures['mAP']:.3f}. Always answering {label} would have an "
        f"accuracy of {share:.3f}: {learned}"
    )


def _copies(count):
    if count:
        yield (
            f"Of the held-out clips {count} are copies of training clips, "
            "which makes the accuracy too high. Delete the copies, and begin "
            "anew."
        )


def _untested(classes):
    if classes:
        yield (
            f"No clip of {', '.join(classes)} was held out: how well the model "
            "knows that is not measured."
        )


def _comparison(trained):
    gain = trained.gain
    if gain is None:
        return (
            "To see whether ActX is better than average pooling of the same "
            "features, run the same command again with --compare."
        )
    figures = (
        f"{100 * gain.mean:+.1f} points of accuracy "
        f"({_spread(gain, 100, 1)}, {trained.seeds} seeds each)"
    )
    if _differs(gain):
        which = "better" if gain.mean > 0 else "worse"
        return (
            f"ActX is {which} than average pooling of the same features: "
            f"{figures}."
        )
    return (
        "Whether ActX is better than average pooling cannot be said from so "
        f"few clips: {figures}."
    )


def _maps(movement):
    if movement is None:
        return "Nothing moves in the held-out clips."
    figures = (
        f"(AUC {movement.mean:.2f}, where 0.5 is chance; "
        f"{_spread(movement, 1, 2)})"
    )
    chance = Estimate(movement.mean - 0.5, movement.error, movement.clips)
    if _differs(chance):
        if chance.mean > 0:
            return f"Its maps lie on what moves {figures}."
        return (
            f"Its maps lie on what stands still {figures}: it looks at the "
            "scene. Look whether the pairs show the same scene (pairs.csv), or "
            "try --conjugates=frozen."
        )
    few = ""
    if movement.clips < _LEAST:
        few = f" from fewer than {_LEAST} clips"
    return f"Whether its maps lie on what moves cannot be said{few} {figures}."


def _spread(estimate, scale, digits):
    if estimate.clips == 1:
        return "of a single clip"
    error = scale * estimate.error
    return f"standard error {error:.{digits}f} over {estimate.clips} clips"


def _differs(estimate):
    # An error of few clips, or of none that differ, tells nothing.
    return estimate.clips >= _LEAST and (
        abs(estimate.mean) > _ERRORS * estimate.error > 0
    )
