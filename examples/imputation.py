"""Missing cells: drawn from their distribution given the cells that are there.

Filling by the mean or the most frequent value narrows a column and cuts its ties to the others.
Draws keep both, and several of them show how sure they are.
"""

# %%
# ## A table with holes
#
# Every fifth cell of two columns is taken away, so that we know what was there.

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tabgraa_sklearn import TabGRAAImputer, TabGRAASynthesizer
from tabgraa_sklearn.datasets import load_adult

columns = ["age", "marital.status", "relationship", "hours.per.week", "income"]
people = load_adult().frame[columns].sample(2000, random_state=0, ignore_index=True)
random = np.random.default_rng(0)
holes = people.copy()
taken = {name: random.random(len(people)) < 0.2 for name in ("marital.status", "age")}
for name, mask in taken.items():
    holes[name] = holes[name].mask(mask)
print(holes.isna().mean().to_string())

# %%
# ## Filled
#
# The imputer learns from the table with its holes.

imputer = TabGRAAImputer(TabGRAASynthesizer(max_epochs=12, n_rounds=0), random_state=0)
filled = imputer.fit_transform(holes)

truth, mask = people["marital.status"], taken["marital.status"]
mode = truth[~mask].mode()[0]
print(f"marital status right: {(filled['marital.status'] == truth)[mask].mean():.0%} drawn,")
print(f"                      {(truth == mode)[mask].mean():.0%} by the most frequent value")
spread = {"real": people, "drawn": filled, "mean": holes.fillna({"age": holes["age"].mean()})}
for name, table in spread.items():
    print(f"standard deviation of age, {name:<6} {table['age'].astype(float).std():6.2f}")

# %%
# ## How sure?
#
# Multiple imputation: the same estimate on several completed tables. Its spread between them is
# what the holes cost in certainty.

draws = imputer.synthesizer_.impute(holes, n_draws=5, random_state=0)
means = [draw.groupby("marital.status", observed=True)["age"].mean() for draw in draws]
summary = pd.concat(means, axis=1)
print(pd.DataFrame({"mean age": summary.mean(axis=1), "between": summary.std(axis=1)}).round(2))

# %%
# ## In a pipeline

features, target = holes.drop(columns="income"), people["income"]
pipeline = make_pipeline(
    TabGRAAImputer(TabGRAASynthesizer(max_epochs=6, n_rounds=0), random_state=0),
    OneHotEncoder(handle_unknown="ignore", min_frequency=10),
    LogisticRegression(max_iter=500),
)
print(f"accuracy on the rows learnt: {pipeline.fit(features, target).score(features, target):.3f}")
