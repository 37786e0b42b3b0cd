"""Putting the page on disk: one file that needs nothing else."""

from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from harness.errors import ResultError
from harness.recordings import read_recording
from harness.report.figures import draw_figures
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
    path, partial = run_dir / REPORT_NAME, run_dir / f"{REPORT_NAME}.partial"
    try:
        partial.write_text(content, encoding="utf-8")
        partial.rename(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        then = f"free space, then make it by `python -m harness report {run_dir}`"
        what = f"cannot write ({error.strerror})"
        raise ResultError(what, where=str(path), then=then) from error
    return path


def render_page(page: Page) -> str:
    """Return the HTML of a page; a name that the template misspells is an error."""
    here = resources.files("harness.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["svg"] = Markup  # our own drawings, whose text svg.finish escapes
    template = environment.from_string((here / "report.html.j2").read_text(encoding="utf-8"))
    css = Markup((here / "report.css").read_text(encoding="utf-8"))  # our own file
    return template.render(page=page, css=css)
