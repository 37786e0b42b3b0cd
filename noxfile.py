"""The menu. Every session passes what follows `--` on; the work is done by `python -m harness`."""

from collections.abc import Callable

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.envdir = ".nox"
nox.options.error_on_external_run = True
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint"]

WORKLOADS = ("imseg", "bert", "dlrm")
ENVIRONMENT = "environment"
ALONE = "alone or browser or engine"  # markers of tests that want the machine to themselves

# Each is `python -m harness` with these words before what the user adds.
MENU = {
    "build-cpu": (["build", "cpu"], "Build the CPU image."),
    "build-gpu": (["build", "gpu"], "Build the GPU image; needs no GPU."),
    "base-image": (["base-image"], "Make the image that the others start from."),
    "verify": (["verify"], "Read every byte of one data set: -- DIRECTORY."),
    "remove": (["remove"], "Delete one data set by its manifest: -- DIRECTORY."),
    "report": (["report"], "Make the report of a result again: -- RESULT_DIRECTORY."),
    "plan": (["plan"], "Say which calls a training would make, without data: -- WORKLOAD."),
    "similarity": (
        ["similarity"],
        "Hold recordings against one another: -- W --original DIR --generated DIR.",
    ),
    "compare": (["compare"], "Compare results, or groups of repeats: -- A B."),
    "selftest": (["selftest"], "Plant causes of slowness, and see whether the verdict finds them."),
    "clean": (["clean"], "Remove what this tool left in the engine, by label."),
}
for workload in WORKLOADS:
    MENU |= {
        f"generate-{workload}": (
            ["generate", workload],
            f"Make a data set of {workload}, or continue or repair it.",
        ),
        f"originals-{workload}": (
            ["originals", workload],
            f"Lay out the original {workload}'s names and sizes: real bytes, or -- --holes.",
        ),
        f"scale-{workload}": (
            ["scale", workload],
            f"Enlarge a data set of {workload} of yours: -- --input PATH.",
        ),
        f"train-{workload}": (["train", workload], f"Train {workload} over an existing data set."),
        f"benchmark-{workload}": (
            ["benchmark", workload],
            f"Build, generate or reuse, train {workload}, report.",
        ),
    }


@nox.session(name=ENVIRONMENT, default=False)
def environment(session: nox.Session) -> None:
    """Install the harness for the other sessions; they do it by themselves."""
    session.install("--quiet", "--editable", ".[host]")


def run_harness(session: nox.Session, words: list[str]) -> None:
    """Run `python -m harness WORDS ...`."""
    python = f"{nox.options.envdir}/{ENVIRONMENT}/bin/python"
    # An interrupted run stops its containers and writes what it has before it ends.
    session.run(
        *(python, "-m", "harness", *words, *session.posargs),
        external=True,
        interrupt_timeout=60,
        terminate_timeout=30,
    )


def harness(words: list[str], summary: str) -> Callable[[nox.Session], None]:
    """Return the session of one command."""

    def run(session: nox.Session) -> None:
        run_harness(session, words)

    run.__doc__ = summary
    return run


for name, (words, summary) in MENU.items():
    nox.session(name=name, default=False, venv_backend="none", requires=[ENVIRONMENT])(
        harness(words, summary)
    )


@nox.session(default=False, venv_backend="none", requires=[ENVIRONMENT])
def smoke(session: nox.Session) -> None:
    """Do the main job at CI size for each workload: from nothing to a report."""
    for workload in WORKLOADS:
        run_harness(session, ["benchmark", workload, "--preset", "smoke"])


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; what this machine cannot run is named, and fails where CI is set.

    Two at a time, then those that measure time or share an engine one after the other.
    """
    session.install("--quiet", "--editable", ".[host,test]")
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    together = ("--numprocesses=2", "--dist=loadfile", "-m", f"not ({ALONE})")
    failed = False
    for words in (together, ("-m", ALONE)):
        try:
            session.run("pytest", *words)
        except CommandFailed:
            failed = True  # and the other part is to be seen as well
    if failed:
        session.error("tests failed")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types."""
    session.install("--quiet", "--editable", ".[host,test,lint]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("mypy", "benchmarks")
