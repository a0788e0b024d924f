"""README.md is run as a test: its Python blocks, and the names of files in its shell blocks."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# A path of this repository: a word with a slash or a suffix, without glob, option or URL.
PATH = re.compile(r"(?:\./)?\.?\w[\w-]*(?:/[\w.-]+)+/?|\w[\w-]*\.(?:py|md|toml|csv|yaml)")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def line_of(block):
    return README[: README.index(block)].count("\n") + 1


def shell_words():
    for block in blocks("bash"):
        yield from shlex.split(block, comments=True)


def test_python_blocks_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    assert blocks("python")
    for block in blocks("python"):
        # Blank lines before it give a traceback the line numbers of README.md.
        code = compile("\n" * (line_of(block) - 1) + block, str(ROOT / "README.md"), "exec")
        exec(code, namespace)


def test_first_screen_has_the_interface_and_both_commands():
    screen = "\n".join(README.splitlines()[:40])
    for words in ("TabGRAASynthesizer", ".fit(", ".sample(", "quickstart.py", "&& pytest"):
        assert words in screen


def named_files():
    words = {*shell_words(), *re.findall(r"`([^`\s]+)`", README)}
    return sorted(word for word in words if PATH.fullmatch(word) and not word.startswith(".venv"))


@pytest.mark.parametrize("name", named_files())
def test_files_that_are_named_exist(name):
    assert (ROOT / name).exists(), f"README.md names {name}, which is not there"
