"""What a training is asked to do; the defaults are those of the examples."""

import dataclasses
import inspect
import numbers
import re

from actx_tf.utils.checks import check_not_negative
from actx_tf.utils.checks import check_positive
from actx_tf.utils.checks import check_rate
from actx_tf.utils.checks import check_share
from actx_tf.utils.checks import is_number

DTYPE_POLICIES = ("float32", "mixed_bfloat16")
CLASS_WEIGHTS = ("balanced",)
MIXINGS = ("BE", "StillMix", "FAME")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Which clips models are trained and tested on.

    Attributes:
        features: Path of a feature store; without one, the built-in set.
            Defaults to `None`.
        index: Path of the clip index (CSV) of the store. Defaults to `None`.
        conjugates_column: The index's column of conjugates. Defaults to
            `"conjugates"`.
        background: Labels that show no action: they get no conjugates, and
            mean average precision leaves them out. Defaults to none.
        multi_label: Whether a clip can be of several classes. Defaults to
            `False`.
        crop_steps: Steps of a training crop of a store. Defaults to `10`.
        similarities: Path of what `store_similarities` wrote: a training step
            then matches none, and with `conjugate_weight=0` reads no
            conjugates. Defaults to none.
        pose_masks: Path of a store of masks of people. Defaults to none.
        boxes: Path of a store of boxes of people. Defaults to none.
        backbone: Path of what made the features (`.keras`): the SavedModel
            then takes videos too. Defaults to none.
        batch_size: Pairs in a batch. Defaults to `36`.
        train_clips: Training pairs of the built-in set. Defaults to `2400`.
        test_clips: Validation clips of the built-in set, and as many test
            clips. Defaults to `400`.

    Raises:
        ValueError: If they do not go together, or a number is out of range.
    """

    features: str | None = None
    index: str | None = None
    conjugates_column: str = "conjugates"
    background: tuple[str, ...] = ()
    multi_label: bool = False
    crop_steps: int = 10
    similarities: str | None = None
    pose_masks: str | None = None
    boxes: str | None = None
    backbone: str | None = None
    batch_size: int = 36
    train_clips: int = 2400
    test_clips: int = 400

    def __post_init__(self) -> None:
        for name in ("crop_steps", "batch_size", "train_clips", "test_clips"):
            check_positive(name, getattr(self, name))
        object.__setattr__(self, "background", tuple(self.background))
        if bool(self.features) != bool(self.index):
            raise ValueError(
                "`features` and `index` must be given together, or neither. "
                f"Received: features={self.features}, index={self.index}"
            )
        if self.features:
            return
        for name in (
            "background",
            "multi_label",
            "similarities",
            "pose_masks",
            "boxes",
            "backbone",
        ):
            if value := getattr(self, name):
                raise ValueError(
                    f"`{name}` must be left out for the built-in set; it is "
                    f"for `features`. Received: {name}={value}"
                )


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How models are trained, and the hyperparameters of each method.

    Attributes:
        epochs: Epochs of each run, at most. Defaults to `40`.
        patience: Ends a run after so many epochs without a lower
            classification loss L_c on the clips of validation, those of the
            test not being among them; losses of pairs do not count. The
            weights are then those of the epoch with the lowest. Defaults to
            none: all epochs, and the weights of the last.
        class_weight: `"balanced"`: in L_c a clip weighs clips / (classes *
            clips of its class), counted in training, so that a rare class
            weighs as much as a common one; for clips of one class each.
            Defaults to none: all clips weigh the same.
        learning_rate: Of Adam. Defaults to `3e-3`.
        dtype_policy: `"float32"`, or `"mixed_bfloat16"`, which is fast on a
            CPU or GPU that has it. Defaults to `"float32"`.
        deterministic: Whether the same call gives the same figures to the last
            digit, on the same machine. Defaults to `True`.
        rho: ActX: percentage of a clip that is action. Defaults to `30`.
        alpha: ActX: sharpness of the action map. Defaults to `1`.
        beta: ActX: sharpness of the attention. Defaults to `0.3`.
        gamma: ActX: sharpness of the matching. Defaults to `20`.
        xi: ActX: similarity that costs nothing. Defaults to `0`.
        similarity_weight: ActX: weight of L_s. Defaults to `1`.
        difference_weight: ActX: weight of L_d. Defaults to `10`.
        conjugate_weight: ActX: weight of L_n, that conjugates be named no
            action; more than 0 reads them beside stored similarities. Defaults
            to `0.1`.
        context_dropout: ActX: share of the clips whose classifier is given the
            mean of F_c. Defaults to `0`.
        transformation: ActX: form of theta, convolution (the paper's), low_rank
            or identity. Defaults to `"low_rank"`.
        theta_rank: ActX: channels within a low_rank theta. Defaults to `32`.
        acf_similarity_weight: ACF: weight of its L_s. Defaults to `1`.
        acf_difference_weight: ACF: weight of its L_d. Defaults to `1`.
        rank: Attentional pooling: its rank. Defaults to `1`.
        components: Eigen evolution pooling: basis functions. Defaults to `3`.

    Raises:
        ValueError: If one of the first five is out of range. The others are
            checked by the models: see `check_methods`.
    """

    epochs: int = 40
    patience: int | None = None
    class_weight: str | None = None
    learning_rate: float = 3e-3
    dtype_policy: str = "float32"
    deterministic: bool = True
    rho: float = 30.0
    alpha: float = 1.0
    beta: float = 0.3
    gamma: float = 20.0
    xi: float = 0.0
    similarity_weight: float = 1.0
    difference_weight: float = 10.0
    conjugate_weight: float = 0.1
    context_dropout: float = 0.0
    transformation: str = "low_rank"
    theta_rank: int = 32
    acf_similarity_weight: float = 1.0
    acf_difference_weight: float = 1.0
    rank: int = 1
    components: int = 3

    def __post_init__(self) -> None:
        check_positive("epochs", self.epochs)
        if self.patience is not None:
            check_positive("patience", self.patience)
        if self.class_weight not in (None, *CLASS_WEIGHTS):
            raise ValueError(
                f"`class_weight` must be None or one of {CLASS_WEIGHTS}. "
                f"Received: class_weight={self.class_weight!r}"
            )
        check_not_negative("learning_rate", self.learning_rate)
        if self.dtype_policy not in DTYPE_POLICIES:
            raise ValueError(
                f"`dtype_policy` must be one of {DTYPE_POLICIES}. "
                f"Received: dtype_policy={self.dtype_policy!r}"
            )


