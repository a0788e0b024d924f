"""Memory of large work: a fit on 1,000,000 rows, and 10,000,000 rows streamed to a Parquet file.

    python benchmarks/memory.py --rows 1000000 --stream 10000000

The table is Adult (15 columns) resampled. The fit is one epoch, as memory does not depend on how
many there are, and the default rounds of alignment; `table_mb` is the frame in memory, or the file
that was written. Each step runs in a process of its own; what it needs is its largest resident
memory less what was resident before it began, when the table was there already. Lines go to
``results/memory.csv``.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import machine
import pandas as pd
import results
import tables
from encode import resampled

from tabgraa_sklearn import TabGRAASynthesizer


def main() -> None:
    """Run both steps, print and store them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--stream", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    steps: dict[str, tuple[Callable[[int, int], dict[str, float]], int]] = {
        "fit, one epoch and the rounds": (fit_large, arguments.rows),
        "stream to Parquet": (stream, arguments.stream),
    }
    lines: list[dict[str, Any]] = []
    for step, (work, rows) in steps.items():
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            figures = pool.submit(work, rows, arguments.seed).result()
        lines.append(
            {
                "step": step,
                "rows": rows,
                **figures,
                "rows_per_second": rows / figures["seconds"],
                "seed": arguments.seed,
                "repeats": 1,
                **machine.describe(),
            }
        )
        print({key: lines[-1][key] for key in ("step", "rows", *figures)}, flush=True)
    results.RESULTS.mkdir(exist_ok=True)
    pd.DataFrame(lines).to_csv(results.RESULTS / "memory.csv", index=False, float_format="%.6g")


def fit_large(rows: int, seed: int) -> dict[str, float]:
    """Fit so many rows for one epoch, and run the rounds of alignment."""
    frame = resampled(rows, seed)
    synthesizer = TabGRAASynthesizer(max_epochs=1, random_state=seed)
    figures = measured(lambda: synthesizer.fit(frame))
    return {**figures, "table_mb": frame.memory_usage(deep=True).sum() / 1e6}


def stream(rows: int, seed: int) -> dict[str, float]:
    """Write so many rows of a quickly fitted model, batch by batch."""
    import pyarrow
    from pyarrow import parquet

    synthesizer = TabGRAASynthesizer(max_epochs=1, n_rounds=0, random_state=seed)
    synthesizer.fit(tables.load("adult").train)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"

        def write() -> None:
            writer = None
            for batch in synthesizer.sample_batches(rows, random_state=seed):
                table = pyarrow.Table.from_pandas(batch, preserve_index=False)
                if writer is None:
                    writer = parquet.ParquetWriter(file, table.schema)
                writer.write_table(table)
            assert writer is not None
            writer.close()

        figures = measured(write)
        assert parquet.ParquetFile(file).metadata.num_rows == rows
        return {**figures, "table_mb": file.stat().st_size / 1e6}


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """Give the seconds of a call, and by how much memory rose meanwhile, in MB (Linux)."""
    gc.collect()
    # Forget the peak of what this process did before.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = memory_mb("VmRSS")
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "memory_over_start_mb": memory_mb("VmHWM") - before}


def memory_mb(what: str) -> float:
    """Resident memory of this process in MB: now ("VmRSS") or at its peak ("VmHWM")."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == what:
            return int(value.split()[0]) * 1024 / 1e6
    raise SystemExit("memory.py needs Linux, which says how much memory a process takes")


if __name__ == "__main__":
    main()
