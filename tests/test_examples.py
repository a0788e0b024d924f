"""Every script of examples/ runs as a user would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
def test_example_runs_and_prints(script, tmp_path):
    # The repository is put on the path, so that the tests also run from a checkout that is not
    # installed; the script is copied nowhere and must not depend on the folder it is started in.
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert finished.returncode == 0, f"{script.name} failed:\n{finished.stdout}\n{finished.stderr}"
    assert finished.stdout.strip(), f"{script.name} prints nothing"
    assert "FutureWarning" not in finished.stderr
