"""A comparison as JUnit XML, which continuous integration shows: a test case for each metric."""

from xml.etree import ElementTree

from dsgen.errors import breaks_line
from harness.analysis.compare import Compared, Comparison, change, share_text
from harness.compare.table import answer_lines, interval_text, value_text

_CLASS = "feedrate.compare"


def junit_of(comparison: Comparison) -> str:
    """Return the XML; what fails is what `--fail-on-regression` asked for, and a refusal."""
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", name="feedrate compare")
    properties = ElementTree.SubElement(suite, "properties")
    for difference in comparison.differences:
        value = f"{' or '.join(difference.a)} against {' or '.join(difference.b)}"
        _add(properties, "property", name=f"differs: {difference.fact}", value=value)
    like = _add(suite, "testcase", classname=_CLASS, name="comparable")
    if comparison.is_refused:
        _add(like, "error", message=comparison.sentence)
    for metric in comparison.metrics:
        _add_metric(suite, metric, comparison.regression_limit)
    for name in ("error", "failure", "skipped"):
        count = len(suite.findall(f"testcase/{name}"))
        suite.set({"error": "errors", "failure": "failures"}.get(name, name), str(count))
    suite.set("tests", str(len(suite.findall("testcase"))))
    output = _add(suite, "system-out")
    sides = (("A", comparison.a), ("B", comparison.b))
    notices = [f"{name}: {notice}" for name, side in sides for notice in side.notices]
    output.text = "\n".join(map(_clean, (*answer_lines(comparison), *notices)))
    ElementTree.indent(suites)
    body = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _add_metric(suite: ElementTree.Element, metric: Compared, limit: float | None) -> None:
    case = _add(suite, "testcase", classname=_CLASS, name=metric.name)
    told = _told(metric)
    if metric.regressed and limit is not None:
        _add(case, "failure", message=f"regression of more than {share_text(limit)}: {told}")
    elif metric.word in ("not tested", "no figure"):
        _add(case, "skipped", message=f"{metric.word}: {told}" if told else metric.word)
    output = _add(case, "system-out")
    output.text = _clean(f"{metric.word}: {told}" if told else metric.word)


def _told(metric: Compared) -> str:
    if metric.a is None or metric.b is None or metric.ratio is None:
        return ""
    values = " to ".join(value_text(one.mean, metric.unit) for one in (metric.a, metric.b))
    interval = interval_text(metric)
    within = f", 95 % interval {interval}" if interval else ""
    return f"{values}, {change(metric.ratio.value)}{within}"


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    cleaned = {name: _clean(value) for name, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, cleaned)


def _clean(text: str) -> str:
    """Return a text without what XML cannot hold."""
    return "".join(ascii(char)[1:-1] if _is_refused(char) else char for char in text)


def _is_refused(char: str) -> bool:
    return breaks_line(char) or char in "\ufffe\uffff"
