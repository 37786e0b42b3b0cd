"""Planted causes are found, in real containers over a real disk."""

import pytest

from harness.commands import main
from harness.errors import ExitCode

pytestmark = pytest.mark.engine


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("engine")
def test_figures_and_verdict_follow_every_cause(tmp_path, capsys):
    words = ["selftest", "--short", "--engine", "docker"]
    code = main([*words, "--data", str(tmp_path / "data"), "--results", str(tmp_path / "results")])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("PASS")] == []
    assert len(lines) == 6
    assert code == ExitCode.DONE
