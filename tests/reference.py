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
