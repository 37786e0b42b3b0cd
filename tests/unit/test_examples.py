"""The example scripts: what one lays out the other takes, in words that the commands know."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small(tmp_path):
    """Return an environment whose python3 runs the same commands, a ten-thousandth of the size."""
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(
        f'#!/bin/bash\nwords=(); for word in "$@"; do words+=("${{word/%00000000/0000}}"); '
        f'done\necho "${{words[@]}}" >> {tmp_path}/said\nexec {sys.executable} "${{words[@]}}"\n'
    )
    python.chmod(0o755)
    return {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}


def test_the_scaling_examples_take_what_the_generation_examples_lay_out(small, tmp_path):
    for script, *words in (("generation.sh", "data"), ("scaling.sh", "data", "scaled")):
        command = [ROOT / script, *(tmp_path / word for word in words)]
        subprocess.run(command, env=small, cwd="/", check=True, capture_output=True, timeout=300)
    sets = {"imseg", "bert", "dlrm-text", "dlrm-npz", "dlrm-bin"}
    assert {path.name for path in (tmp_path / "data").iterdir()} == sets
    assert {path.name for path in (tmp_path / "scaled").iterdir()} == sets
    assert all((tmp_path / "scaled" / name / "manifest.json").is_file() for name in sets)
    said = (tmp_path / "said").read_text().splitlines()
    assert [line.split()[0] for line in said] == ["data_generation.py"] * 5 + [
        "data_scaling.py"
    ] * 5
    assert all("--desired_size 200000 " in line for line in said[5:])
