"""Search over the parameters of the alignment, with one supervised fit per fold.

The supervised stage takes most of a fit. With `memory=` it is kept, and candidates that differ in
parameters of the alignment alone share it.
"""

# %%
# ## What is searched
#
# The sharpness `beta`, the number of rounds and a parameter of the signal itself.

import tempfile
import time

import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.model_selection import GridSearchCV

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn.datasets import load_adult
from tabgraa_sklearn.metrics import log_likelihood_scorer, two_sample_scorer

columns = ["age", "education", "marital.status", "hours.per.week", "income"]
people = load_adult().frame[columns].sample(1200, random_state=0, ignore_index=True)

grid = {"beta": [0.5, 2.0], "n_rounds": [0, 1], "signal__num_leaves": [7, 15]}

# %%
# ## The search
#
# Two scorers: the likelihood of rows that were left out, which needs no samples and decides, and
# how hard these rows are to tell from fresh ones.

with tempfile.TemporaryDirectory() as memory:
    search = GridSearchCV(
        TabGRAASynthesizer(
            max_epochs=6,
            align_pool_size=3000,
            signal=LGBMClassifier(n_estimators=60, learning_rate=0.05, verbosity=-1),
            memory=memory,
            random_state=0,
        ),
        grid,
        scoring={"likelihood": log_likelihood_scorer, "two_sample": two_sample_scorer},
        refit="likelihood",
        cv=2,
    )
    start = time.perf_counter()
    search.fit(people)
    seconds = time.perf_counter() - start

# %%
# ## What came out
#
# The first candidate of each fold learns the supervised stage; the others start from it.

results = pd.DataFrame(search.cv_results_)
shown = {
    "param_beta": "beta",
    "param_n_rounds": "rounds",
    "param_signal__num_leaves": "leaves",
    "mean_test_likelihood": "nats per row",
    "mean_test_two_sample": "two-sample",
    "mean_fit_time": "seconds",
}
print(results[list(shown)].rename(columns=shown).to_string(index=False, float_format="%.3f"))
print(f"\n{len(results)} candidates, 2 folds and the refit in {seconds:.0f} s")
print(f"best: {search.best_params_}")
print(search.best_estimator_.sample(3, random_state=0).to_string(index=False))
