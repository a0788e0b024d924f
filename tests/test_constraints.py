"""Constraints at sampling: what holds for every row, and by which distribution."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_tiny

from tabgraa_sklearn import _meeting, _questions
from tabgraa_sklearn._possible import PossibleCombinations
from tabgraa_sklearn.constraints import Constraint, FixedCombinations, Inequality, Predicate


def make_rows(n_rows=400, seed=0):
    random = np.random.default_rng(seed)
    city = random.integers(0, 4, n_rows)
    start = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 300, n_rows), unit="D")
    low = np.round(random.gamma(2, 20, n_rows), 2)
    return pd.DataFrame(
        {
            "city": np.array(["Bern", "Chur", "Lyon", "Nice"])[city],
            "country": np.array(["CH", "CH", "FR", "FR"])[city],
            "start": start,
            "end": start + pd.to_timedelta(random.integers(0, 60, n_rows), unit="D"),
            "low": np.where(random.random(n_rows) < 0.1, np.nan, low),
            "high": low + np.round(random.gamma(2, 10, n_rows), 2),
            "grade": pd.Categorical(random.choice(list("abc"), n_rows), ordered=True),
        }
    )


@pytest.fixture(scope="module")
def rows():
    return make_rows()


@pytest.fixture(scope="module")
def model(rows):
    """So little learnt that hardly a row would meet anything by itself."""
    return make_tiny(max_epochs=2, n_rounds=0).fit(rows)


@pytest.fixture
def all_three(rows):
    return [
        FixedCombinations(rows[["city", "country"]]),
        Inequality("start", "end"),
        Inequality("low", "high", strict=True),
    ]


def test_every_row_meets_all_constraints(model, rows, all_three):
    free = model.sample(500, random_state=0)
    assert not np.logical_and.reduce([each.holds(free) for each in all_three]).all()
    drawn = model.sample(500, constraints=all_three, random_state=0)
    assert len(drawn) == 500
    assert (drawn.dtypes == rows.dtypes).all()
    swiss = drawn["city"].isin(["Bern", "Chur"])
    assert (drawn["country"].eq("CH") == swiss).all()
    assert (drawn["start"] <= drawn["end"]).all()
    both = drawn.dropna()
    assert 0 < len(both) < 500
    assert (both["low"] < both["high"]).all()


def test_the_same_seed_gives_the_same_rows(model, all_three):
    one, other = (model.sample(40, constraints=all_three, random_state=3) for _ in range(2))
    pd.testing.assert_frame_equal(one, other)
    assert not one.equals(model.sample(40, constraints=all_three, random_state=4))


def test_masks_save_rows_that_would_be_refused(model, all_three, monkeypatch):
    draw = _meeting.sample_tokens
    drawn = []

    def count(backbone, n_samples, **settings):
        drawn.append(n_samples)
        return draw(backbone, n_samples, **settings)

    monkeypatch.setattr(_meeting, "sample_tokens", count)
    accepted = []
    for masked in (True, False):
        if not masked:
            for kind in (FixedCombinations, Inequality):
                monkeypatch.setattr(kind, "possible", Constraint.possible)
        drawn.clear()
        model.sample(2000, constraints=all_three, random_state=0)
        assert drawn[0] == 2000
        accepted.append(2000 - drawn[1] / 4)  # the second round draws four for each that is left
    assert accepted[0] > 1.5 * accepted[1]


def test_rows_follow_the_model_among_those_that_meet_the_constraint():
    """As rejection would: a mask alone would draw the first column as if nothing were asked."""
    table = pd.DataFrame({"a": [0, 0, 0, 1] * 50, "b": [0, 0, 1, 0] * 50})
    table = pd.concat([table, pd.DataFrame({"a": [1] * 150, "b": [1] * 150})], ignore_index=True)
    model = make_tiny(max_epochs=30, n_rounds=0).fit(table)
    free = model.sample(40_000, random_state=0)
    expected = free[free["a"] <= free["b"]].value_counts(normalize=True)
    drawn = model.sample(20_000, constraints=[Inequality("a", "b")], random_state=1)
    found = drawn.value_counts(normalize=True)
    for pair, share in expected.items():
        assert found[pair] == pytest.approx(share, abs=5 * np.sqrt(share / 10_000))


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_combinations_follow_the_model_at_every_temperature(temperature):
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "a": random.choice(list("xyz"), 900, p=[0.6, 0.3, 0.1]),
            "b": random.choice(list("pqr"), 900, p=[0.2, 0.3, 0.5]),
        }
    )
    model = make_tiny(max_epochs=10, n_rounds=0).fit(table)
    seen = pd.DataFrame({"a": list("xxyz"), "b": list("pqrr")})
    fixed = FixedCombinations(seen)
    free = model.sample(40_000, random_state=0, temperature=temperature)
    expected = free[fixed.holds(free)].value_counts(normalize=True)
    drawn = model.sample(10_000, constraints=[fixed], random_state=1, temperature=temperature)
    found = drawn.value_counts(normalize=True)
    assert set(found.index) == set(expected.index)
    for pair, share in expected.items():
        assert found[pair] == pytest.approx(share, abs=5 * np.sqrt(share / 8_000))


def test_a_given_number_between_the_values_seen_bounds_exactly():
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {"low": random.integers(0, 11, 600), "high": random.choice([0, 5, 10], 600)}
    )
    model = make_tiny(max_epochs=5, n_rounds=0).fit(table)
    inequality = Inequality("low", "high")
    drawn = model.sample(400, conditions={"high": 7}, constraints=[inequality], random_state=0)
    assert (drawn["high"] == 7).all()
    assert set(drawn["low"]) == set(range(8))


def test_masks_bar_no_row_that_is_legal():
    """Extremes are drawn from several of the outermost cells: neither mask may forget them."""
    random = np.random.default_rng(0)
    x = random.lognormal(3, 2, 4000)
    table = pd.DataFrame({"low": x * random.random(4000) ** 0.1, "high": x})
    model = make_tiny(max_epochs=3, n_rounds=0).fit(table)
    rows = pd.concat([table, model.sample(20_000, random_state=0)], ignore_index=True)
    rows = rows[rows["low"] <= rows["high"]]
    tokenizer = model._tokenizer
    rule = Inequality("low", "high").possible(tokenizer)
    first = {name: tokenizer.encode_column(name, rows[name])[:, 0] for name in ("low", "high")}
    for known, column in (("low", "high"), ("high", "low")):
        places = {name: tokenizer.schema_.position(name) for name in first}
        mask = rule.mask(places[column], {places[known]: first[known]}, len(rows))
        assert mask[np.arange(len(rows)), first[column]].all()
        assert mask.mean() < 0.9


def test_rows_without_a_way_out_are_left_behind():
    """Countries are drawn before codes of which none belongs to them."""
    random = np.random.default_rng(0)
    code = random.integers(0, 600, 3000)
    table = pd.DataFrame(
        {"country": np.where(code < 300, "CH", "FR"), "code": [f"c{i:03d}" for i in code]}
    )
    table["code"] = table["code"].astype("category")
    model = make_tiny(n_rounds=0).fit(table)
    asked = {"country": ["CH", "FR"], "code": ["c599", "c598"]}
    fixed = FixedCombinations(table)
    drawn = model.sample(30, conditions=asked, constraints=[fixed], random_state=0)
    assert (drawn["country"] == "FR").all()
    assert set(drawn["code"]) <= {"c599", "c598"}
    with pytest.raises(ValueError, match="were not met"):
        impossible = {"country": "CH", "code": ["c599", "c598"]}
        model.sample(3, conditions=impossible, constraints=[fixed], random_state=0)


def test_numbers_learnt_by_intervals_have_no_combinations():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"lat": random.normal(size=2000), "lon": random.normal(size=2000)})
    model = make_tiny(n_rounds=0).fit(table)
    with pytest.raises(ValueError, match="names 'lat', whose many values are learnt by intervals"):
        model.sample(constraints=[FixedCombinations(table)])


def test_other_containers_and_kinds_of_columns():
    random = np.random.default_rng(0)
    zone = pd.date_range("2024-01-01", periods=300, tz="Europe/Zurich")
    table = pd.DataFrame(
        {
            "from": zone[random.integers(0, 200, 500)],
            "to": zone[random.integers(100, 300, 500)],
            "nothing": np.full(500, np.nan),
        }
    )
    model = make_tiny(n_rounds=0).fit(table)
    drawn = model.sample(50, constraints=[Inequality("from", "to")], random_state=0)
    assert (drawn["from"] <= drawn["to"]).all()
    assert drawn["nothing"].isna().all()
    array = make_tiny(n_rounds=0).fit(random.integers(0, 9, (300, 2)))
    drawn = array.sample(40, constraints=[Inequality(0, 1)], random_state=0)
    assert isinstance(drawn, np.ndarray)
    assert (drawn[:, 0] <= drawn[:, 1]).all()
    with pytest.raises(ValueError, match="needs a DataFrame"):
        FixedCombinations(np.zeros((3, 2)))


def test_conditions_and_constraints_together(model, all_three):
    given = {"city": "Lyon", "end": pd.Timestamp("2024-03-01")}
    drawn = model.sample(60, conditions=given, constraints=all_three, random_state=0)
    assert (drawn["country"] == "FR").all()
    assert (drawn["end"] == given["end"]).all()
    assert (drawn["start"] <= drawn["end"]).all()
    asked = pd.DataFrame({"high": [30.0, 55.5, 80.0], "city": ["Bern", None, "Nice"]})
    drawn = model.sample(conditions=asked, constraints=all_three, random_state=0)
    assert drawn["high"].tolist() == [30.0, 55.5, 80.0]
    assert drawn["city"].iloc[0] == "Bern"
    assert drawn["country"].iloc[0] == "CH"
    assert ((drawn["low"] < drawn["high"]) | drawn["low"].isna()).all()


def test_a_predicate_is_met_by_drawing_again(model):
    rare = Predicate(lambda frame: (frame["grade"] == "a") & (frame["high"] > 80), name="rare")
    drawn = model.sample(30, constraints=[rare], random_state=0)
    assert len(drawn) == 30
    assert rare.holds(drawn).all()


def test_a_predicate_that_writes_into_its_rows_changes_none(model, rows):
    def written(frame):
        frame["spread"] = frame["high"] - frame["low"]
        frame["high"] = 0.0
        return np.ones(len(frame), dtype=bool)

    drawn = model.sample(5, constraints=[Predicate(written)], random_state=0)
    assert list(drawn) == list(rows) and (drawn["high"] > 0).all()


def test_columns_that_cannot_be_compared_are_named():
    days = pd.Timestamp("2020") + pd.to_timedelta(np.arange(60) % 9, "D")
    table = pd.DataFrame({"here": days, "there": days.tz_localize("Europe/Rome")})
    with pytest.raises(ValueError, match=r"'here' <= 'there'"):
        make_tiny(n_rounds=0).fit(table).sample(3, constraints=[Inequality("here", "there")])


def test_what_is_never_met_is_told_with_the_rate(model):
    never = Predicate(lambda frame: frame["high"] < 0, name="below zero")
    with pytest.raises(ValueError, match=r"below zero.*not met for 2 of 2 rows.*0 met.*0\.00%"):
        model.sample(2, constraints=[never], random_state=0)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"city": "Bern", "country": "FR"}, r"combinations.* does not hold for .*'Bern'.*'FR'"),
        ({"low": 30.0, "high": 30.0, "grade": "a"}, r"Inequality.* does not hold for .*30\.0"),
        (
            pd.DataFrame({"city": ["Lyon", None, "Nice"], "country": ["FR", "CH", "CH"]}),
            r"does not hold for {'city': 'Nice', 'country': 'CH'}",
        ),
    ],
)
def test_conditions_that_break_a_constraint_raise_before_any_work(
    model, all_three, conditions, message, monkeypatch
):
    monkeypatch.setattr(_questions, "meet", None)
    with pytest.raises(ValueError, match=f"conditions contradict constraints: .*{message}"):
        model.sample(
            3 if isinstance(conditions, pd.DataFrame) else 10,
            conditions=conditions,
            constraints=all_three,
        )


class _Untidy(Constraint):
    """Writes into its rows, and answers by a list."""

    columns = ("low",)

    def holds(self, frame):
        frame["low"] = 1e9
        return [True] * len(frame)


def test_own_constraints_are_asked_on_rows_of_their_own(model):
    given = {"low": 30.0, "high": 40.0}
    both = [_Untidy(), Inequality("low", "high")]
    assert len(model.sample(3, conditions=given, constraints=both, random_state=0)) == 3


def test_given_cells_that_keep_a_constraint_are_no_contradiction(model, all_three):
    given = {"city": "Bern", "country": "CH", "low": (1, None), "high": (None, 90.0)}
    drawn = model.sample(5, conditions=given, constraints=all_three, random_state=0)
    assert (drawn["country"] == "CH").all()


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (Inequality("start", "end"), "must be a list of constraints; got Inequality"),
        ([lambda frame: frame], "must hold objects of tabgraa_sklearn.constraints"),
        ([Inequality("start", "nope")], r"names unknown columns \['nope'\]"),
        ([Inequality("city", "end")], "names 'city', which holds no numbers or times"),
        ([Inequality("low", "end")], "compares columns of dtypes"),
        ([Predicate(lambda frame: [True])], "one bool for each of 256 rows"),
        ([Predicate(lambda frame: frame["city"])], "one bool for each of 256 rows"),
        (
            [FixedCombinations(pd.DataFrame({"city": ["Oslo"], "country": ["NO"]}))],
            "no combination that fit has seen",
        ),
    ],
)
def test_bad_constraints_are_told(model, constraints, message):
    with pytest.raises(ValueError, match=message):
        model.sample(constraints=constraints)


def test_refined_rows_meet_constraints_too(rows):
    model = make_tiny(n_rounds=1, align_pool_size=64).fit(rows)
    inequality = Inequality("start", "end")
    drawn = model.sample(50, refine=True, constraints=[inequality], random_state=0)
    assert inequality.holds(drawn).all()
    assert model.refinement_["returned"] == 50
    assert model.refinement_["drawn"] >= 8 * 50


def test_constraints_say_what_they_need():
    with pytest.raises(ValueError, match="at least one row and two columns"):
        FixedCombinations(pd.DataFrame({"a": [1]}))
    with pytest.raises(ValueError, match="needs a function"):
        Predicate("a > 1")
    assert "a" in repr(Inequality("a", "b", strict=True))


def test_missing_cells_are_values_of_combinations_and_meet_inequalities():
    seen = pd.DataFrame({"a": ["x", None], "b": pd.array([1, None], dtype="Int64")})
    fixed = FixedCombinations(seen)
    other = pd.DataFrame({"a": ["x", None, None], "b": pd.array([1, None, 1], dtype="Int64")})
    assert fixed.holds(other).tolist() == [True, True, False]
    pairs = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": [2.0, 1.0, np.nan]})
    assert Inequality("b", "a").holds(pairs).tolist() == [False, True, True]


@pytest.mark.parametrize(
    "conditions",
    [
        {"city": ["Lyon", "Nice"]},
        {"city": {frozenset(["Lyon"]): 1, "Bern": 1}},
        {"city": ["Bern"], "country": ["FR"]},
        {"grade": ("b", None)},
    ],
)
def test_sets_that_no_combination_has_are_contradictions(model, conditions):
    table = pd.DataFrame({"city": ["Bern", "Chur"], "country": "CH"})
    grades = pd.DataFrame({"city": ["Bern", "Chur"], "grade": pd.Categorical(["a", "a"])})
    constraints = [FixedCombinations(table), FixedCombinations(grades)]
    with pytest.raises(ValueError, match=r"conditions contradict constraints: .*FixedCombin"):
        model.sample(20, conditions=conditions, constraints=constraints, random_state=0)


def test_what_no_row_can_meet_is_found_out_while_drawing(model, rows):
    """Each of the two can be met beside the condition, but not both."""
    one = FixedCombinations(pd.DataFrame({"city": ["Bern", "Lyon"], "country": ["CH", "FR"]}))
    two = FixedCombinations(pd.DataFrame({"city": ["Chur", "Lyon"], "country": ["CH", "FR"]}))
    with pytest.raises(ValueError, match=r"not met for 20 of 20 rows: of [\d,]+ .* 0 met"):
        model.sample(20, conditions={"country": ["CH"]}, constraints=[one, two], random_state=0)
    drawn = model.sample(20, constraints=[one, two], random_state=0)
    assert set(drawn["city"]) == {"Lyon"}


def test_many_combinations_of_many_columns_are_looked_up_at_once():
    """A mask of each row, as if its table were searched row by row."""
    random = np.random.default_rng(0)
    combinations = {c: random.integers(0, 6, 200) for c in range(3)}
    rule = PossibleCombinations(combinations, dict.fromkeys(range(3), 6))
    known = {0: random.integers(0, 6, 50), 2: random.integers(0, 6, 50)}
    mask = rule.mask(1, known, 50)
    for row, found in enumerate(mask):
        there = (combinations[0] == known[0][row]) & (combinations[2] == known[2][row])
        assert set(np.flatnonzero(found)) == set(combinations[1][there])


def test_rows_of_any_cells_are_completed_together_under_constraints(model, rows, monkeypatch):
    """Not pattern by pattern, where a constraint is met often enough."""
    holes = rows.head(60).mask(np.random.default_rng(0).random((60, rows.shape[1])) < 0.6)
    dear = Predicate(lambda frame: frame["high"].isna() | (frame["high"] > 40))
    holes["high"] = np.nan
    free = model.sample(conditions=holes, random_state=0)
    assert 0.2 < dear.holds(free).mean() < 0.95
    monkeypatch.setattr(_questions, "meet", None)
    drawn = model.sample(conditions=holes, constraints=[dear], random_state=0)
    assert dear.holds(drawn).all()
    for name in holes:
        there = holes[name].notna().to_numpy()
        assert (drawn[name][there].to_numpy() == holes[name][there].to_numpy()).all()


def test_times_compare_whichever_way_round_pandas_knows():
    pytest.importorskip("pyarrow")
    times = pd.Series(pd.date_range("2020", periods=2))
    frame = pd.DataFrame({"plain": times, "arrow": times.astype("timestamp[us][pyarrow]")})
    for low, high in (("plain", "arrow"), ("arrow", "plain")):
        assert Inequality(low, high).holds(frame).all()
        assert not Inequality(low, high, strict=True).holds(frame).any()


@pytest.fixture(scope="module")
def gaps():
    """Between nothing and 1000 no gain is seen."""
    random = np.random.default_rng(0)
    gain = np.where(random.random(600) < 0.5, 0, random.integers(1000, 9000, 600))
    table = pd.DataFrame({"gain": gain, "other": random.integers(100, 9000, 600)})
    return make_tiny(max_epochs=1, n_rounds=0).fit(table)


@pytest.mark.parametrize("gain", [(101, 999), 500])
def test_what_lies_between_tokens_is_left_to_the_finished_rows(gaps, gain):
    given = {"gain": gain, "other": (100, 990)}
    drawn = gaps.sample(10, conditions=given, constraints=[Inequality("gain", "other")])
    assert (drawn["gain"] <= drawn["other"]).all()
    assert drawn["gain"].between(101, 999).all()


def test_ranges_that_no_pair_meets_are_contradictions(gaps):
    given = {"gain": (5000, None), "other": (None, 3000)}
    with pytest.raises(ValueError, match=r"contradict constraints: .*\['gain', 'other'\]"):
        gaps.sample(10, conditions=given, constraints=[Inequality("gain", "other")])
    low = pd.DataFrame({"a": [5, 6, 7] * 30, "b": [1, 2, 3] * 30})
    with pytest.raises(ValueError, match=r"no values that were seen in fit meet Inequality"):
        make_tiny(max_epochs=1).fit(low).sample(5, constraints=[Inequality("a", "b")])


def test_a_listed_number_is_no_less_told_by_its_token_than_a_category():
    random = np.random.default_rng(0)
    number = random.integers(0, 150, 2000)
    table = pd.DataFrame({"number": number, "name": [f"n{cell}" for cell in number]})
    model = make_tiny(max_epochs=1, n_rounds=0).fit(table)
    pairs = FixedCombinations(table)
    drawn = model.sample(50, conditions={"number": 7}, constraints=[pairs], random_state=0)
    assert set(drawn["name"]) == {"n7"}
    drawn = model.sample(conditions=table[["number"]].head(80), constraints=[pairs])
    assert drawn["name"].tolist() == table["name"].head(80).tolist()
    few = FixedCombinations(table[table["number"] < 50])
    for numbers in (60, [60, 61], (60, None)):
        with pytest.raises(ValueError, match="conditions contradict constraints"):
            model.sample(5, conditions={"number": numbers}, constraints=[few])


def test_rows_that_meet_constraints_are_taken_however_unequal_their_odds(
    model, monkeypatch, all_three
):
    """In the last round as many as are asked for, where there are."""
    one_in_many = np.random.default_rng(0).normal(0, 6, 10**6)

    def uneven(backbone, ids, *_):
        return one_in_many[: len(ids)]

    monkeypatch.setattr(_meeting, "advantage", uneven)
    monkeypatch.setattr(_meeting, "orders_disagree", lambda *_: True)
    given = {"grade": "a"}
    drawn = model.sample(150, conditions=given, constraints=[all_three[1]], random_state=0)
    assert len(drawn) == 150
    assert all_three[1].holds(drawn).all()


def test_a_row_of_cells_that_cannot_meet_a_constraint_is_told(model):
    cells = pd.DataFrame({"city": ["Bern", "Lyon", None], "grade": ["a", "b", "c"]})
    bern = Predicate(lambda frame: frame["city"] != "Lyon", name="not in Lyon")
    with pytest.raises(ValueError, match=r"not in Lyon.* for 1 of 1 rows.* is given .*'Lyon'"):
        model.sample(conditions=cells, constraints=[bern], random_state=0)
