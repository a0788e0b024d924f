"""Save a fitted synthesizer, and sample from it in another process.

A synthesizer is saved like any scikit-learn estimator: with `pickle` or with `joblib`. The file
holds the model and what is needed to turn its tokens into rows; it does not hold the table.
"""

# %%
# ## Fit
#
# 1,000 rows of the Adult census table and three epochs are enough here.

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import joblib
import pandas as pd

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn.datasets import load_adult

table = load_adult().frame.sample(1000, random_state=0, ignore_index=True)
synthesizer = TabGRAASynthesizer(max_epochs=3, random_state=0).fit(table)
expected = synthesizer.sample(200, random_state=7)

shown = ["age", "education", "occupation", "hours.per.week", "income"]
print(f"process {os.getpid()} fitted {len(table):,} rows and samples with seed 7:")
print(expected[shown].head(3).to_string())

# %%
# ## In memory
#
# `pickle.dumps` gives bytes, `pickle.loads` an equal synthesizer, of the same parameters, history
# and rows.

dumped = pickle.dumps(synthesizer)
loaded = pickle.loads(dumped)
print(
    f"\npickle.dumps: {len(dumped) / 1e6:.2f} MB for {table.memory_usage(deep=True).sum():,} B of table"
)
print(f"same rows from pickle.loads: {loaded.sample(200, random_state=7).equals(expected)}")
print(f"same history: {loaded.history_frame().equals(synthesizer.history_frame())}")

# %%
# ## In a file, for another process
#
# The usual case: one program fits, another one samples, later or elsewhere. What the second one
# needs is below: this package, the file, and no data.

sampling_program = """
import os, sys
import joblib

source, target = sys.argv[1:]
synthesizer = joblib.load(source)
rows = synthesizer.sample(200, random_state=7)
rows.to_pickle(target)
print(f"process {os.getpid()} loaded {type(synthesizer).__name__} on {synthesizer.device_}")
"""

with tempfile.TemporaryDirectory() as folder:
    for name, compress in {"plain.joblib": 0, "compressed.joblib": 3}.items():
        source, target = Path(folder, name), Path(folder, "rows.pickle")
        joblib.dump(synthesizer, source, compress=compress)
        print(f"\n{name}: {source.stat().st_size / 1e6:.2f} MB")
        subprocess.run(
            [sys.executable, "-c", sampling_program, str(source), str(target)], check=True
        )
        rows = pd.read_pickle(target)
        pd.testing.assert_frame_equal(rows, expected)
        print("its rows are the same, cell by cell and dtype by dtype:")
        print(rows[shown].head(3).to_string())

# %%
# ## A seed for each
#
# A seeded fit also fixes the calls of `sample` that bring no seed. That holds for what was saved,
# too: all who load one file begin with the same rows. Where several processes are to draw
# different rows, each one passes a seed of its own.

first, second = pickle.loads(dumped), pickle.loads(dumped)
print(f"\nno seed, two copies, equal rows: {first.sample(50).equals(second.sample(50))}")
parts = [pickle.loads(dumped).sample(50, random_state=seed) for seed in (1, 2)]
print(f"a seed for each copy, equal rows: {parts[0].equals(parts[1])}")

# %%
# Two things to know about pickles. A synthesizer that was fitted on a GPU loads on a machine
# without one. And loading a pickle runs what it says: load only files that you trust, with the
# versions of the packages that they were made with.
