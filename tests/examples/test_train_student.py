"""The example runs as it stands. Run with: python -m pytest tests/examples"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.tasks.release.releases import released


@pytest.mark.slow
def test_a_student_learns_digits_from_stored_views(tmp_path: Path) -> None:
    """Of 400 digits whose teachers give the true class 70%, it gets nearly all right in eight epochs."""
    curation = released(tmp_path, rows=256)
    done = subprocess.run(
        [sys.executable, "examples/train_student.py", str(curation), "8"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^epoch \d+: loss", done.stdout, re.MULTILINE)) == 8
    [share] = re.findall(r"agrees with ([\d.]+)% of the labels", done.stdout)
    assert float(share) > 90


def test_it_is_about_twenty_lines() -> None:
    code = (REPOSITORY / "examples/train_student.py").read_text().partition("torch.manual_seed")[2]
    assert len(code.splitlines()) <= 24
