"""Systems in processes and environments of their own: what the benchmarks beside peers share."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import tables
from systems import SYSTEMS

OURS = "tabgraa-sklearn"
WORKER = Path(__file__).parent / "systems.py"
# What a package needs and does not ask for.
BESIDE = {"arfpy": ["numpy<2", "pandas<3"]}
VENVS = Path(__file__).parent / ".venvs"


def python_of(system: str, venvs: Path) -> str:
    """Give the interpreter that a system is installed for; ours is this one."""
    package = SYSTEMS[system][0]
    if package == OURS:
        return sys.executable
    folder = venvs / package
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
        # torch first, in our version: else the systems would be timed on different ones.
        subprocess.run([*install, f"torch=={torch_version()}"], check=True)
        subprocess.run([*install, package, *BESIDE.get(package, [])], check=True)
        # What they may bring beside it is built for other versions, and breaks their imports.
        drop = [str(python), "-m", "pip", "uninstall", "--quiet", "--yes"]
        subprocess.run([*drop, "torchvision", "torchaudio"], check=True)
        (folder / "ready").touch()
    return str(python)


def accelerator() -> str:
    """Name the accelerator of this machine that systems may use."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def torch_version() -> str:
    """Name the version of torch that we run, without its build."""
    import torch

    return str(torch.__version__).partition("+")[0]


def fit_and_sample(
    table: tables.Table, system: str, python: str, epochs: int | None, seed: int, time_box: float
) -> tuple[dict[str, Any], pd.DataFrame] | None:
    """Fit and sample once in a process of its own.

    Returns
    -------
    figures : dict
        What the worker printed.
    rows : DataFrame
        As many rows as the train table has; or None where it ran out of time.

    Raises
    ------
    RuntimeError
        Where it failed; with the last line that it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        train, out = Path(folder) / "train.csv", Path(folder) / "rows.csv"
        table.train.to_csv(train, index=False)
        command = [python, str(WORKER), system, str(train), str(out)]
        command += ["--rows", str(len(table.train)), "--seed", str(seed)]
        command += [] if epochs is None else ["--epochs", str(epochs)]
        printed = run_within(time_box, command, folder)
        if printed is None:
            return None
        figures: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
        return figures, pd.read_csv(out)


@contextlib.contextmanager
def ends_in_order() -> Iterator[None]:
    """Let a process that is told to end leave through what it has to clear up."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_within(time_box: float, command: list[str], folder: str | Path) -> str | None:
    """Run a command and give what it printed; None where it ran out of time.

    Whatever processes it has started end with it, and with this one where that is told to end.
    """
    with (
        ends_in_order(),
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as errors,
    ):
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=errors, text=True, start_new_session=True
        )
        try:
            process.wait(timeout=max(time_box, 0.1))
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for file in (out, errors):
            file.seek(0)
        if process.returncode != 0:
            text = errors.read()
            print(text[-3000:], file=sys.stderr)
            lines = text.strip().splitlines() or [f"exit status {process.returncode}"]
            raise RuntimeError(lines[-1][:200])
        return out.read()
