"""Pages from templates: one file that needs nothing else."""

from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup


def render(template_name: str, **values: Any) -> str:
    """Return the HTML of a template of this directory, which has our style as `css`.

    A name that the template misspells is an error.
    """
    here = resources.files("harness.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["svg"] = Markup  # our own drawings, whose text svg.finish escapes
    template = environment.from_string((here / template_name).read_text(encoding="utf-8"))
    css = Markup((here / "report.css").read_text(encoding="utf-8"))  # our own file
    return template.render(css=css, **values)
