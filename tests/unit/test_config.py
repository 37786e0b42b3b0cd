import argparse
import json
import re
from datetime import date
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsgen.workloads import WORKLOADS, plan
from harness.config import Config, build_config, config_json, config_notices, resolve
from harness.document import Document, find_builtin, read_document
from harness.errors import ConfigError
from harness.flags import add_flags
from harness.options import Layer, nearest, option_types
from harness.profiles import Profile, covers, step_time

ROOT = Path(__file__).resolve().parents[2]
BUILTIN = read_document(ROOT / "feedrate.toml")
CWD = Path("/somewhere")


def run(*argv: str, cwd: Path = CWD) -> Config:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return resolve("imseg", parser.parse_args(argv), cwd)


def refusal(*argv: str, cwd: Path = CWD) -> str:
    with pytest.raises(ConfigError) as caught:
        run(*argv, cwd=cwd)
    assert caught.value.exit_code == 2
    return str(caught.value)


def document(text: str, tmp_path: Path) -> Document:
    path = tmp_path / "own.toml"
    path.write_text(text)
    return read_document(path)


def with_tables(**tables: object) -> Document:
    return Document(name="feedrate.toml", tables={**BUILTIN.tables, **tables})


def test_defaults_are_those_of_the_issue():
    config = run()
    assert (config.workload, config.preset) == ("imseg", "default")
    assert (config.data, config.results) == (CWD / "data", CWD / "results")
    assert config.checkpoint == CWD / "data/checkpoint"
    assert (config.size_bytes, config.law, config.seed) == (16 * 10**9, "kits19", 1)
    assert (config.accelerators, config.profile, config.batch_size) == (8, "v100", 4)
    assert (config.epochs, config.eval_from, config.eval_every) == (5, 3, 2)
    assert (config.loader_workers, config.prefetch_batches) == (4, 2)
    assert (config.buffer, config.cache, config.engine) == ("reuse", "cold", "auto")
    assert (config.checkpoint_bytes, config.processes, config.warmup_epochs) == (499_153_191, 0, 0)
    absent = (config.memory_bytes, config.require_au, config.max_duration_s, config.image_archive)
    assert absent == (None,) * 4
    assert not any((config.extrapolate, config.dry_run, config.json, config.extrapolated))


def test_published_preset_is_the_published_runs():
    config = run("--preset", "published")
    assert (config.batch_size, config.loader_workers, config.cache) == (4, 0, "once")
    assert (config.epochs, config.eval_from, config.eval_every) == (20, 10, 2)
    assert config.profile == "v100"


def test_smoke_preset_has_exactly_24_training_and_8_evaluation_cases_whatever_the_seed():
    config = run("--preset", "smoke")
    assert (config.accelerators, config.batch_size, config.epochs) == (8, 1, 3)
    assert (config.profile, config.law, config.eval_from) == ("ci", "small", 3)
    for seed in range(8):
        layout = plan("imseg", size_bytes=config.size_bytes, seed=seed, wanted=config.wanted)
        assert (layout.samples("train"), layout.samples("eval")) == (24, 8)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_preset_of_every_workload_resolves(workload):
    for preset in BUILTIN.tables["presets"][workload]:
        config = build_config(workload, BUILTIN, preset=preset, cwd=CWD)
        assert config.preset == preset
        assert not config.extrapolated


