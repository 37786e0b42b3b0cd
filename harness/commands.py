"""`python -m harness`: build, generate, scale, train and report, in containers or without."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dsgen.__main__ import MODE_HELP
from dsgen.__main__ import main as dsgen_main
from dsgen.command import CONTINUES, OneLineParser, exit_codes, run_command
from dsgen.directory import check_capacity
from dsgen.errors import ExitCode
from dsgen.events import data_set, emit_json, plan
from dsgen.scale import MODES
from dsgen.stand_ins import HOLES_HELP, STAND_INS
from dsgen.workloads import WORKLOADS
from harness.compare.command import add_compare
from harness.config import Config, flag_path, resolve
from harness.dataset import (
    DataSet,
    data_lines,
    data_set_directory,
    find_data_set,
    keep_apart,
)
from harness.engine.choose import choose_engine, engine_name
from harness.engine.client import connect
from harness.fidelity.command import add_similarity_verb
from harness.flags import add_flags, add_options
from harness.plan.record import write_plan
from harness.progress import Progress
from harness.repeats import train_repeatedly
from harness.run import generate
from harness.scaling import layout_line, plan_scaling, scale, scaling_lines
from harness.selftest.command import run_selftest
from harness.setting import Setting
from harness.stand_ins import choose_stand_in
from harness.system import system_facts
from harness.target import Target, inspect_target, target_lines
from harness.trace.command import add_trace_verb
from harness.training import counted, training_lines
from harness.worker.workloads import READINGS

Run = Callable[[argparse.Namespace, tuple[str, ...]], ExitCode]


def main(arguments: Sequence[str] | None = None) -> ExitCode:
    """Run one command and return its exit code."""
    words = tuple(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (("verify",), ("remove",)):
        return dsgen_main(words)
    options = _parser().parse_args(words)
    run: Run = options.run
    command = ("python", "-m", "harness", *words)
    emit = emit_json if getattr(options, "json", False) else None
    # A training starts anew; only what makes a data set continues.
    when_stopped = "stopped before the training began" if words[:1] == ("train",) else CONTINUES
    return run_command(partial(run, options, command), emit_error=emit, when_stopped=when_stopped)


def _work(steps: Sequence[str], options: argparse.Namespace, command: tuple[str, ...]) -> ExitCode:
    """Do what generate, train and benchmark have in common, and their steps."""
    config = resolve(options.workload, options, Path.cwd())
    # Training only reads the data set: a read-only mount will do.
    target = inspect_target(config.data, to_write="generate" in steps)
    inspect_target(config.results)
    if "generate" in steps:
        data = DataSet(directory=data_set_directory(config))
    else:
        data = find_data_set(config)
    config, notices = keep_apart(config, data)
    if "train" in steps and config.checkpoint is not None:
        inspect_target(config.checkpoint)
    if data.manifest is None and config.entropy != "holes":
        check_capacity(config.size_bytes, config.data)
    with _progress(config) as progress:
        if "train" in steps:
            data = counted(config, data, progress.say)
        training = _training(config, data) if "train" in steps else []
        for line in [*target_lines(target), *data_lines(config, data), *training, *notices]:
            progress.say(line)
        if config.dry_run:
            return ExitCode.DONE
        setting = _setting(config, target, progress, command, notices)
        if "generate" in steps:
            generate(setting, data.directory)
        if "train" in steps:
            return train_repeatedly(setting, data)
        progress.end(data_set(str(data.directory)))
    return ExitCode.DONE


def _training(config: Config, data: DataSet) -> list[str]:
    return training_lines(config, data, engine=engine_name(config.engine))


def _originals(options: argparse.Namespace, command: tuple[str, ...]) -> ExitCode:
    """Lay out a stand-in of the original as a configured data set, which training finds."""
    _say(choose_stand_in(options))
    return _work(("generate",), options, command)


def _plan(options: argparse.Namespace, _: tuple[str, ...]) -> ExitCode:
    """Say which calls a training would make, without making them."""
    config = resolve(options.workload, options, Path.cwd())
    inspect_target(config.results)
    data = find_data_set(config)
    config, notices = keep_apart(config, data)
    with _progress(config) as progress:
        for line in [*data_lines(config, data), *_training(config, data), *notices]:
            progress.say(line)
        if not config.dry_run:
            progress.end(plan(str(write_plan(config, data))))
    return ExitCode.DONE


def _scale(options: argparse.Namespace, command: tuple[str, ...]) -> ExitCode:
    """Enlarge a user's data set."""
    cwd = Path.cwd()
    config = resolve(options.workload, options, cwd)
    target = inspect_target(config.data)
    inspect_target(config.results)
    scaling = plan_scaling(config, cwd / flag_path("input", options.input), options.mode)
    with _progress(config) as progress:
        for line in [*target_lines(target), *scaling_lines(config, scaling)]:
            progress.say(line)
        if config.dry_run:
            progress.say(layout_line(config, scaling))
            return ExitCode.DONE
        # The job says the same of the layout before its first byte.
        scale(_setting(config, target, progress, command), scaling)
        progress.end(data_set(str(scaling.directory)))
    return ExitCode.DONE


