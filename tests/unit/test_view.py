import re
from dataclasses import replace

import pytest

from harness.analysis.recording import DataFile
from harness.analysis.result import build_result
from harness.errors import ResultError
from harness.report import render_report
from harness.report.definitions import DEFINITIONS, EVIDENCE_NAMES, KIND_NAMES
from harness.report.figures import draw_figures
from harness.report.svg import TOKENS
from harness.report.view import build_page, flatten
from harness.report.writer import render_page
from harness.result import write_result
from harness.worker.record import FileClass
from tests.golden.realistic import realistic_facts, realistic_recording
from tests.golden.recordings import MS, cut, facts, plan, record, write


def page_of(recording, run_facts):
    result = build_result(recording, run_facts)
    return build_page(result, draw_figures(result, recording))


def test_every_figure_is_there_and_says_unit_formula_and_source():
    page = page_of(realistic_recording(), realistic_facts())
    assert page.figure_count == len(DEFINITIONS)
    html = render_page(page)
    for definition in DEFINITIONS.values():
        for words in (definition.title, definition.unit, definition.formula, definition.source):
            assert words.replace("'", "&#39;") in html
    assert html.count("<svg") == 2 * len(DEFINITIONS)


def test_the_verdict_comes_first():
    html = render_page(page_of(realistic_recording(), realistic_facts()))
    assert html.index("Storage holds") < html.index("<h2") < html.index("<figure")


def test_the_same_run_gives_the_same_page():
    pages = [render_page(page_of(realistic_recording(), realistic_facts())) for _ in range(2)]
    assert pages[0] == pages[1]


def test_the_page_needs_nothing_from_elsewhere():
    html = render_page(page_of(realistic_recording(), realistic_facts()))
    assert "http" not in html
    assert "<script" not in html


def test_figures_have_no_colour_or_font_of_their_own():
    drawings = draw_figures(
        build_result(realistic_recording(), realistic_facts()), realistic_recording()
    )
    for drawing in drawings.values():
        for svg in (drawing.wide, drawing.narrow):
            assert "#01" not in svg
            assert "#000000" not in svg
            assert "DejaVu" not in svg
            assert "var(--" in svg


def test_no_name_stands_twice_in_the_page():
    names = re.findall(
        r' id="([^"]+)"', render_page(page_of(realistic_recording(), realistic_facts()))
    )
    assert len(names) == len(set(names))


def test_every_token_and_every_evidence_has_a_name_or_is_plain():
    plain = {"ink", "muted", "line", "paper", "mark"}
    assert set(TOKENS) == plain | set(KIND_NAMES)
    result = build_result(record(plan(2, 2)), facts(2))
    assert {item.name for item in result.verdict.evidence} == set(EVIDENCE_NAMES)


def test_unknown_device_bytes_are_a_word_and_never_zero():
    page = page_of(record(plan(2, 6, device_share=None)), facts(2))
    (bytes_table,) = [t for s in page.sections if s.anchor == "bytes" for t in s.tables]
    assert {row[3:] for row in bytes_table.rows} == {("unknown", "unknown", "unknown")}
    (memory,) = [figure for figure in page.key_figures if figure.name == "From memory"]
    assert memory.value == "unknown"
    (figure,) = [f for s in page.sections for f in s.figures if f.name == "bytes"]
    assert "unknown" in figure.wide


def test_a_run_without_rows_is_told_without_figures():
    recording = cut(cut(record(plan(2, 3)), rank=0, rows=0), rank=1, rows=0)
    page = page_of(replace(recording, files={}), facts(2, status="failed"))
    assert page.figure_count == 0
    assert (page.au, page.au_share) == ("unknown", None)
    assert "nothing to draw" in render_page(page)
    (bytes_table,) = [t for s in page.sections if s.anchor == "bytes" for t in s.tables]
    assert bytes_table.rows == (("measured epochs", *("unknown",) * 5),)
    lost = {row[0]: row[1] for row in page.evidence.rows}["lost time"]
    assert lost == "unknown"