def test_flags_win_over_the_file_over_the_preset_over_defaults(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text("epochs = 7\nbatch_size = 3\n")
    assert run("--preset", "published").epochs == 20
    assert run("--preset", "published", "--config", str(own)).epochs == 7
    both = run("--preset", "published", "--config", str(own), "--epochs", "12")
    assert (both.epochs, both.batch_size, both.loader_workers) == (12, 3, 0)
    assert run("--config", str(own), "--set", "batch_size=2").batch_size == 2


def test_file_of_the_working_directory_takes_the_place_of_the_one_with_the_code(tmp_path):
    assert find_builtin(tmp_path) == ROOT / "feedrate.toml"
    text = (ROOT / "feedrate.toml").read_text()
    (tmp_path / "feedrate.toml").write_text(text.replace("epochs = 5", "epochs = 9"))
    assert find_builtin(tmp_path) == tmp_path / "feedrate.toml"
    assert run(cwd=tmp_path).epochs == 9


def test_missing_default_is_a_problem_and_not_a_guess():
    defaults = {k: v for k, v in BUILTIN.tables["defaults"].items() if k not in {"seed", "size"}}
    with pytest.raises(ConfigError) as caught:
        build_config("imseg", with_tables(defaults=defaults), cwd=CWD)
    assert "seed is not set" in str(caught.value)
    assert "size is not set" in str(caught.value)


def test_paths_start_at_the_working_directory_and_none_is_no_checkpoint():
    config = run("--data", "store/a", "--results", "/r", "--image-archive", "base.tar")
    assert (config.data, config.results) == (CWD / "store/a", Path("/r"))
    assert config.checkpoint == CWD / "store/a/checkpoint"
    assert config.image_archive == CWD / "base.tar"
    assert run("--checkpoint", "none").checkpoint is None
    assert run("--checkpoint", "/ckpt").checkpoint == Path("/ckpt")


def test_what_is_not_set_follows_from_other_options():
    assert [run("--epochs", str(n)).eval_from for n in (1, 2, 5, 50)] == [1, 1, 3, 25]
    assert run("--eval-from", "0").eval_from == 0
    assert run("--profile", "h100").batch_size == 7
    assert run("--profile", "ci").batch_size == 1


def test_all_problems_are_shown_at_once_each_on_a_line_with_its_place(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('seed = true\nlaw = "kits20"\nspeed = 3\n')
    message = refusal(
        *("--config", str(own), "--accelerators", "0", "--batch-size", "-1", "--epochs", "none"),
        *("--size", "16G", "--cache", "tepid", "--set", "buffr=fresh", "--set", "epochs"),
        *("--require-au", "nan", "--max-duration", "inf", "--preset", "smok"),
    )
    first, *lines = message.splitlines()
    assert first == f"{len(lines)} problems in the configuration"
    expected = {
        "seed is True": f"{own} seed; give a whole number, at least 0",
        "unknown law 'kits20'": f"{own} law; imseg has kits19",
        "unknown key 'speed'": f"{own} speed; did you mean seed?",
        "accelerators is '0'": "--accelerators; give a whole number, at least 1",
        "batch_size is '-1'": "--batch-size; give a whole number, at least 1",
        "epochs is 'none'": "--epochs; give a whole number, at least 1",
        "size is '16G'": "--size; say GB (powers of 1000) or GiB (powers of 1024)",
        "cache is 'tepid'": "--cache; give one of cold, once, warm, asis",
        "unknown key 'buffr'": "--set buffr; did you mean buffer?",
        "not an assignment": "--set epochs; write --set key=value",
        "require_au is 'nan'": "--require-au; give a number, above 0, at most 1",
        "max_duration is 'inf'": "--max-duration; give a number, above 0",
        "unknown preset 'smok'": "--preset; did you mean smoke?",
    }
    for what, rest in expected.items():
        assert any(line.startswith(f"  {what}: {rest}") for line in lines), what
    assert len(lines) == len(expected)


def test_no_problem_follows_from_another(tmp_path):
    (tmp_path / "own.toml").write_text("epochs = 3\n")
    message = refusal("--config", "own.toml", "--epochs", "x", "--eval-from", "4", cwd=tmp_path)
    assert message == "epochs is 'x': --epochs; give a whole number, at least 1"


def test_one_problem_is_one_line():
    message = refusal("--epochs", "0")
    assert message == "epochs is '0': --epochs; give a whole number, at least 1"


@given(key=st.text(min_size=1).filter(lambda text: text not in option_types()))
def test_every_unknown_key_is_found_wherever_it_stands(key):
    places = {
        "feedrate.toml [defaults]": with_tables(defaults={**BUILTIN.tables["defaults"], key: 1}),
        "feedrate.toml [presets.imseg.x]": with_tables(
            presets={"imseg": {**BUILTIN.tables["presets"]["imseg"], "x": {key: 1}}}
        ),
    }
    for place, builtin in places.items():
        with pytest.raises(ConfigError) as caught:
            build_config("imseg", builtin, cwd=CWD)
        assert (caught.value.what, caught.value.where) == (f"unknown key {key!r}", f"{place} {key}")
        (line,) = str(caught.value).splitlines()
        assert f"unknown key {key!r}: {place} " in line
    flags = [Layer(place="--set {key}", values={key: "1"}, is_text=True)]
    with pytest.raises(ConfigError, match="unknown key"):
        build_config("imseg", BUILTIN, flags=flags, cwd=CWD)


@given(data=st.data())
def test_a_misspelt_key_is_answered_by_the_right_one(data):
    key = data.draw(st.sampled_from(sorted(key for key in option_types() if len(key) > 5)))
    position = data.draw(st.integers(0, len(key) - 1))
    misspelt = key[:position] + key[position + 1 :]
    if misspelt not in option_types():
        assert nearest(misspelt, option_types()) == key
    assert nearest(key.replace("_", "-").upper(), option_types()) == key


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(1, 10**15),
        "seed": st.integers(0, 2**63),
        "accelerators": st.integers(1, 1024),
        "batch_size": st.integers(1, 64),
        "epochs": st.integers(5, 100),
        "eval_from": st.integers(0, 5),
        "loader_workers": st.integers(0, 64),
        "cache": st.sampled_from(["cold", "once", "warm", "asis"]),
        "memory": st.one_of(st.just("none"), st.integers(1, 2**50)),
        "require_au": st.one_of(st.just("none"), st.floats(0.001, 1.0)),
        "max_duration": st.one_of(st.just("none"), st.floats(0.001, 1e9)),
        "checkpoint": st.sampled_from(["none", "/c", "rel/c"]),
        "extrapolate": st.booleans(),
        "json": st.booleans(),
    },
)


