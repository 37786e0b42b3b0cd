"""A data set that the rules of a preset want larger is refused, and the size named would do."""

import re
from pathlib import Path

import psutil
import pytest

from dsgen.size import format_size
from harness.config import build_config
from harness.document import find_builtin, read_document
from tests.unit.test_harness_refusals import harness

BUILTIN = read_document(find_builtin(Path("/")))
# Enough for a step of two accelerators, and for fewer than 100.
SMALL = {"imseg": "600MB", "bert": "2MB", "dlrm": "2MB"}
WORKLOADS = list(SMALL)


def planned(tmp_path, workload, *more):
    places = ("--data", tmp_path / "data", "--results", tmp_path / "results", "--dry-run")
    preset = ("--preset", "smoke", "--steps", 0, "--eval-from", 0, "--engine", "docker")
    return harness("benchmark", workload, *places, *preset, *more)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_too_few_steps_are_refused_before_anything_is_made(tmp_path, workload):
    rules = ("--accelerators", 2, "--require-steps", 100, "--size", SMALL[workload])
    done = planned(tmp_path, workload, *rules)
    assert done.returncode == 6
    [line] = done.stderr.splitlines()
    assert "in an epoch, where 100 are asked for" in line
    assert not (tmp_path / "data").exists()
    size = re.search(r"use --size (\d+GB) or more", line)[1]
    assert planned(tmp_path, workload, *rules[:-1], size).returncode == 0


@pytest.mark.parametrize("workload", WORKLOADS)
def test_less_data_than_so_many_times_the_memory_is_refused(tmp_path, workload):
    rules = ("--require-memory-times", 5, "--memory", "2GB", "--accelerators", 2, "--size")
    done = planned(tmp_path, workload, *rules, "1.2GB")
    assert done.returncode == 6
    [line] = done.stderr.splitlines()
    assert "of training data, where 5 times the memory of 2 GB is asked for" in line
    size = re.search(r"use --size (\d+GB) or more", line)[1]
    assert planned(tmp_path, workload, *rules, size).returncode == 0


def test_a_limit_above_the_machine_s_memory_counts_as_much_as_there_is(tmp_path):
    total_bytes = psutil.virtual_memory().total
    rules = ("--require-memory-times", 5, "--memory", 1000 * total_bytes, "--size", "1.2GB")
    done = planned(tmp_path, "imseg", *rules)
    assert done.returncode == 6
    assert f"5 times the memory of {format_size(total_bytes)} is asked for" in done.stderr


def test_steps_that_were_cut_are_the_first_thing_to_give_up(tmp_path):
    done = planned(tmp_path, "dlrm", "--require-steps", 500, "--steps", 10)
    assert done.returncode == 6
    assert "10 steps in an epoch" in done.stderr
    assert "leave --steps out" in done.stderr


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_preset_has_the_rules(tmp_path, workload):
    config = build_config(workload, BUILTIN, preset="mlperf-style", cwd=tmp_path)
    assert (config.epochs - config.warmup_epochs, config.warmup_epochs) == (5, 1)
    assert (config.require_steps, config.require_memory_times) == (500, 5.0)
    assert (config.eval_from, config.checkpoint) == (0, None)
    assert config.steps == (500 if workload == "bert" else 0)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_data_set_too_small_for_a_single_step_is_told_the_size_as_well(tmp_path, workload):
    rules = ("--require-memory-times", 5, "--memory", "3GB", "--require-steps", 2)
    done = planned(tmp_path, workload, *rules, "--size", "1MB", "--accelerators", 4)
    assert done.returncode == 6
    size = re.search(r"use --size (\d+GB) or more", done.stderr)[1]
    more = planned(tmp_path, workload, *rules, "--size", size, "--accelerators", 4)
    assert more.returncode == 0, more.stderr
