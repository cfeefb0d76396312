from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest
from sources import ROOT, sources

pytestmark = pytest.mark.xdist_group("sources")

HEAVY = ["aiohttp", "jinja2", "lancedb", "llama_index", "openai", "pandas", "pyarrow", "pydantic", "pymupdf", "rich"]

# What stands lower is imported by what stands higher, never the other way.
CORE = [
    {"requests"},
    {"errors"},
    {"records", "files", "signals", "events"},
    {"shards", "calls", "retries", "limits"},
    {"datasets"},
    {"job"},
    {"shard_run"},
    {"runner"},
]


def modules(package: str) -> dict[str, ast.Module]:
    """The modules of a package by their dotted name."""
    return {source.name: source.tree for source in sources(package)}


def imports(tree: ast.AST, *, when_loaded: bool) -> set[str]:
    """What a module imports; with `when_loaded` only what is imported with it, not in its functions or for types."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif (when_loaded and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))) or (
            when_loaded and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        ):
            continue
        else:
            found |= imports(node, when_loaded=when_loaded)
    return found


def test_the_engine_knows_nothing_of_the_jobs() -> None:
    """No module of the engine imports one of the jobs, in a function neither."""
    used = {name: imports(tree, when_loaded=False) for name, tree in modules("engine").items()}
    outside = {"jobs", "benchmarks", "tests"}
    assert not [name for name, others in used.items() if any(other.split(".")[0] in outside for other in others)]


def test_imports_go_one_way() -> None:
    """No two modules of the engine import each other, directly or not, and the core stands in its order."""
    engine = modules("engine")
    graph = {
        name: {other for other in imports(tree, when_loaded=True) if other in engine and other != name}
        for name, tree in engine.items()
    }
    list(TopologicalSorter(graph).static_order())
    height = {f"engine.{name}": level for level, names in enumerate(CORE) for name in names}
    for name, level in height.items():
        upward = [other for other in graph[name] if height.get(other, -1) >= level]
        assert not upward, f"{name} imports {upward}"


@pytest.mark.processes
def test_the_engine_is_light() -> None:
    """Importing every module of the engine loads nothing heavy."""
    code = f"import {', '.join(modules('engine'))}, sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_public_names() -> None:
    """Every public module opens with a sentence and lists its public names, sorted, each of which it has."""
    for name, tree in (modules("engine") | modules("jobs")).items():
        if len(tree.body) <= 2 or "__main__" in name:
            continue  # of only a docstring, as the packages of jobs have in front
        assert ast.get_docstring(tree), f"{name} says what it is for"
        listed = _listed(tree)
        assert listed is not None, f"{name} has __all__"
        assert listed == sorted(listed, key=_constants_classes_others), name
        assert len(listed) == len(set(listed)), name
        assert set(listed) <= _defined(tree), name


def _listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "__all__" for to in node.targets):
            return list(ast.literal_eval(node.value))
    return None


def _constants_classes_others(name: str) -> tuple[bool, bool, str]:
    return not name.isupper(), not name[0].isupper(), name


def _defined(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    lazy = any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)
    for node in tree.body:
        match node:
            case ast.If(body=body) if lazy:  # what is imported for types here is imported at its first use
                names |= _defined(ast.Module(body=body, type_ignores=[]))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Assign():
                names |= {to.id for target in node.targets for to in ast.walk(target) if isinstance(to, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Import() | ast.ImportFrom():
                names |= {alias.asname or alias.name for alias in node.names}
    return names


# The rooms of jobs, from the lowest: each imports only what stands in a line above its own.
ROOMS = [
    {"paper_records"},
    {"records"},
    {"config"},
    {"registry"},
    {"run"},
    {"review"},
    {"models"},
    {"parsing"},
    {"generation", "retrieval"},
    {"curation"},
    {"tuning", "evaluation"},
    {"report"},
    {"serve"},
    {"pipeline"},
    {"trials"},
    {"work"},
    {"opening"},
    {"cluster"},
    {"session"},
    {"api"},
    {"bench", "simulator"},
    {"cli"},
]


def test_rooms_import_one_way() -> None:
    """No package of jobs imports one that stands beside or above it, in a function neither; for types alone it may."""
    height = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
    upward = []
    for name, tree in modules("jobs").items():
        room = name.partition(".")[2].partition(".")[0]
        if room in ("", "__main__"):
            continue
        used = {other.split(".")[1] for other in _used(tree) if other.startswith("jobs.")} & height.keys() - {room}
        upward += [f"{name} imports jobs.{other}" for other in used if height[other] >= height[room]]
    assert not upward


def _used(tree: ast.AST) -> set[str]:
    """All that a module imports, but for types alone."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= imports(ast.Module(body=[node], type_ignores=[]), when_loaded=False)
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            found |= _used(node)
    return found


def test_every_room_says_what_it_is_for() -> None:
    """Each package of jobs has a place in the order, and opens with what comes in, what goes out and what it may import."""
    rooms = {name.partition(".")[2]: tree for name, tree in modules("jobs").items() if name.count(".") == 1}
    packages = {name: tree for name, tree in rooms.items() if (ROOT / "jobs" / name).is_dir()}
    assert packages.keys() <= {room for level in ROOMS for room in level}
    for name, tree in packages.items():
        said = ast.get_docstring(tree) or ""
        assert name == "simulator" or ("In:" in said and "Out:" in said and "May import" in said), name
