"""Constraints: what must hold for every row that is drawn.

A model learns that two columns go together nearly always. Where "nearly" will not do, a constraint
bars what cannot be.
"""

# %%
# ## Orders and where they went
#
# A city lies in one country, and nothing arrives before it was sent.

import numpy as np
import pandas as pd

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn.constraints import FixedCombinations, Inequality, Predicate

random = np.random.default_rng(0)
n_rows = 2000
city = random.integers(0, 6, n_rows)
sent = pd.Timestamp("2025-01-01") + pd.to_timedelta(random.integers(0, 365, n_rows), unit="D")
orders = pd.DataFrame(
    {
        "city": np.array(["Bern", "Basel", "Lyon", "Nice", "Turin", "Milan"])[city],
        "country": np.array(["CH", "CH", "FR", "FR", "IT", "IT"])[city],
        "sent": sent,
        "arrived": sent + pd.to_timedelta(random.poisson(4, n_rows), unit="D"),
        "items": random.poisson(3, n_rows) + 1,
        "price": np.round(random.gamma(2, 30, n_rows), 2),
    }
)
synthesizer = TabGRAASynthesizer(max_epochs=15, n_rounds=0, random_state=0).fit(orders)

# %%
# ## Without constraints
#
# How many rows of a sample hold what every order does?

constraints = [
    FixedCombinations(orders[["city", "country"]]),
    Inequality("sent", "arrived"),
    Predicate(lambda rows: rows["price"] >= 2 * rows["items"], name="two for each item"),
]
free = synthesizer.sample(2000, random_state=0)
for constraint in constraints:
    print(f"{constraint.holds(free).mean():7.1%} meet {constraint}")

# %%
# ## With them
#
# Tokens that cannot meet the first two are barred while a row is drawn; the predicate is met by
# drawing again. The rows follow the model's distribution among those that meet all three.

rows = synthesizer.sample(2000, constraints=constraints, random_state=0)
for constraint in constraints:
    print(f"{constraint.holds(rows).mean():7.1%} meet {constraint}")
print(rows.head().to_string(index=False))

# %%
# ## With conditions too

swiss = synthesizer.sample(
    5, conditions={"country": "CH", "items": (5, None)}, constraints=constraints, random_state=0
)
print(swiss.to_string(index=False))

# %%
# ## What is never met
#
# Is told, with how many rows were tried.

try:
    synthesizer.sample(10, constraints=[Predicate(lambda rows: rows["price"] < 0, name="gifts")])
except ValueError as error:
    print(error)