@given(settings=SETTINGS)
def test_files_flags_and_json_mean_the_same(settings):
    settings = {"profile": "ci", **settings}
    own = Document(name="own.toml", tables=settings)
    from_file = build_config("imseg", BUILTIN, user=own, cwd=CWD)
    texts = {key: json.dumps(v) if isinstance(v, bool) else str(v) for key, v in settings.items()}
    flags = [Layer(place="--{flag}", values=texts, is_text=True)]
    assert build_config("imseg", BUILTIN, flags=flags, cwd=CWD) == from_file
    text = json.dumps(config_json(from_file))
    read = msgspec.convert(json.loads(text), Config, dec_hook=lambda _, value: Path(value))
    assert read == from_file
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({**json.loads(text), "x": 1}, Config, dec_hook=lambda _, v: Path(v))


@pytest.mark.parametrize("text", ["16GB", "16e9", "16000000000", " 16 GB "])
def test_sizes_are_read_as_people_write_them(text):
    assert run("--size", text).size_bytes == 16 * 10**9
    assert run("--memory", "1GiB").memory_bytes == 2**30
    own = Document(name="own.toml", tables={"size": 16e9, "memory": 5})
    assert build_config("imseg", BUILTIN, user=own, cwd=CWD).size_bytes == 16 * 10**9


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("accelerators", "8"),
        ("accelerators", 8.5),
        ("accelerators", 70_000),
        ("seed", True),
        ("extrapolate", 1),
        ("extrapolate", "true"),
        ("size", True),
        ("size", float("inf")),
        ("size", -1),
        ("data", 3),
        ("data", ""),
        ("law", date(2024, 9, 1)),
        ("require_au", 1.5),
        ("require_au", "0.9"),
        ("cache", ["cold"]),
        ("seed", {"x": 1}),
    ],
)
def test_wrong_types_in_a_file_are_refused_and_not_converted(key, value):
    own = Document(name="own.toml", tables={key: value})
    with pytest.raises(ConfigError, match=re.escape(f"{key} is {value!r}: own.toml {key}")):
        build_config("imseg", BUILTIN, user=own, cwd=CWD)


def test_contradictions_between_fine_values_are_refused():
    assert "would never happen" in refusal("--epochs", "4", "--eval-from", "5")
    assert "none would be measured" in refusal("--epochs", "4", "--warmup-epochs", "4")
    assert "memory limit" in refusal("--memory", "4GB", "--engine", "local")
    assert "given twice" in refusal("--epochs", "4", "--set", "epochs=5")
    assert "given twice" in refusal("--set", "epochs=4", "--set", "epochs=5")


