"""ActX and its training step in PyTorch alone, to measure ours beside it."""

import torch
from torch import nn
from torch.nn import functional


class ActX(nn.Module):
    """The layers and the losses of `actx_tf.models.ActX`, channels last.

    Features are `(batch, time, height, width, channels)`; there are no masks.
    No gradient flows through the matching unless they are `trained`.
    """

    def __init__(
        self, num_classes, channels, rho, alpha, beta, gamma, trained=False
    ):
        super().__init__()
        self.trained = trained
        self.rho, self.alpha, self.beta, self.gamma = rho, alpha, beta, gamma
        self.phi_and_psi = nn.Linear(channels, 2, bias=False)
        self.theta = nn.Linear(channels, channels)
        self.head = nn.Linear(2 * channels, num_classes)

    def forward(self, features, conjugate=None, similarity=None):
        features = features.float().flatten(1, 3)
        confidence = self.phi_and_psi(features).float().transpose(1, 2)
        mean = confidence.mean(-1, keepdim=True)
        variance = confidence.var(-1, keepdim=True, unbiased=False)
        confidence = (confidence - mean) * torch.rsqrt(variance + 1e-6)
        act, att = confidence.unbind(1)
        act = act - torch.quantile(
            act, 1 - self.rho / 100, dim=-1, keepdim=True
        )
        act = torch.sigmoid(self.alpha * act)
        maps = torch.stack(
            [act * functional.softmax(self.beta * att, dim=-1), 1 - act], 1
        )
        maps = maps / maps.sum(-1, keepdim=True)
        transformed = functional.relu(features + self.theta(features))
        pooled = torch.matmul(maps.to(transformed.dtype), transformed)
        logits = self.head(pooled.flatten(1)).float()
        if conjugate is not None:
            with torch.set_grad_enabled(self.trained):
                similarity = self.similarity(
                    features, conjugate.float().flatten(1, 3)
                )
        elif similarity is not None:
            similarity = similarity.float().flatten(1)
        else:
            return logits
        action_similarity = (maps[:, 0] * similarity.clamp(min=0)).sum(-1)
        context_difference = (maps[:, 1] * (1 - similarity)).sum(-1)
        return logits, action_similarity.mean(), context_difference.mean()

    def similarity(self, features, conjugate):
        queries = self.gamma * functional.normalize(features, dim=-1)

        def match(reference):
            keys = functional.normalize(reference, dim=-1)
            scores = torch.matmul(queries, keys.transpose(1, 2))
            return torch.matmul(
                functional.softmax(scores, dim=-1), reference
            ).float()

        return functional.cosine_similarity(
            match(features), match(conjugate), dim=-1
        )


def make_step(model, autocast=False, compiled=False):
    """Returns a function of a batch and its labels: a step, and its loss.

    Args:
        model: The model, on the device of the step.
        autocast: Whether products are computed in bfloat16.
        compiled: Whether `torch.compile` compiles the model and its loss, and
            their gradient. Adam is PyTorch's own fused one on a GPU.
    """
    device = next(model.parameters()).device.type
    optimizer = torch.optim.Adam(model.parameters(), fused=device == "cuda")

    def compute_loss(labels, inputs):
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            logits, *pair_losses = model(**inputs)
        return functional.cross_entropy(logits, labels) + sum(pair_losses)

    if compiled:
        # Whole, or not at all: parts of it would run uncompiled unseen.
        compute_loss = torch.compile(
            compute_loss, fullgraph=True, dynamic=False
        )

    def step(labels, **inputs):
        optimizer.zero_grad()
        loss = compute_loss(labels, inputs)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
