"""Taking a guard out of the code: a function runs with one piece of its source replaced."""

import ast
import asyncio
import inspect
import pkgutil
import sys
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_origin

import pytest

from app.gateways.dealer import LUA
from app.gateways.dealer import dealer as scripts
from app.gateways.dealer.dealer import Script
from tests.guards.world import World

Probe = Callable[[World], Awaitable[None]]
PATIENCE_SECONDS = 120
NOTICES = (Exception, pytest.fail.Exception)
"""Whatever goes wrong while a guard is out, it was noticed."""
SLIPS = (NameError, SyntaxError, TimeoutError)
"""But these: then the cut itself is wrong, or the machine too slow to tell."""


@dataclass(frozen=True, slots=True)
class Cut:
    """`text` in the canonical source of `function` becomes `instead`: mostly a condition that no longer holds.

    `function` may also be an annotation, whose part that reads as `text` is out; or a script of the dealer.
    `down` are other guards that stand before this one. They are out in both runs, with and without it: a second
    line of defence shows only when the first has fallen.
    """

    function: str
    text: str
    instead: str = "False"
    down: tuple["Cut", ...] = ()

    def __str__(self) -> str:
        return f"{self.function.removeprefix('app.')}: {self.text}"


def cuts(function: str, *texts: str, down: tuple[Cut, ...] = ()) -> tuple[Cut, ...]:
    """Conditions of one function that no longer hold."""
    return tuple(Cut(function, text, text.replace(text.removeprefix("if "), "False"), down) for text in texts)


GUARDS: dict[tuple[str, str], list[tuple[Cut, Probe]]] = {}
"""Every guard of the code, by its function and its text, and the probes that notice when it is out."""


def notices(*cuts: Cut) -> Callable[[Probe], Probe]:
    """Register a probe: a check that passes, and fails when any of these guards is taken out."""

    def register(probe: Probe) -> Probe:
        for cut in cuts:
            GUARDS.setdefault((cut.function, cut.text), []).append((cut, probe))
        return probe

    return register


def find(dotted: str) -> Any:
    """What has this name: a function below its decorators, or an annotation. Raises `AttributeError`."""
    found = pkgutil.resolve_name(dotted)
    return found if get_origin(found) is Annotated else inspect.unwrap(found)


def canonical(function: Any) -> str:
    """The source of a function without decorators, comments and line breaks of its own, as `ast` writes it."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    definition.decorator_list.clear()
    return ast.unparse(definition)


def take_out(patch: pytest.MonkeyPatch, cuts: Sequence[Cut]) -> None:
    """Have functions run without these guards until the patch is undone.

    A function stays the object it is and gets another code: wherever it was imported, it is without its guard.
    Raises `AssertionError` when a text is not there exactly once.
    """
    for name in dict.fromkeys(cut.function for cut in cuts):
        texts = [cut for cut in cuts if cut.function == name]
        if name.endswith(".lua"):
            script = Script(name.removesuffix(".lua"))
            script.text = _replaced((LUA / name).read_text(), texts)
            script.sha = "0" * 40  # nobody knows it, and so the text is sent
            patch.setattr(scripts, name.removesuffix(".lua").upper(), script)
        elif get_origin(found := find(name)) is Annotated:
            (info,) = found.__metadata__
            (cut,) = texts
            rest = [part for part in info.metadata if str(part) != cut.text]
            assert len(rest) < len(info.metadata), f"{cut}: not there"
            patch.setattr(info, "metadata", rest)
        else:
            scope = dict(vars(sys.modules[found.__module__]))
            code = compile(_replaced(canonical(found), texts), f"<{name} without its guard>", "exec")
            exec(code, scope)  # noqa: S102 - it is our own code
            patch.setattr(found, "__code__", scope[found.__name__].__code__)


def _replaced(source: str, cuts: Sequence[Cut]) -> str:
    for cut in cuts:
        assert source.count(cut.text) == 1, f"{cut}: there {source.count(cut.text)} times"
        source = source.replace(cut.text, cut.instead)
    return source


async def run(world: World, probe: Probe, *out: Cut) -> BaseException | None:
    """Run a probe without these guards; returns what it noticed. Raises `SLIPS`."""
    world.service.clock.offset_seconds = 0
    world.members.rotate(3)
    with pytest.MonkeyPatch.context() as patch:
        take_out(patch, out)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await probe(world)
        except SLIPS:
            raise
        except NOTICES as error:
            return error
    return None
