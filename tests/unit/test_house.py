"""The arrows of the house: which package may import which, and the size of its rooms."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = {
    "__future__",
    "bisect",
    "collections",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "functools",
    "itertools",
    "math",
    "re",
    "statistics",
    "typing",
}
# Package or module -> what it may import beside the standard library.
MAY_IMPORT = {
    "dsgen": {"dsgen", "google_crc32c", "isal", "numba", "numpy"},
    "harness/worker": {"dsgen", "harness.worker", "numpy", "tensorflow"},
    "harness/analysis": {
        "dsgen.errors",
        "dsgen.size",
        "harness.analysis",
        "harness.errors",
        "harness.worker.record",
        "msgspec",
        "numpy",
        "scipy.special",
    },
    "harness/similarity": {
        "harness.analysis.memory",
        "harness.analysis.part",
        "harness.analysis.recording",
        "harness.errors",
        "harness.similarity",
        "harness.worker.record",
        "numpy",
        "scipy",
    },
}


def sources(place):
    path = ROOT / place
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if is_module(inner) else node.module


def is_module(name):
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def allowed(module, names):
    return any(module == name or module.startswith(f"{name}.") for name in names)


@pytest.mark.parametrize("place", MAY_IMPORT)
def test_imports_go_one_way(place):
    for path in sources(place):
        for module in imports(path):
            standard = module.split(".")[0] in sys.stdlib_module_names
            assert standard or allowed(module, MAY_IMPORT[place]), f"{path} imports {module}"


# The rooms of the worker, each with those before it that it may import.
WORKER_ROOMS = {
    "host": set(),
    "recording": {"host"},
    "loading": {"recording"},
    "workloads": {"loading", "recording"},
    "accelerators": {"host", "loading"},
    "ranks": {"accelerators", "host", "loading", "recording"},
}


def test_no_modules_import_one_another_in_a_circle():
    graph = {}
    for path in [*sources("dsgen"), *sources("harness")]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = {module for module in imports(path) if is_module(module)} - {name}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_every_room_of_the_worker_is_told():
    rooms = {path.parent.name for path in (ROOT / "harness/worker").glob("*/__init__.py")}
    assert rooms == set(WORKER_ROOMS)


@pytest.mark.parametrize("room", WORKER_ROOMS)
def test_rooms_of_the_worker_import_one_way(room):
    for path in sources(f"harness/worker/{room}"):
        ours = [module for module in imports(path) if module.startswith("harness.worker.")]
        met = {module.split(".")[2] for module in ours}
        assert met & set(WORKER_ROOMS) <= {room, *WORKER_ROOMS[room]}, path


@pytest.mark.parametrize(
    "place",
    [
        *("dsgen/choices.py", "dsgen/layout.py", "dsgen/seed.py", "dsgen/size.py"),
        "harness/analysis",
        "harness/similarity",
    ],
)
def test_pure_rooms_touch_no_file_clock_network_or_engine(place):
    for path in sources(place):
        for module in imports(path):
            top = module.split(".")[0]
            assert top not in sys.stdlib_module_names or top in PURE, f"{path} imports {module}"


def test_models_alone_import_tensorflow_at_once():
    for path in sources("harness"):
        if path.parent.name == "models":
            continue
        body = ast.parse(path.read_text()).body
        at_once = [node for node in body if isinstance(node, ast.Import)]
        assert "tensorflow" not in {name.name for node in at_once for name in node.names}, path
        if path.name != "computing.py":
            assert "tensorflow" not in set(imports(path)), path


def test_only_the_engine_imports_docker():
    for path in sources("harness"):
        if path.parent.name != "engine":
            assert "docker" not in {module.split(".")[0] for module in imports(path)}, path


def test_the_noxfile_and_the_registries_name_the_same_workloads():
    from dsgen.workloads import WORKLOADS
    from harness.worker.workloads import READINGS

    assert set(in_noxfile("WORKLOADS")) == set(WORKLOADS)
    assert set(in_noxfile("WORKLOADS")) == set(READINGS)


def in_noxfile(name):
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    return next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )


@pytest.mark.parametrize("place", ["dsgen", "harness"])
def test_no_module_is_longer_than_400_lines(place):
    for path in sources(place):
        assert len(path.read_text().splitlines()) <= 400, path
