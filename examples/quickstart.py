"""Fit the Adult census table and draw rows that look like it.

The table comes with the package: 32,561 people, 15 columns. So that this page ends in under a
minute, 2,500 of them are learnt, in a few epochs and one round of alignment:

    python examples/quickstart.py

The whole table, with nothing but defaults, takes some minutes on a laptop without a GPU:

    python examples/quickstart.py --rows all
"""

# %%
# ## The table
#
# Nothing is prepared: categories stay categories and whole numbers stay whole numbers. The target,
# `income`, is a column like the others. A second file of 16,281 people, which the synthesizer never
# sees, is kept to judge it.

import argparse
import sys
import time

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn.datasets import load_adult

parser = argparse.ArgumentParser(description="Fit the Adult census table and sample from it.")
parser.add_argument("--rows", choices=["2500", "all"], default="2500", help="rows to fit")
# A notebook's own command line is not meant for this page.
options = parser.parse_args([] if "ipykernel" in sys.modules else None)

real = load_adult().frame
unseen = load_adult(subset="test").frame
if options.rows == "all":
    hurry = {}  # epochs and rounds follow the table; training stops when it no longer helps
else:
    real = real.sample(int(options.rows), random_state=0, ignore_index=True)
    hurry = {"max_epochs": 8, "n_rounds": 1}
print(f"{len(real):,} rows to learn, {real.shape[1]} columns; {len(unseen):,} rows to judge by")

# %%
# ## Fit
#
# With `verbose=1` there is a line per epoch. "Held out" is what the rows that are set aside cost,
# in nats per row, first with their columns in the order of sampling, then in random orders: the
# lower, the better the table is known. When the mean of both no longer falls, the training stops,
# and the best epoch's weights are kept. "Train" is a mix of both orders, learnt with dropout. Then
# come the rounds of alignment: the model draws rows, a classifier scores them, and what scores well
# is made likelier; a judge on held-out rows decides which round is kept.

synthesizer = TabGRAASynthesizer(**hurry, random_state=0, verbose=1)
started = time.perf_counter()
synthesizer.fit(real)
print(f"\nfitted in {time.perf_counter() - started:.0f} s on {synthesizer.device_}")

# %%
# ## What was found out about the columns
#
# `schema_` tells how each column was read. If one was misread, say so: for example
# `TabGRAASynthesizer(column_kinds={"education.num": "categorical"})`.

print(synthesizer.schema_)

# %%
# ## Sample
#
# As many rows as asked for. A seed makes them the same at every call; without one, every call
# brings new rows.

started = time.perf_counter()
synthetic = synthesizer.sample(len(real), random_state=0)
seconds = time.perf_counter() - started
print(f"\n{len(synthetic):,} rows in {seconds:.1f} s: {len(synthetic) / seconds:,.0f} rows/s")

again = synthesizer.sample(len(real), random_state=0)
print(f"same seed, same rows: {again.equals(synthetic)}")
print(f"same columns and dtypes as the real table: {synthetic.dtypes.equals(real.dtypes)}")

# %%
# Some columns of five real rows, then of five synthetic ones:

shown = ["age", "education", "marital.status", "occupation", "sex", "hours.per.week", "income"]
both = {"real": real[shown].head(), "synthetic": synthetic[shown].head()}
print("\n" + pd.concat(both).to_string())

# %%
# ## Do the columns agree?
#
# Shares of categories, and quantiles of numbers:


def side_by_side(measure):
    return pd.DataFrame({"real": measure(real), "synthetic": measure(synthetic)})


for column in ("marital.status", "income"):
    shares = side_by_side(lambda rows, name=column: rows[name].value_counts(normalize=True))
    print(
        "\n" + shares.sort_values("real", ascending=False).to_string(float_format="{:.1%}".format)
    )

numbers = ["age", "education.num", "hours.per.week", "capital.gain"]
quantiles = pd.concat(
    {
        "real": real[numbers].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).T,
        "synthetic": synthetic[numbers].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).T,
    },
    axis=1,
)
print("\n" + quantiles.to_string(float_format="{:.0f}".format))

# %%
# ## Do the columns belong together?
#
# Columns may agree one by one in rows that make no sense. The share of high incomes within each
# level of education looks at two columns at once:

high_income = side_by_side(
    lambda rows: rows["income"].eq(">50K").groupby(rows["education"], observed=True).mean()
)
people = real["education"].value_counts()
most_common = people.index[:6]
print("\nshare of incomes above 50K, by education")
print(high_income.loc[most_common].to_string(float_format="{:.1%}".format))

# %%
# `score` looks at all columns: a gradient-boosted classifier learns to tell real rows from
# synthetic ones. 1 means that it cannot, 0 that it recognises every row.

print(f"\nscore on unseen real rows: {synthesizer.score(unseen):.2f} (1 is best)")

# %%
# ## Are the rows of use?
#
# A classifier that learns from synthetic rows alone is tested on real people, next to one that
# learns from as many real rows.


def auc_on_real_people(train):
    model = HistGradientBoostingClassifier(random_state=0, max_iter=50)
    model.fit(train.drop(columns="income"), train["income"])
    high = model.predict_proba(unseen.drop(columns="income"))[:, 1]
    return roc_auc_score(unseen["income"], high)


print("\nincome predicted for real people, area under the ROC curve")
print(f"  learnt from real rows       {auc_on_real_people(real):.3f}")
print(f"  learnt from synthetic rows  {auc_on_real_people(synthetic):.3f}")

# %%
# ## Are they copies?
#
# Some people are alike, so a few synthetic rows equal a row that was learnt; the survey weight
# `fnlwgt`, nearly a number of its own for everyone, is left out here. The question is whether they
# do so more often than other real people.

columns = list(real.columns.drop("fnlwgt"))
learnt = pd.MultiIndex.from_frame(real[columns])
print("\nrows that equal a learnt row in all columns but fnlwgt")
for name, rows in {"unseen real": unseen, "synthetic": synthetic}.items():
    print(f"  {name:<12} {pd.MultiIndex.from_frame(rows[columns]).isin(learnt).mean():.1%}")