def _selftest(options: argparse.Namespace, command: tuple[str, ...]) -> ExitCode:
    """Plant causes, and see whether the verdict finds them."""
    config = resolve(options.workload, options, Path.cwd())
    target = inspect_target(config.data)
    inspect_target(config.results)
    with _progress(config) as progress:
        for line in target_lines(target):
            progress.say(line)
        setting = _setting(config, target, progress, command)
        return run_selftest(setting, short=options.short, times=options.times)


def _setting(
    config: Config,
    target: Target,
    progress: Progress,
    command: tuple[str, ...],
    notices: tuple[str, ...] = (),
) -> Setting:
    """Make the engine ready, and bring together what a step works with."""
    engine = choose_engine(
        config.engine,
        flavour="gpu" if config.gpus else "cpu",
        image_archive=config.image_archive,
    )
    progress.say(f"engine  {engine.name}: {engine.reason}")
    engine.prepare(progress.say)
    return Setting(
        config=config,
        target=target,
        system=system_facts(),
        engine=engine,
        progress=progress,
        command=command,
        notices=notices,
    )


def _progress(config: Config) -> Progress:
    events = sys.stdout if config.json else None
    return Progress(sys.stderr, is_terminal=sys.stderr.isatty(), events=events)


def _report(options: argparse.Namespace, _: tuple[str, ...]) -> ExitCode:
    # Only here, because it imports matplotlib, which takes a while.
    from harness.report.writer import render_report

    print(render_report(options.directory))
    return ExitCode.DONE


def _build(options: argparse.Namespace, _: tuple[str, ...]) -> ExitCode:
    choose_engine("docker", flavour=options.flavour, image_archive=options.image_archive).prepare(
        _say
    )
    return ExitCode.DONE


def _base_image(options: argparse.Namespace, _: tuple[str, ...]) -> ExitCode:
    client = connect()
    # Only here, because it imports the SDK.
    from harness.engine.base_image import ensure_base_image

    _say(f"base image: {ensure_base_image(client, options.image_archive, _say)}")
    return ExitCode.DONE


def _clean(options: argparse.Namespace, _: tuple[str, ...]) -> ExitCode:
    client = connect()
    # Only here, because it imports the SDK.
    from harness.engine.clean import clean

    clean(client, base=options.base, say=_say)
    return ExitCode.DONE


def _times(text: str) -> int:
    """Return a number of times; argparse names the function where it is none."""
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 1000")
    return int(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m harness",
        description=__doc__,
        epilog=exit_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for verb, steps, text in (
        ("generate", ("generate",), "make a data set, or continue or repair it"),
        ("train", ("train",), "train over an existing data set, and report"),
        ("benchmark", ("generate", "train"), "build, generate or reuse, train, report"),
    ):
        work = verbs.add_parser(verb, help=text)
        work.add_argument("workload", choices=READINGS if "train" in steps else WORKLOADS)
        add_flags(work)
        work.set_defaults(run=partial(_work, steps))
    originals = verbs.add_parser("originals", help="lay out an original's names and sizes")
    originals.add_argument("workload", choices=STAND_INS)
    originals.add_argument("--holes", action="store_true", help=HOLES_HELP)
    add_flags(originals)
    originals.set_defaults(run=_originals)
    calls = verbs.add_parser("plan", help="say which calls a training would make, without data")
    calls.add_argument("workload", choices=READINGS)
    add_flags(calls)
    calls.set_defaults(run=_plan)
    larger = verbs.add_parser("scale", help="enlarge a data set of yours")
    larger.add_argument("workload", choices=WORKLOADS)
    larger.add_argument("--input", required=True, metavar="PATH", help="your data set; only read")
    larger.add_argument("--mode", choices=MODES, default=MODES[0], help=MODE_HELP)
    add_flags(larger)
    larger.set_defaults(run=_scale)
    add_trace_verb(verbs)
    add_similarity_verb(verbs)
    tested = verbs.add_parser("selftest", help="plant causes, and see whether the verdict is right")
    tested.add_argument("workload", choices=("imseg",), nargs="?", default="imseg")
    tested.add_argument("--short", action="store_true", help="one slow storage, not three")
    tested.add_argument("--times", type=_times, default=1, metavar="N", help="each so often")
    add_options(tested, ("data", "results", "engine", "image_archive", "processes", "seed"))
    tested.set_defaults(run=_selftest, preset="smoke")
    report = verbs.add_parser("report", help="make the report of a result again")
    report.add_argument("directory", type=Path)
    report.set_defaults(run=_report)
    add_compare(verbs)
    build = verbs.add_parser("build", help="build an image")
    build.add_argument("flavour", choices=("cpu", "gpu"))
    build.set_defaults(run=_build)
    base = verbs.add_parser("base-image", help="make the image that the others start from")
    base.set_defaults(run=_base_image)
    for image in (build, base):
        image.add_argument("--image-archive", type=Path, metavar="FILE")
    clean = verbs.add_parser("clean", help="remove what this tool left in the engine, by label")
    clean.add_argument("--base", action="store_true", help="the base image as well")
    clean.set_defaults(run=_clean)
    for verb, text in (
        ("verify DIR", "read every byte of a data set and compare with its manifest"),
        ("remove DIR", "delete one data set by its manifest"),
    ):
        verbs.add_parser(verb.split()[0], help=text)
    return parser
