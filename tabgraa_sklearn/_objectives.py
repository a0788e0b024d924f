"""The losses of the alignment: tensors in, a scalar out.

All of them act on log-ratios ``d = log policy - log reference``, in nats, of rows or of cells that
were drawn from the policy; two equal models have d = 0. ``beta`` has one meaning throughout, that
of DPO: a log-ratio of d stands for a reward of ``beta * d``, so that the larger it is, the nearer
the policy stays to the reference for a given reward, and the sharper the sigmoid is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "divergence",
    "dpo",
    "group_advantage",
    "group_weights",
    "ipo",
    "kto",
    "npo",
    "tabgraa",
    "tabgraa_sigmoid",
    "trust_region",
]


def group_advantage(
    high: Tensor,
    low: Tensor,
    high_weights: Tensor | None = None,
    low_weights: Tensor | None = None,
) -> Tensor:
    """Mean over the high group minus mean over the low one, ``a`` of the method.

    Parameters
    ----------
    high, low : Tensor of shape (n_high, ...) and (n_low, ...)
    high_weights, low_weights : Tensor of the same shapes, optional
        How much each member counts; None: all the same. A group without weight has mean 0.

    Returns
    -------
    Tensor of shape (...)
    """
    return _mean(high, high_weights) - _mean(low, low_weights)


def group_weights(
    reward: Tensor, quantile: float = 0.5, proportionate: bool = False
) -> tuple[Tensor, Tensor]:
    """How much each row counts in the high and in the low group, column by column.

    Parameters
    ----------
    reward : Tensor of shape (batch, n_units)
    quantile : float
        Share of the ranking that each group takes; .5: halves.
    proportionate : bool
        Whether members count by their distance from the mean of all, instead of alike.

    Returns
    -------
    high, low : Tensor of shape (batch, n_units)
        0 for rows that are not of the group. Rows that earn the same as the middle are of none,
        unless all others are on one side of it: then they are the other side.
    """
    ranks = reward.argsort(stable=True, dim=0).argsort(dim=0)
    size = max(int(len(reward) * quantile), 1)
    middle = reward.mean(0) if proportionate else reward.quantile(0.5, dim=0)
    above, below, level = reward > middle, reward < middle, reward == middle
    has_above, has_below = above.any(0), below.any(0)
    high = (ranks >= len(reward) - size) & (above | (level & ~has_above & has_below))
    low = (ranks < size) & (below | (level & ~has_below & has_above))
    distance = (reward - middle).abs() if proportionate else torch.ones_like(reward)
    return high * distance, low * distance


def tabgraa(advantage: Tensor, beta: float, gap: Tensor | None = None) -> Tensor:
    r"""Group-relative advantage loss, log-sigmoid form.

    .. math:: L = -\log \sigma(\beta a)

    It has no finite minimum: the advantage grows as long as there are steps. With the gap g
    between the groups' mean rewards in nats, it has one, where the advantage is what the rewards
    justify, ``beta * a = g``:

    .. math:: L = -\sigma(g) \log \sigma(\beta a) - (1 - \sigma(g)) \log \sigma(-\beta a)

    which is the loss above for g to infinity.

    Parameters
    ----------
    advantage : Tensor of any shape
        Of :func:`group_advantage`; the loss is the mean over its entries.
    beta : float
    gap : Tensor of the same shape, optional

    References
    ----------
    Tabular Group-Relative Advantage Alignment, arXiv:2604.18966. The target is ours; its kin are
    IPO and REBEL.
    """
    if gap is None:
        return -F.logsigmoid(beta * advantage).mean()
    return F.binary_cross_entropy_with_logits(beta * advantage, gap.sigmoid())


def tabgraa_sigmoid(advantage: Tensor, beta: float, gap: Tensor | None = None) -> Tensor:
    r"""Group-relative advantage loss, sigmoid form.

    .. math:: L = 1 - \sigma(\beta a)

    and with the gap g between the groups' mean rewards, in nats,

    .. math:: L = 1 - \sigma(\beta a) - (1 - \sigma(g)) \log \sigma(-\beta a)

    which is the loss above for g to infinity. Its derivative by :math:`\beta a`,
    :math:`(\sigma(\beta a) - \sigma(g)) \sigma(\beta a)`, is 0 where the advantage is what the
    rewards justify, and nowhere else. (The distance of the two sigmoids would be least there, too,
    but pulls as hard near it as far from it: each batch's noise moves the model in full.)

    Parameters and reference as of :func:`tabgraa`.
    """
    logits = beta * advantage
    loss = 1.0 - logits.sigmoid()
    if gap is not None:
        loss = loss + (-gap).sigmoid() * F.softplus(logits)
    return loss.mean()


def dpo(high: Tensor, low: Tensor, beta: float) -> Tensor:
    r"""Direct preference optimisation, the mean over all pairs of a high and a low row.

    .. math:: L = -E \log \sigma(\beta (d_h - d_l))

    References
    ----------
    Rafailov et al., "Direct Preference Optimization", NeurIPS 2023, equation 7.
    """
    return -F.logsigmoid(beta * (high[:, None] - low[None])).mean()


def ipo(high: Tensor, low: Tensor, beta: float) -> Tensor:
    r"""Identity preference optimisation, the mean over all pairs of a high and a low row.

    .. math:: L = E \left(d_h - d_l - \frac{1}{2 \beta}\right)^2

    References
    ----------
    Azar et al., "A General Theoretical Paradigm to Understand Learning from Human Preferences",
    AISTATS 2024, equation 17.
    """
    return (high[:, None] - low[None] - 0.5 / beta).square().mean()


def kto(high: Tensor, low: Tensor, beta: float) -> Tensor:
    r"""Kahneman-Tversky optimisation with both groups weighted alike.

    .. math:: L = 1 - \tfrac12 E_h \sigma(\beta (d_h - z)) - \tfrac12 E_l \sigma(\beta (z - d_l))

    where z, through which no gradient flows, estimates the divergence from the reference: the
    mean log-ratio of the batch, not below 0.

    References
    ----------
    Ethayarajh et al., "KTO: Model Alignment as Prospect Theoretic Optimization", ICML 2024,
    equation 8.
    """
    z = torch.cat([high, low]).mean().detach().clamp(min=0.0)
    gain, loss = (beta * (high - z)).sigmoid(), (beta * (z - low)).sigmoid()
    return 1.0 - (gain.mean() + loss.mean()) / 2


def npo(low: Tensor, beta: float) -> Tensor:
    r"""Negative preference optimisation: the low group is suppressed, the high one unused.

    .. math:: L = -\frac{2}{\beta} E \log \sigma(-\beta d_l)

    References
    ----------
    Zhang et al., "Negative Preference Optimization: From Catastrophic Collapse to Effective
    Unlearning", COLM 2024, equation 3.
    """
    return -2.0 / beta * F.logsigmoid(-beta * low).mean()


def trust_region(log_ratio: Tensor) -> Tensor:
    r"""Half the mean square of the log-ratios, summed over a row's cells.

    .. math:: L = \tfrac12 E \sum_c d_c^2

    To second order the divergence of the policy from the reference, and what keeps cells that no
    reward speaks of where they are.

    Parameters
    ----------
    log_ratio : Tensor of shape (batch, n_cells)
    """
    return 0.5 * log_ratio.square().sum(1).mean()


def divergence(log_ratio: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of the policy from the reference, on rows of the reference.

    .. math:: KL(ref || policy) = E [e^d - 1 - d]

    the estimator of which every term is positive.

    Parameters
    ----------
    log_ratio : Tensor of shape (batch,)

    References
    ----------
    Schulman, "Approximating KL Divergence", 2020 (estimator k3).
    """
    return (log_ratio.expm1() - log_ratio).mean()


def _mean(values: Tensor, weights: Tensor | None) -> Any:
    if weights is None:
        return values.mean(0)
    total = weights.sum(0)
    return (weights * values).sum(0) / total.where(total > 0, 1.0)
