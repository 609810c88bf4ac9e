"""A trained model as the beginning of another one, of other classes."""

import os

from actx_tf.backbones.backbone import Backbone
from actx_tf.models import ActX
from actx_tf.models import PairedModel
from actx_tf.models import load_model
from actx_tf.settings import TrainingSettings

# Of these classes, or counted over these clips.
_LEFT = ("head", "context_switch")


class InitialModel:
    """What a trained model has to give.

    Args:
        path: Path of a `.keras` file: of an `ActX`, with or without its
            backbone; of any other model with a `Backbone` in it; or of a
            `Backbone`.

    Attributes:
        path: The path.
        backbone: Its backbone, `None` if it has none.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is something else.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = path
        self._model = load_model(path)
        self.backbone = _find_backbone(self._model, path)
        if self.backbone is None and not isinstance(self._model, ActX):
            raise ValueError(
                f"`init` must be the path of an ActX, or of a model that holds "
                "a Backbone, which says what it sees (make_backbone makes one "
                f"of any network). Received: {path}, of "
                f"{type(self._model).__name__}"
            )

    def check(self, backbone: Backbone, settings: TrainingSettings) -> None:
        """Raises `ValueError` if a model of these would not fit its weights.

        Args:
            backbone: The backbone of the new model.
            settings: The settings of the new model.
        """
        model = self._model
        if not isinstance(model, ActX):
            return
        for name in ("transformation", "theta_rank"):
            own = getattr(model, name)
            if own != getattr(settings, name):
                raise ValueError(
                    f"`{name}` must be that of `init`, {own!r}. "
                    f"Received: {name}={getattr(settings, name)!r}"
                )
        if model.kernel_size != 1 or not model.use_attention_map:
            raise ValueError(
                "`init` must be an ActX of kernel_size=1 with an attention "
                f"map. Received: kernel_size={model.kernel_size}, "
                f"use_attention_map={model.use_attention_map}"
            )
        if self.backbone is not None:
            return
        if model.description is None:
            raise ValueError(
                f"`init` must say what made its features. Received: {self.path}"
            )
        if different := model.description.differences(backbone.description):
            raise ValueError(
                "`backbone` must be what made the features of `init`. "
                f"Received: {', '.join(different)}"
            )

    def give_to(self, model: ActX) -> list[str]:
        """Gives the weights of the attention to a model that has the backbone.

        Args:
            model: A model that is built.

        Returns:
            What was taken, and what was not, a sentence each.
        """
        taken = ["the backbone"] if self.backbone is not None else []
        if isinstance(self._model, ActX):
            model.pooling.set_weights(self._model.pooling.get_weights())
            taken.append("the attention (pooling)")
            left = [
                f"the {name} ({_count(getattr(self._model, name))} weights)"
                for name in _LEFT
            ]
        else:
            left = [
                f"{layer.name} ({_count(layer)} weights)"
                for layer in self._model.layers
                if layer.weights and layer is not self.backbone
            ]
        if self.backbone is self._model:
            left = []
        return [
            f"init: taken from {self.path}: {' and '.join(taken)}",
            f"init: not taken: {', '.join(left) or 'nothing'}",
        ]


def _find_backbone(model, path):
    if isinstance(model, Backbone):
        return model
    if isinstance(model, PairedModel):
        found = [model.backbone] if model.backbone is not None else []
    else:
        found = list(model._flatten_layers(include_self=False))
    found = [layer for layer in found if isinstance(layer, Backbone)]
    if len(found) > 1:
        raise ValueError(
            f"`init` must hold one Backbone. Received: {path}, which holds "
            f"{len(found)}"
        )
    return found[0] if found else None


def _count(layer):
    return f"{layer.count_params():,}"