def test_files_that_are_no_configuration_are_refused_by_name(tmp_path):
    assert str(tmp_path / "no.toml") in refusal("--config", "no.toml", cwd=tmp_path)
    (tmp_path / "bad.toml").write_text("epochs = = 3")
    assert "not TOML" in refusal("--config", "bad.toml", cwd=tmp_path)
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    assert "not TOML" in refusal("--config", "bad.toml", cwd=tmp_path)
    (tmp_path / "tables.toml").write_text("[defaults]\nepochs = 3\n")
    assert "above any table" in refusal("--config", "tables.toml", cwd=tmp_path)
    with pytest.raises(ConfigError, match="unknown workload"):
        build_config("resnet", BUILTIN, cwd=CWD)
    for wrong in ({"imagenet": {}}, {"imseg": 3}, 3):
        with pytest.raises(ConfigError):
            build_config("imseg", with_tables(presets=wrong), cwd=CWD)
    with pytest.raises(ConfigError, match="unknown key 'preset'"):
        build_config("imseg", with_tables(preset={}), cwd=CWD)


def test_every_option_is_a_flag_and_every_flag_an_option():
    parser = argparse.ArgumentParser(add_help=False)
    add_flags(parser)
    flags = {action.dest for action in parser._actions} - {"preset", "config", "set"}
    assert flags == option_types().keys()
    assert all(value is None for value in vars(parser.parse_args([])).values())


# Profiles: figures from the published models, written out as arithmetic.


def profile(name: str) -> Profile:
    return build_config("imseg", BUILTIN, flags=[named(name)], cwd=CWD).device


def named(name: str) -> Layer:
    return Layer(place="--{flag}", values={"profile": name}, is_text=True)


@pytest.mark.parametrize(("accelerators", "batch"), [(8, 4), (1, 2), (8, 2), (4, 3)])
def test_v100_is_the_published_linear_model(accelerators, batch):
    declared = step_time(profile("v100"), accelerators, batch)
    mean_s = 0.00211888 * accelerators + 0.27448834 * batch + 0.27738914
    sd_s = 0.00429292 * accelerators + 0.00705136 * batch - 0.0241122
    assert declared.mean_s == pytest.approx(mean_s, rel=1e-12)
    assert declared.sd_s == pytest.approx(max(0.0, sd_s), abs=1e-15)
    assert profile("v100").evaluation_case_s == 8.9027


def test_deviation_is_never_negative():
    assert 0.00429292 + 0.00705136 * 2 - 0.0241122 < 0
    assert step_time(profile("v100"), 1, 2).sd_s == 0


@pytest.mark.parametrize(("name", "mean_s"), [("a100", 0.636), ("h100", 0.323)])
def test_points_hold_for_any_number_of_accelerators_at_their_batch(name, mean_s):
    for accelerators in (1, 8, 1000):
        declared = step_time(profile(name), accelerators, 7)
        assert (declared.mean_s, declared.sd_s) == (mean_s, 0.0)
    assert profile(name).evaluation_case_s is None
    assert "spread is unknown" in config_notices(run("--profile", name))[0]
    doubled = step_time(profile(name), 8, 14, extrapolate=True)
    assert doubled.mean_s == pytest.approx(2 * mean_s)


def test_ci_says_that_it_describes_no_accelerator():
    config = run("--profile", "ci", "--batch-size", "64", "--accelerators", "1024")
    assert (config.step_time.mean_s, config.step_time.sd_s) == (0.1, 0.005)
    assert config.device.evaluation_case_s == 0.01
    assert any("describes no accelerator" in notice for notice in config_notices(config))


@given(accelerators=st.integers(1, 40), batch=st.integers(1, 12))
def test_outside_the_measured_range_has_to_be_asked_for_and_is_recorded(accelerators, batch):
    argv = ("--accelerators", str(accelerators), "--batch-size", str(batch))
    asked = run(*argv, "--extrapolate")
    inside = 1 <= accelerators <= 8 and 2 <= batch <= 4
    assert asked.extrapolated is not inside
    assert covers(asked.device, accelerators, batch) is inside
    assert bool(config_notices(asked)) is not inside
    if inside:
        assert run(*argv).step_time == asked.step_time
        return
    message = refusal(*argv)
    assert "1 to 8 accelerators with batch size 2 to 4" in message
    assert "--extrapolate" in message


