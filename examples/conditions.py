"""Conditions: rows of which some cells are given, bounded or shared out.

One fitted model answers every question of the kind "rows like the table's, but with these cells".
Given cells are read first and the others drawn after them, so that nothing has to be drawn and
thrown away until it happens to fit.
"""

# %%
# ## A model
#
# 3,000 people of the Adult census table, and a short fit.

import pandas as pd

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn.datasets import load_adult

columns = ["age", "sex", "education", "marital.status", "occupation", "hours.per.week", "income"]
people = load_adult().frame[columns].sample(3000, random_state=0, ignore_index=True)
synthesizer = TabGRAASynthesizer(max_epochs=12, n_rounds=0, random_state=0).fit(people)

# %%
# ## Values, sets and ranges
#
# A list is a set of values; a tuple is a range whose ends belong to it, `None` leaving one open.

given = {"sex": "Female", "age": (30, None), "education": ["Masters", "Doctorate"]}
women = synthesizer.sample(500, conditions=given, random_state=0)
print(women.head().to_string(index=False))

# %%
# What was not asked for follows: their income, beside that of the real rows of this kind.

alike = people[
    people["sex"].eq("Female") & people["age"].ge(30) & people["education"].isin(given["education"])
]
for name, rows in (("drawn", women), ("real", alike)):
    print(f"{name:<6} {len(rows):>4} rows, {rows['income'].eq('>50K').mean():.0%} above 50K")

# %%
# ## Shares
#
# As many rows of each class, for a classifier that is to see both.

balanced = synthesizer.sample(
    1000, conditions={"income": {"<=50K": 0.5, ">50K": 0.5}}, random_state=0
)
print(balanced["income"].value_counts().to_string())

# %%
# ## A row for each row
#
# A DataFrame gives one row for each of its rows: what is there is kept, the rest is drawn.

asked = pd.DataFrame({"age": [25, 45, 65], "occupation": ["Sales", None, "Farming-fishing"]})
print(synthesizer.sample(conditions=asked, random_state=0).to_string(index=False))

# %%
# ## What no row can meet
#
# Raises before any work, naming the column and the value.

try:
    synthesizer.sample(10, conditions={"age": (200, 300)})
except ValueError as error:
    print(error)
