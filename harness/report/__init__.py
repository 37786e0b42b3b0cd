"""One page that answers the question, with the figures behind the answer."""

from harness.report.writer import render_report

__all__ = ["render_report"]
