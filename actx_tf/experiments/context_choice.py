"""Which context an ActX should answer by, from what pairs say."""

from actx_tf.experiments.scene_report import SceneReport
from actx_tf.utils.checks import check_share


def choose_context(report: SceneReport, most_lost: float = 0.01) -> str:
    """Chooses the context switch of an `ActX` by pairs it was not trained on.

    The other context is chosen if more clips are then right while their
    conjugate is not (contrasted accuracy), and accuracy loses no more than
    `most_lost`: otherwise the scene is honest, and what it says is kept.

    Args:
        report: What `scene_report` found of the model: on validation clips,
            if the test is to tell how good the choice is.
        most_lost: Accuracy that may be lost, in [0, 1]. Defaults to `0.01`.

    Returns:
        `"keep"` or `"mean"`: see `actx_tf.models.ActX`.

    Raises:
        ValueError: If the model that was asked has no context switch, or
            `most_lost` is not in [0, 1].
    """
    check_share("most_lost", most_lost)
    if report.switched is None:
        raise ValueError(
            "`report` must be of the .keras file of an ActX, which has a "
            "context switch. Received: a report without one"
        )
    other = report.switched
    own = "keep" if other == "mean" else "mean"
    figures = report.rows[0].figures
    contrasted, accuracy = (
        figures[f"switched_{name}"].value - figures[name].value
        for name in ("contrasted", "accuracy")
    )
    # The tolerance is for what rounding makes of equal accuracies.
    better = contrasted > 1e-9 and accuracy >= -most_lost - 1e-9
    return other if better else own
