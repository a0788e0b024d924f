"""A signal of your own: what the model is to learn from, in ten lines.

After the supervised stage the model draws rows, a signal says how good each is, and the model is
moved towards what scores well. Any scikit-learn estimator is a signal: a classifier is fitted on
real rows (1) against drawn ones (0), a density model or outlier detector on real rows.
"""

# %%
# ## A table
#
# 1,500 people of the Adult census table.

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn.datasets import load_adult
from tabgraa_sklearn.signals import Forget, TwoSampleClassifier, WeightedSignal

columns = ["age", "education", "marital.status", "relationship", "hours.per.week", "income"]
people = load_adult().frame[columns].sample(1500, random_state=0, ignore_index=True)

# %%
# ## Ten lines
#
# This one looks at pairs of columns alone. It gets one number per cell, scaled and without missing
# cells, for its tags do not say that it takes missing ones.


class PairsOnly(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.model_ = make_pipeline(
            PolynomialFeatures(2, interaction_only=True),
            StandardScaler(),
            LogisticRegression(C=0.01, max_iter=200),
        ).fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X):
        return self.model_.predict_proba(X)


settings = {"max_epochs": 8, "n_rounds": 2, "align_pool_size": 4000, "random_state": 0}
synthesizer = TabGRAASynthesizer(signal=PairsOnly(), **settings).fit(people)

shown = ["round", "signal_auc", "judge_score", "held_out_gain", "log_ratio_std", "seconds"]
history = synthesizer.history_frame()
print(history.loc[history["stage"] == "alignment", shown].to_string(index=False))
print(f"kept: round {synthesizer.best_round_}; ended by {synthesizer.rounds_stop_reason_}")

# %%
# `signal_auc` is how well the signal tells fresh rows from real ones that nobody has learnt from;
# one half is chance. A judge of another family decides which round is kept, the supervised model
# (round 0) among them.
#
# ## Several aims at once
#
# `WeightedSignal` adds signals up. Here the rows are to look real, and nobody is to be married to
# an armed-forces spouse: `Forget` takes a predicate on the table itself.


def forgotten(rows):
    return rows["marital.status"].eq("Married-AF-spouse") | rows["age"].ge(75)


signal = WeightedSignal(
    [("real", TwoSampleClassifier(random_state=0)), ("forget", Forget(forgotten))],
    weights=[0.5, 1.0],
)
without = TabGRAASynthesizer(signal=signal, **settings).fit(people)

share = pd.Series(
    {
        "real": forgotten(people).mean(),
        "first model": forgotten(synthesizer.sample(5000, random_state=0)).mean(),
        "second model": forgotten(without.sample(5000, random_state=0)).mean(),
        "second, refined": forgotten(without.sample(5000, random_state=0, refine=True)).mean(),
    }
)
print("\nshare of rows that were to be forgotten")
print(share.to_string(float_format="{:.2%}".format))

# %%
# `refine=True` draws more rows than it returns, and accepts them by the last fitted signal:

cost = without.refinement_
print(f"\n{cost['drawn']:,} rows were drawn for {cost['returned']:,}")
rest = people[~forgotten(people)]
ages = [np.round(frame["age"].mean(), 1) for frame in (rest, without.sample(5000, random_state=0))]
print(f"mean age of the others: {ages[0]} real, {ages[1]} synthetic")