def test_an_epoch_cut_short_is_shown_and_not_counted():
    page = page_of(cut(record(plan(2, 8)), rank=1, rows=4), facts(2, status="interrupted"))
    (table,) = [t for s in page.sections if s.anchor == "au" for t in s.tables]
    assert table.rows[0] == ("1", "66.6 %", "450 ms", "3", "unknown", "cut short")
    assert page.au == "unknown"


def test_files_that_are_no_cases_are_drawn_too_and_counts_are_not():
    files = {
        number: DataFile(path=name, size_bytes=size_bytes, file_class=file_class, role=role)
        for number, (name, size_bytes, file_class, role) in enumerate(
            (
                ("preprocessed.bin", 1600, FileClass.ROW, "train"),
                ("part-00000-of-00500", 2500, FileClass.RECORD, "eval"),
                ("day_fea_count.npz", 500, FileClass.COUNTS, "sidecar"),
            )
        )
    }
    page = page_of(replace(record(plan(2, 3)), files=files), facts(2))
    (figure,) = [f for s in page.sections for f in s.figures if f.name == "sizes"]
    assert figure.legend == (("file", "files"),)
    only_counts = replace(record(plan(2, 3)), files={2: files[2]})
    assert "sizes" not in {
        f.name for s in page_of(only_counts, facts(2)).sections for f in s.figures
    }


@pytest.mark.parametrize(("batch_size", "value"), [(4, "79.2 samples/s"), (4096, "81,100/s")])
def test_throughput_fits_beside_the_other_figures(batch_size, value):
    recording = record(plan(2, 3, load_ms=1, batch_size=batch_size))
    (throughput,) = [f for f in page_of(recording, facts(2)).key_figures if f.name == "Throughput"]
    assert throughput.value == value


def test_warnings_reach_the_page():
    assert "an epoch has 2 steps" in render_page(page_of(record(plan(2, 2)), facts(2)))


def test_names_from_outside_cannot_break_out_of_the_page():
    target = {"path": "/mnt/<script>alert(1)</script>", "byte_source": "proc"}
    html = render_page(page_of(record(plan(1, 2)), facts(1, target=target)))
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_nested_facts_become_names_and_words():
    assert flatten(
        {"memory": {"total_bytes": 16_000_000_000, "huge": None}, "list": [1, True]}
    ) == (
        ("memory total", "16 GB (16,000,000,000\u00a0B)"),
        ("memory huge", "unknown"),
        ("list", "1, yes"),
    )


def test_a_report_is_written_from_a_run_directory(tmp_path):
    recording = record(plan(2, 6, eval_ns=5 * MS))
    write(recording, tmp_path)
    write_result(build_result(recording, facts(2)), tmp_path)
    path = render_report(tmp_path)
    assert path == tmp_path / "report.html"
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.spoils
@pytest.mark.parametrize("lost", ["result.json", "steps"])
def test_a_half_written_directory_is_an_expected_error(tmp_path, lost):
    recording = record(plan(2, 3))
    write(recording, tmp_path)
    write_result(build_result(recording, facts(2)), tmp_path)
    (tmp_path / lost).rename(tmp_path / "elsewhere")
    with pytest.raises(ResultError):
        render_report(tmp_path)


def test_thousands_of_steps_make_a_page_that_still_opens():
    recording = record(plan(8, 2_000, load_ms=1, declared_ms=10))
    html = render_page(page_of(recording, facts(8)))
    assert len(html) < 4_000_000
    assert "its first" in html


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((1_000, None), "trains on 1,000 samples; how many there are is unknown"),
        ((128_000, 0), "trains on 128,000 samples: all 64,000, 2.0 times"),
        (
            (63_000, 1_000),
            "trains on 63,000 of 64,000 training samples and leaves out 1,000 (1.5 %)",
        ),
    ],
)
def test_how_much_of_the_data_set_an_epoch_reads_is_told(counts, words):
    recording = record(plan(2, 3))
    used, dropped = counts
    worker = replace(
        recording.worker, samples_used_per_epoch=used, samples_dropped_per_epoch=dropped
    )
    page = page_of(replace(recording, worker=worker), facts(2))
    assert words in page.sections[0].tables[0].caption
