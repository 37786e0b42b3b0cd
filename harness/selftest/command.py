"""`python -m harness selftest`: plant each cause, and say whether it was found."""

from collections.abc import Sequence

from dsgen.directory import check_capacity
from dsgen.errors import ExitCode
from dsgen.manifest import read_manifest
from harness.dataset import data_set_directory
from harness.run import generate
from harness.selftest.attempt import attempt, means_of
from harness.selftest.cause import Cause, Finding
from harness.selftest.causes import all_causes, short_causes
from harness.setting import Setting


def run_selftest(setting: Setting, *, short: bool, times: int) -> ExitCode:
    """Run every cause so many times, each with a seed of its own; print a line for each.

    Returns:
        RESULT where one was not found.

    Raises:
        JobError: the data set cannot be made.
        TargetError: there is no place for it or for the results.
    """
    config = setting.config
    directory = data_set_directory(config)
    check_capacity(config.size_bytes, config.data)
    generate(setting, directory)
    manifest = read_manifest(directory)
    means = means_of(setting.engine.name, setting.target)
    how = "by the device" if means.device else "by delayed reads"
    setting.progress.say(f"slow storage is made {how}: {means.reason}")
    failed = False
    for cause in short_causes() if short else all_causes():
        findings: list[Finding] = []
        declined = None
        for number in range(times):
            outcome = attempt(setting, manifest, directory, cause, means, seed=config.seed + number)
            declined = outcome.declined
            if declined:
                break
            findings.append(cause.check(outcome))
            print(_line(cause, findings[-1]), flush=True)
        if declined:
            print(f"SKIP  {cause.name}: {declined}", flush=True)
        elif times > 1:
            print(_summary(cause, findings), flush=True)
        failed = failed or not all(finding.passed for finding in findings)
    return ExitCode.RESULT if failed else ExitCode.DONE


def _line(cause: Cause, finding: Finding) -> str:
    return f"{'PASS' if finding.passed else 'FAIL'}  {cause.name}: {finding.figures}"


def _summary(cause: Cause, findings: Sequence[Finding]) -> str:
    right = sum(finding.passed for finding in findings)
    return f"      {cause.name}: {right} of {len(findings)} right"