def test_own_profiles_come_with_the_user_file(tmp_path):
    own = document(
        'profile = "mine"\naccelerators = 3\n[profiles.imseg.mine]\ndevice = "X"\nunit = "s"\n'
        'source = "measured"\nreference_batch = 2\nbatch_size = [1, 4]\nmean_s = 0.5\nsd_s = 0.1\n',
        tmp_path,
    )
    config = build_config("imseg", BUILTIN, user=own, cwd=CWD)
    assert (config.profile, config.device.name, config.batch_size) == ("mine", "mine", 2)
    assert (config.step_time.mean_s, config.step_time.sd_s) == (0.5, 0.1)


def test_every_fault_of_a_profile_is_found(tmp_path):
    own = document(
        '[profiles.imseg.mine]\ndevice = ""\nunit = "ms"\nreference_batch = 0\nspeed = 1\n'
        "batch_size = [4, 1]\nmean_s = {a = 1}\ndate = 2024-09-01\n",
        tmp_path,
    )
    with pytest.raises(ConfigError) as caught:
        build_config("imseg", BUILTIN, user=own, cwd=CWD)
    message = str(caught.value)
    assert message.startswith("8 problems")
    for fault in ("device is ''", "unit is 'ms'", "reference_batch is 0", "unknown key 'speed'"):
        assert fault in message
    for fault in ("batch_size is [4, 1]", "mean_s is {'a': 1}", "date is", "lacks source"):
        assert fault in message
    assert "[profiles.imseg.mine]" in message


def test_a_step_that_takes_no_time_is_refused():
    linear = {"constant": 0.1, "per_sample": -0.1}
    mine = {**BUILTIN.tables["profiles"]["imseg"]["ci"], "mean_s": linear}
    own = Document(name="own.toml", tables={"profile": "m", "profiles": {"imseg": {"m": mine}}})
    with pytest.raises(ConfigError, match="declares a step of 0 s"):
        build_config("imseg", BUILTIN, user=own, cwd=CWD)
    assert "did you mean v100" in refusal("--profile", "v1000")


def test_what_computes_has_no_profile_and_the_batch_that_the_workload_has():
    config = run("--accelerator", "tensorflow")
    assert (config.profile, config.device, config.step_time) == (None, None, None)
    assert (config.batch_size, config.extrapolated) == (4, False)
    assert config_json(config)["profile"] is None
    # No profile's range binds it.
    assert run("--accelerator", "tensorflow", "--batch-size", "1000").batch_size == 1000
    assert run("--accelerator", "emulated") == run()


def test_what_only_an_emulation_has_is_refused_of_what_computes(tmp_path):
    message = refusal("--accelerator", "tensorflow", "--profile", "ci")
    assert "profile is of emulated accelerators: --profile" in message
    assert "extrapolate is of" in refusal("--accelerator", "tensorflow", "--extrapolate")
    own = document('accelerator = "tensorflow"\nprofile = "ci"\n', tmp_path)
    with pytest.raises(ConfigError, match=r"own\.toml profile"):
        build_config("imseg", BUILTIN, user=own, cwd=CWD)
    assert "emulated accelerators have a profile" in refusal("--profile", "none")


def test_gpus_are_of_what_computes():
    assert run("--accelerator", "tensorflow", "--gpus").gpus
    assert "emulated accelerators need no GPU: --gpus" in refusal("--gpus")
    assert "one of emulated, tensorflow" in refusal("--accelerator", "torch")


def test_what_computes_on_the_processor_is_said_to_be_no_accelerator():
    on_processor = " ".join(config_notices(run("--accelerator", "tensorflow")))
    assert "no device's figure" in on_processor
    assert "this machine's processor" in on_processor
    assert "Evaluation is read, and not computed" in on_processor
    on_gpus = config_notices(run("--accelerator", "tensorflow", "--gpus", "--eval-from", "0"))
    assert len(on_gpus) == 1
    assert "no device's figure" in on_gpus[0]
