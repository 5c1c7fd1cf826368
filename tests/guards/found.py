"""The guards there are in the code, found in its source: so that a new one cannot go without a probe."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

APP = Path(__file__).parents[2] / "app"
SEARCHED = [
    *("deps.py", "domain/*.py", "gateways/signatures.py"),
    *("gateways/chat/*.py", "gateways/logins/*.py", "gateways/payments/*.py"),
    "routers/sandbox.py",
    "services/*.py",
]
"""Where decisions are made."""
ONLY_SHOW = {"feed.py", "live.py", "views.py", "watching.py"}
"""Services that show what there is, and decide nothing."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Found:
    """A guard: a condition that refuses or stops, a comparison that an update is bound to, a step in a state
    machine, a lock.
    """

    function: str
    text: str


def find_guards() -> Iterator[Found]:
    """Every guard in the code that is searched."""
    for pattern in SEARCHED:
        for path in sorted(APP.glob(pattern)):
            if path.name in ONLY_SHOW:
                continue
            module = ".".join(("app", *path.relative_to(APP).with_suffix("").parts))
            yield from _search(ast.parse(path.read_text()), module)


def _search(node: ast.AST, name: str) -> Iterator[Found]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | Function):
            yield from _search(child, f"{name}.{child.name}")
            continue
        if isinstance(node, ast.Module):
            continue  # statements made once; tests/races/test_batches.py proves the locks that batches take
        yield from (Found(name, ast.unparse(text)) for text in _guards(child))
        yield from _search(child, name)
    if isinstance(node, Function) and node.name.startswith("lock_"):
        yield Found(name, "")


def _guards(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.If(test=test, body=[*_, last]) if _stops(last):
            yield from (part for part in _alternatives(test) if not _is_missing(part))
        case ast.Call(func=ast.Attribute(value=inner, attr="where"), args=conditions) if _updates(inner):
            yield from (condition for condition in conditions if not _is_identity(condition))
        case ast.Call(func=ast.Attribute(attr="advance" | "with_for_update")):
            yield node


def _stops(last: ast.stmt) -> bool:
    """Whether a branch ends in a refusal or in nothing."""
    if isinstance(last, ast.Raise):
        return not (isinstance(last.exc, ast.Call) and ast.unparse(last.exc.func) == "AssertionError")
    return isinstance(last, ast.Return) and (last.value is None or ast.unparse(last.value) in {"None", "False"})


def _alternatives(test: ast.expr) -> Iterator[ast.expr]:
    """The parts of `a or b`, each of which is a guard."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        for value in test.values:
            yield from _alternatives(value)
    else:
        yield test


def _is_missing(part: ast.expr) -> bool:
    """`name is None`: there is nothing to go on with, and whoever does without asking fails at once."""
    return (
        isinstance(part, ast.Compare)
        and isinstance(part.left, ast.Name)
        and isinstance(part.ops[0], ast.Is)
        and ast.unparse(part.comparators[0]) == "None"
    )


def _updates(call: ast.expr) -> bool:
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in {"update", "delete"}


def _is_identity(condition: ast.expr) -> bool:
    """`model.id == …` or `model.order_id == …`: which row it is about; of a place all of its key."""
    if ast.unparse(condition).startswith(("col(Seat.", "col(Purchase.")):
        return True
    return (
        isinstance(condition, ast.Compare)
        and isinstance(condition.ops[0], ast.Eq)
        and ast.unparse(condition.left).removesuffix(")").endswith((".id", ".order_id"))
    )
