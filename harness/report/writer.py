"""Putting the page on disk: one file that needs nothing else."""

from pathlib import Path

from harness.beside import write_beside
from harness.errors import ResultError
from harness.recordings import read_recording
from harness.report.figures import draw_figures
from harness.report.template import render
from harness.report.view import Page, build_page
from harness.result import RESULT_NAME, read_result

REPORT_NAME = "report.html"


def render_report(run_dir: Path) -> Path:
    """Write report.html from what is in `run_dir`, and return its path.

    Raises:
        ResultError: the directory is incomplete, its content malformed, or not writable.
    """
    result = read_result(run_dir / RESULT_NAME)
    page = build_page(result, draw_figures(result, read_recording(run_dir)))
    content = render_page(page)
    path = run_dir / REPORT_NAME
    try:
        write_beside(path, content.encode())
    except OSError as error:
        then = f"free space, then make it by `python -m harness report {run_dir}`"
        what = f"cannot write ({error.strerror})"
        raise ResultError(what, where=str(path), then=then) from error
    return path


def render_page(page: Page) -> str:
    """Return the HTML of a page."""
    return render("report.html.j2", page=page)
