"""The losses against loops over numbers, against finite differences, and where they are least."""

import math

import pytest
import torch

from tabgraa_sklearn import _objectives as objectives


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


HIGH = [0.3, -0.2, 0.9]
LOW = [-0.4, 0.1]
BETA = 1.7


def by_loop(name):
    pairs = [(h, low) for h in HIGH for low in LOW]
    if name == "dpo":
        return -sum(math.log(sigmoid(BETA * (h - low))) for h, low in pairs) / len(pairs)
    if name == "ipo":
        return sum((h - low - 1 / (2 * BETA)) ** 2 for h, low in pairs) / len(pairs)
    if name == "kto":
        z = max((sum(HIGH) + sum(LOW)) / 5, 0.0)
        gain = sum(1 - sigmoid(BETA * (h - z)) for h in HIGH) / len(HIGH)
        loss = sum(1 - sigmoid(BETA * (z - low)) for low in LOW) / len(LOW)
        return (gain + loss) / 2
    if name == "npo":
        return -2 / BETA * sum(math.log(sigmoid(-BETA * low)) for low in LOW) / len(LOW)
    advantage = sum(HIGH) / len(HIGH) - sum(LOW) / len(LOW)
    if name == "tabgraa":
        return -math.log(sigmoid(BETA * advantage))
    return 1 - sigmoid(BETA * advantage)


def by_tensors(name, high, low):
    loss = getattr(objectives, name)
    if name == "npo":
        return loss(low, BETA)
    if name.startswith("tabgraa"):
        return loss(objectives.group_advantage(high, low), BETA)
    return loss(high, low, BETA)


NAMES = ["tabgraa", "tabgraa_sigmoid", "dpo", "ipo", "kto", "npo"]


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_what_a_loop_over_the_rows_gives(name):
    high, low = (torch.tensor(part, dtype=torch.float64) for part in (HIGH, LOW))
    assert float(by_tensors(name, high, low)) == pytest.approx(by_loop(name), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_finite_differences(name):
    high, low = (
        torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in (HIGH, LOW)
    )
    if name == "kto":  # z is a constant of its loss, which differences do not know
        z = torch.cat([high, low]).mean().detach()
        g, s = (BETA * (high - z)).sigmoid(), (BETA * (z - low)).sigmoid()
        expected = torch.autograd.grad(1 - (g.mean() + s.mean()) / 2, [high, low])
        given = torch.autograd.grad(objectives.kto(high, low, BETA), [high, low])
        torch.testing.assert_close(given, expected)
        return
    assert torch.autograd.gradcheck(lambda h, low: by_tensors(name, h, low), (high, low))


@pytest.mark.parametrize("name", NAMES)
def test_the_high_group_is_pushed_up_and_the_low_one_down(name):
    high, low = (torch.zeros(3, requires_grad=True) for _ in range(2))
    by_tensors(name, high, low).backward()
    assert (low.grad > 0).all()
    assert name == "npo" or (high.grad < 0).all()


@pytest.mark.parametrize("loss", [objectives.tabgraa, objectives.tabgraa_sigmoid])
@pytest.mark.parametrize(("beta", "gap"), [(1.0, 0.4), (2.0, -0.7)])
def test_with_a_target_the_loss_is_least_where_the_advantage_is_the_gap_over_beta(loss, beta, gap):
    advantages = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    losses = torch.stack([loss(a[None], beta, torch.tensor([gap]).double()) for a in advantages])
    assert float(advantages[losses.argmin()]) == pytest.approx(gap / beta, abs=1e-3)


@pytest.mark.parametrize("loss", [objectives.tabgraa, objectives.tabgraa_sigmoid])
def test_a_large_gap_gives_the_published_form(loss):
    advantage = torch.tensor([0.3, -0.1], dtype=torch.float64)
    far = torch.full_like(advantage, 60.0)
    torch.testing.assert_close(loss(advantage, 1.3, far), loss(advantage, 1.3))


def test_the_advantage_is_taken_over_the_group_before_the_sigmoid():
    high, low = torch.tensor([2.0, -2.0]), torch.tensor([0.0, 0.0])
    of_groups = objectives.tabgraa(objectives.group_advantage(high, low), 1.0)
    assert float(of_groups) == pytest.approx(math.log(2))
    assert float(objectives.dpo(high, low, 1.0)) > float(of_groups) + 0.1


def test_weights_count_members_and_cells_of_their_own():
    values = torch.tensor([[1.0, 5.0], [3.0, 7.0], [9.0, 2.0]])
    high = torch.tensor([[1.0, 0.0], [3.0, 1.0], [0.0, 0.0]])
    low = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    given = objectives.group_advantage(values, values, high, low)
    torch.testing.assert_close(given, torch.tensor([(1 + 9) / 4 - 9, 7.0 - 0.0]))


def test_trust_region_and_divergence_are_nought_for_equal_models_and_agree_for_near_ones():
    assert float(objectives.trust_region(torch.zeros(4, 3))) == 0.0
    assert float(objectives.divergence(torch.zeros(4))) == 0.0
    near = 0.01 * torch.randn(1000, 1, dtype=torch.float64, generator=torch.manual_seed(0))
    half_square = float(objectives.trust_region(near))
    assert float(objectives.divergence(near[:, 0])) == pytest.approx(half_square, rel=0.05)
    cells = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    assert float(objectives.trust_region(cells)) == pytest.approx((1 + 4 + 9) / 4)


def test_with_a_target_the_sigmoid_form_pulls_less_the_nearer_it_is():
    gap = torch.tensor([0.4], dtype=torch.float64)

    def slope(advantage):
        at = torch.tensor([advantage], dtype=torch.float64, requires_grad=True)
        objectives.tabgraa_sigmoid(at, 1.0, gap).backward()
        reached = sigmoid(advantage)
        assert float(at.grad) == pytest.approx((reached - sigmoid(0.4)) * reached, rel=1e-9)
        return abs(float(at.grad))

    assert slope(0.39) < slope(0.3) / 5 < slope(0.0) / 5
