"""Save a fitted synthesizer, and sample from it in another process.

A synthesizer is saved like any scikit-learn estimator: with `pickle` or with `joblib`. The file
holds the model and what turns its tokens into rows, such as the names of categories and the
quantiles of numbers, but no rows.
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
synthesizer = TabGRAASynthesizer(max_epochs=3, n_rounds=0, random_state=0).fit(table)
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
print(f"\npickle.dumps: {len(dumped) / 1e6:.2f} MB")
print(f"same rows from pickle.loads: {loaded.sample(200, random_state=7).equals(expected)}")
print(f"same history: {loaded.history_frame().equals(synthesizer.history_frame())}")

# %%
# ## In a file, for another process
#
# The usual case: one program fits, another one samples, later or elsewhere. What the second one
# needs is below: this package, the file, and no data. `joblib.dump` compresses if it is told to.

sampling_program = """
import os, sys
import joblib

for source in sys.argv[1:]:
    synthesizer = joblib.load(source)
    synthesizer.sample(200, random_state=7).to_pickle(source + ".rows")
    print(f"process {os.getpid()} loaded a {type(synthesizer).__name__} and sampled with seed 7")
"""

with tempfile.TemporaryDirectory() as folder:
    files = {"plain": Path(folder, "plain.joblib"), "small": Path(folder, "small.joblib")}
    joblib.dump(synthesizer, files["plain"])
    joblib.dump(synthesizer, files["small"], compress=3)
    print(f"\njoblib.dump:             {files['plain'].stat().st_size / 1e6:.2f} MB")
    print(f"joblib.dump, compress=3: {files['small'].stat().st_size / 1e6:.2f} MB\n", flush=True)
    subprocess.run([sys.executable, "-c", sampling_program, *map(str, files.values())], check=True)
    for file in files.values():
        rows = pd.read_pickle(f"{file}.rows")
        pd.testing.assert_frame_equal(rows, expected)
    print("its rows are those of this process, cell by cell and dtype by dtype:")
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