@dataclasses.dataclass(frozen=True)
class FineTuningSettings:
    """On which video files a model and its backbone are trained, and how.

    Attributes:
        index: Path of the clip index (CSV).
        conjugates_column: The index's column of conjugates. Defaults to
            `"conjugates"`.
        background: Labels that show no action: they get no conjugates, and
            mean average precision leaves them out. Defaults to none.
        multi_label: Whether a clip can be of several classes. Defaults to
            `False`.
        init: Path of a trained model (`.keras`) to begin with: all of its
            weights but those of the classes are taken. Defaults to none.
        crop_frames: Frames of a training crop, no more than the longest clip
            has; of a backbone that sees a fixed number of frames, they are that
            many. Defaults to `64`.
        batch_size: Pairs in a batch. Defaults to `4`.
        flip: Whether left and right change places in half of the training
            clips. Defaults to `True`.
        sided: Labels of which left and right matter: their clips are not
            mirrored. Defaults to none.
        smallest_crop: The shortest sides of a training clip's part that is
            shown, as a share of the frame's. Defaults to `0.8`.
        color: By which share brightness, contrast and saturation change at
            most. Defaults to `0.2`.
        mixing: `"BE"`, `"StillMix"` or `"FAME"`, ways to mix training clips
            against static bias: see `actx_tf.data.mixing.MIXINGS`. Defaults to
            none.
        frozen: What the names of the backbone's layers begin with that are not
            trained. Batch normalization never is. Defaults to none.
        backbone_rate: Learning rate of the backbone, as a share of that of the
            head. Defaults to `0.01`.
        layer_decay: What the backbone's rate is multiplied by, from each
            eighth of its trained layers to the eighth before it. Defaults to
            `1`.
        recompute: Whether to compute activations of the backbone again when
            gradients need them: longer clips or batches fit into memory, and a
            step takes longer. Defaults to `False`.
        temporal_views: Stretches of a clip that the answer is a mean of, in
            testing; of 1, the clip is answered as a whole. Defaults to `1`.
        spatial_views: Parts of the frames that the answer is a mean of; of 1,
            whole frames are shown. Defaults to `1`.
        seed: Seed of all that is random. Defaults to `0`.

    Raises:
        ValueError: If a number is out of range.
    """

    index: str
    conjugates_column: str = "conjugates"
    background: tuple[str, ...] = ()
    multi_label: bool = False
    init: str | None = None
    crop_frames: int = 64
    batch_size: int = 4
    flip: bool = True
    sided: tuple[str, ...] = ()
    smallest_crop: float = 0.8
    color: float = 0.2
    mixing: str | None = None
    frozen: tuple[str, ...] = ()
    backbone_rate: float = 0.01
    layer_decay: float = 1.0
    recompute: bool = False
    temporal_views: int = 1
    spatial_views: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("background", "sided", "frozen"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in (
            "crop_frames",
            "batch_size",
            "temporal_views",
            "spatial_views",
        ):
            check_positive(name, getattr(self, name))
        for name in ("backbone_rate", "layer_decay"):
            check_not_negative(name, getattr(self, name))
        if not is_number(self.seed, numbers.Integral) or self.seed < 0:
            raise ValueError(
                f"`seed` must be an integer >= 0. Received: seed={self.seed!r}"
            )
        check_share("smallest_crop", self.smallest_crop, above_zero=True)
        check_rate("color", self.color)
        if self.mixing not in (None, *MIXINGS):
            raise ValueError(
                f"`mixing` must be None or one of {MIXINGS}. "
                f"Received: mixing={self.mixing!r}"
            )


# Weights that are good already move by less, and sooner.
FINE_TUNING = TrainingSettings(epochs=10, learning_rate=1e-3)


def help_of_settings(settings: type) -> dict[str, str]:
    """Returns what each field of some settings means, for `--help`.

    Args:
        settings: `DataSettings`, say.

    Returns:
        The text of each field by its name, from the docstring, without the
        default.
    """
    section = (inspect.getdoc(settings) or "").partition("Attributes:\n")[2]
    section = section.partition("\n\n")[0]
    found = re.findall(
        r"^    (\w+): (.*?)(?=^    \w|\Z)",
        section,
        re.DOTALL | re.MULTILINE,
    )
    return {name: _as_help(text) for name, text in found}


def _as_help(text):
    text = " ".join(text.split()).partition(" Defaults to")[0]
    text = re.sub('[`"]', "", text).rstrip(".")
    first = text.partition(" ")[0]
    return (
        text if first[1:].lower() != first[1:] else text[0].lower() + text[1:]
    )
