"""The equations of the paper in float64 NumPy, for one clip at a time.

Written from the paper, one function an equation, with loops where they are
the plainest. There are no masks here: what is padded is cut off beforehand.
"""

import numpy as np


def unit(v):
    length = np.sqrt(np.sum(v * v))
    return v / length if length > 0 else v


def match_features(features, reference, gamma):
    """eta(F_k, F') of Eq. 2 for every location k of F."""
    vectors = reference.reshape(-1, reference.shape[-1]).astype("float64")
    matched = np.zeros(features.shape)
    for k in np.ndindex(features.shape[:-1]):
        key = unit(features[k].astype("float64"))
        scores = np.array([gamma * key @ unit(v) for v in vectors])
        share = np.exp(scores - scores.max())
        matched[k] = share @ vectors / share.sum()
    return matched


def similarity(features, conjugate, gamma):
    """cos<eta(F_k, F), eta(F_k, F')> for every location k of F (Sec. 3.2)."""
    in_clip = match_features(features, features, gamma)
    in_conjugate = match_features(features, conjugate, gamma)
    cosine = np.zeros(features.shape[:-1])
    for k in np.ndindex(cosine.shape):
        cosine[k] = unit(in_clip[k]) @ unit(in_conjugate[k])
    return cosine


def action_similarity(action_map, similarity_map, xi):
    """L_s of Eq. 3."""
    sim = np.maximum(0.0, similarity_map - xi)
    return np.sum(action_map * sim) / np.sum(action_map)


def context_difference(context_map, similarity_map):
    """L_d of Eq. 4."""
    diff = 1.0 - similarity_map
    return np.sum(context_map * diff) / np.sum(context_map)


def att_norm(x):
    """AttNorm of Sec. 3.4 over all of x."""
    x = x.astype("float64")
    deviation = np.sqrt(np.mean((x - np.mean(x)) ** 2))
    return (x - np.mean(x)) / deviation


def percent(x, rho):
    """Percent of Sec. 3.4: rho percent of the result is positive."""
    return x - np.percentile(x.astype("float64"), 100.0 - rho)


def conv3d(features, kernel, bias=0.0):
    """Convolution that keeps the size; zeros lie around the clip."""
    features = features.astype("float64")
    before = [(size - 1) // 2 for size in kernel.shape[:3]]
    total = np.zeros(features.shape[:3] + kernel.shape[-1:])
    for here in np.ndindex(total.shape[:3]):
        for offset in np.ndindex(kernel.shape[:3]):
            there = np.add(here, offset) - before
            if np.all(there >= 0) and np.all(there < features.shape[:3]):
                total[here] += features[tuple(there)] @ kernel[offset]
    return total + bias


def attention_maps(features, phi, psi, rho, alpha, beta):
    """S and C of Eqs. 5 and 6; psi None is "w/o Satt" of Table 1."""
    confidence = percent(att_norm(conv3d(features, phi)[..., 0]), rho)
    s_act = 1.0 / (1.0 + np.exp(-alpha * confidence))
    s_att = 1.0
    if psi is not None:
        weight = np.exp(beta * att_norm(conv3d(features, psi)[..., 0]))
        s_att = weight / np.sum(weight)
    return s_act * s_att, 1.0 - s_act


def pool(features, weights, theta_kernel, theta_bias):
    """F_s, or with the context map F_c, of Sec. 3.3."""
    convolved = conv3d(features, theta_kernel, theta_bias)
    theta = np.maximum(0.0, features + convolved)
    total = np.zeros(theta.shape[-1])
    for i in np.ndindex(weights.shape):
        total += weights[i] * theta[i]
    return total / np.sum(weights)


def cross_entropy(logits, label):
    """L_c for one clip of a single class."""
    logits = logits.astype("float64")
    return np.log(np.sum(np.exp(logits))) - logits[label]


def objective(l_c, l_s, l_d, similarity_weight=1.0, difference_weight=1.0):
    """Eq. 1 over a batch; L_s and L_d are lists over its pairs alone."""
    total = np.mean(l_c)
    if len(l_s):
        total += similarity_weight * np.mean(l_s)
        total += difference_weight * np.mean(l_d)
    return total


def mask_pooling(features, weights):
    """PoseMask of Table 1: the weighted mean of F."""
    total = np.zeros(features.shape[-1])
    for i in np.ndindex(weights.shape):
        total += weights[i] * features[i].astype("float64")
    return total / np.sum(weights, dtype="float64")


def roi_align(step, box, bins, ratio):
    """RoIAlign (aligned) of one box: `(bins, bins, channels)`.

    Mask R-CNN, Sec. 3: each bin is the mean of ratio x ratio values, and each
    value interpolates between the centers of the four nearest cells.
    """
    height, width, channels = step.shape
    x1, y1, x2, y2 = box * [width, height, width, height] - 0.5
    pooled = np.zeros((bins, bins, channels))
    for i, j in np.ndindex(bins, bins):
        for u, v in np.ndindex(ratio, ratio):
            y = y1 + (y2 - y1) * (i + (u + 0.5) / ratio) / bins
            x = x1 + (x2 - x1) * (j + (v + 0.5) / ratio) / bins
            pooled[i, j] += bilinear(step, y, x) / ratio**2
    return pooled


def bilinear(step, y, x):
    """The value at (y, x); outside the cells' centers, that of the nearest."""
    height, width, _ = step.shape
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = (1 - dx) * step[top, left] + dx * step[top, right]
    lower = (1 - dx) * step[bottom, left] + dx * step[bottom, right]
    return (1 - dy) * upper + dy * lower


def region_pooling(features, boxes, bins, ratio):
    """k-Region of Table 1: the mean of all bins of all boxes that are there."""
    regions = []
    for step, of_step in zip(features.astype("float64"), boxes, strict=True):
        for box in of_step.astype("float64"):
            if box[2] > box[0] and box[3] > box[1]:  # False for a NaN
                regions.append(roi_align(step, box, bins, ratio))
    if not regions:
        return features.astype("float64").mean(axis=(0, 1, 2))
    return np.mean(regions, axis=(0, 1, 2))


def attentional_pooling(features, top_down, bottom_up):
    """Tr(X^T X W_k^T) with W_k = sum_p a_kp b_p^T, a mean over locations.

    Girdhar and Ramanan, Sec. 3. `top_down` is `(channels, rank, classes)`,
    `bottom_up` is `(channels, rank)`.
    """
    x = features.reshape(-1, features.shape[-1]).astype("float64")
    logits = []
    for k in range(top_down.shape[-1]):
        w_k = top_down[..., k] @ bottom_up.T
        logits.append(np.trace(x.T @ x @ w_k.T) / len(x))
    return np.array(logits)


def evolution(steps, num_steps):
    """Each channel as a function of time: `(channels, num_steps)`.

    The clip is the interval from 0 to 1; what a step holds, and what a value
    stands for, is in the middle of an equal part of it.
    """
    time = (np.arange(len(steps)) + 0.5) / len(steps)
    wanted = (np.arange(num_steps) + 0.5) / num_steps
    return np.array([np.interp(wanted, time, f) for f in steps.T])


def eigen_evolution_pooling(steps, components):
    """Projections on each function g_j, as means over time."""
    num_steps = components.shape[1]
    basis = components * np.sqrt(num_steps)  # mean square 1
    functions = evolution(steps, num_steps)
    return np.concatenate([[np.mean(f * g) for f in functions] for g in basis])
