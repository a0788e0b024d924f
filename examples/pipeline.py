"""A synthesizer as the last step of a scikit-learn pipeline.

What must not be learnt is dropped or made coarser by the steps before it; the synthesizer learns
what they hand on. The parts that scikit-learn brings for pipelines, `clone` and grid search among
them, work as for any other estimator.
"""

# %%
# ## The steps
#
# The survey weight `fnlwgt` says nothing about a person, and the exact age may say too much. A
# `ColumnTransformer` drops the one and rounds the other to five years. With
# `set_output(transform="pandas")` the synthesizer receives a table with names and dtypes.

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn.datasets import load_adult


def round_to_five(frame):
    return (frame / 5).round().astype("int64") * 5


prepare = ColumnTransformer(
    [
        ("drop", "drop", ["fnlwgt", "education.num"]),
        ("round", FunctionTransformer(round_to_five), ["age", "hours.per.week"]),
    ],
    remainder="passthrough",
    verbose_feature_names_out=False,
).set_output(transform="pandas")

pipe = Pipeline(
    [
        ("prepare", prepare),
        ("synthesizer", TabGRAASynthesizer(max_epochs=10, n_rounds=0, random_state=0)),
    ]
)

# %%
# ## Fit and sample
#
# A pipeline hands `y` on to its last step, and there it is one more column. Rows are sampled by
# the last step, `pipe[-1]`, so they look as the rows after the transformer do.

X, y = load_adult(return_X_y=True)
X = X.sample(2000, random_state=0)
y = y.loc[X.index]
pipe.fit(X, y)

learnt = pipe[:-1].transform(X).assign(income=y)
synthetic = pipe[-1].sample(2000, random_state=0)
print(f"columns of the table:   {', '.join(X.columns)}; {y.name}")
print(f"columns of the samples: {', '.join(synthetic.columns)}")
print(f"dtypes as learnt: {synthetic.dtypes.equals(learnt.dtypes)}")

shown = ["age", "hours.per.week", "education", "occupation", "income"]
both = {"real": learnt[shown].head(4), "synthetic": synthetic[shown].head(4)}
print("\n" + pd.concat(both).to_string())

shares = pd.DataFrame(
    {
        "real": learnt["age"].value_counts(normalize=True),
        "synthetic": synthetic["age"].value_counts(normalize=True),
    }
)
print("\nshare of each age, in steps of five years")
print(shares.fillna(0).sort_index().head(8).to_string(float_format="{:.1%}".format))

# %%
# ## Likelihood of rows, usual and odd
#
# `pipe.score_samples` takes rows of the original table, sends them through the transformer, and
# gives the log-likelihood of each, in nats. Here are the likeliest and the unlikeliest of 1,000
# people that were not fitted:

unseen = load_adult(subset="test").data.sample(1000, random_state=0, ignore_index=True)
log_likelihood = pipe.score_samples(unseen)
traits = ["age", "workclass", "marital.status", "relationship", "hours.per.week", "native.country"]
ranked = unseen[traits].assign(nats=log_likelihood).sort_values("nats", ascending=False)
print(
    "\n"
    + pd.concat({"usual": ranked.head(3), "odd": ranked.tail(3)}).to_string(
        float_format="{:.1f}".format
    )
)

# %%
# One of them, a husband in middle age, is changed by hand, one thing at a time:

husband = unseen["relationship"].eq("Husband") & unseen["age"].between(40, 45)
person = unseen[husband].head(1)
variants = {
    "as he is": person,
    "17 years old": person.assign(age=17),
    "works 5 hours a week": person.assign(**{"hours.per.week": 5}),
    "never married": person.assign(**{"marital.status": "Never-married"}),
    "a capital gain of 99,999": person.assign(**{"capital.gain": 99_999}),
}
print("\n" + person[traits].to_string(index=False))
for change, rows in variants.items():
    print(f"  {change:<26}{pipe.score_samples(rows)[0]:8.1f} nats")

# %%
# What holds for one person holds for a table. When each column is shuffled by itself, every cell
# is still a real one but the rows are nobody's, and the likelihood tells:

random = np.random.RandomState(0)
shuffled = pd.DataFrame(
    {name: cells.sample(frac=1, random_state=random).array for name, cells in unseen.items()}
)
nobody = pipe.score_samples(shuffled)
auc = roc_auc_score(np.repeat([1, 0], 1000), np.concatenate([log_likelihood, nobody]))
print(f"\nmean of unseen people   {log_likelihood.mean():6.1f} nats per row")
print(f"mean of shuffled people {nobody.mean():6.1f} nats per row")
print(f"told apart by the likelihood with an area under the ROC curve of {auc:.2f}")

# %%
# ## Clone
#
# A clone has the parameters and nothing that was learnt; fitted with the same seed on the same
# rows, it is the same synthesizer again.

copies = [clone(pipe).set_params(synthesizer__max_epochs=1) for _ in range(2)]
print(f"\nthe pipeline is fitted: {hasattr(pipe[-1], 'model_')}")
print(f"its clone is fitted: {hasattr(copies[0][-1], 'model_')}")
first, second = (copy.fit(X[:500], y[:500])[-1].sample(100, random_state=1) for copy in copies)
print(f"two clones, fitted alike, sample the same rows: {first.equals(second)}")

# %%
# ## Grid search
#
# Parameters of the synthesizer have their usual names, such as `synthesizer__learning_rate`.
# Candidates are compared on rows that they were not fitted to, by two figures: how likely these
# are, and `score`, how hard they are to tell from fresh samples (1 is best). The likelihood has
# less chance in it, so it decides.


def likelihood(pipeline, X, y):
    return pipeline.score_samples(X).mean()


def two_sample(pipeline, X, y):
    return pipeline.score(X, y)


search = GridSearchCV(
    clone(pipe).set_params(synthesizer__max_epochs=8),
    {"synthesizer__learning_rate": [5e-4, 5e-3]},
    scoring={"likelihood": likelihood, "two_sample": two_sample},
    refit="likelihood",
    cv=2,
)
search.fit(X[:1000], y[:1000])

columns = {
    "param_synthesizer__learning_rate": "learning rate",
    "mean_test_likelihood": "nats per row",
    "std_test_likelihood": "+-",
    "mean_test_two_sample": "score",
    "rank_test_likelihood": "rank",
    "mean_fit_time": "seconds",
}
results = pd.DataFrame(search.cv_results_)[list(columns)].rename(columns=columns)
print("\n" + results.to_string(index=False, float_format="{:.4g}".format))
print(f"best: {search.best_params_}")
rows = search.best_estimator_[-1].sample(3, random_state=0)
print("\n" + rows[shown].to_string())
