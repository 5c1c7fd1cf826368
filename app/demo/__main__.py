"""`python -m app.demo`: many members buy together at a running service, or one scene is played, and is checked."""

import asyncio
import sys
from typing import Annotated

import typer

from app.demo.scene import play
from app.demo.scenes import SCENES
from app.demo.scenes.scene import run
from app.domain.keys import SAMPLE_KEY


def main(
    url: Annotated[str, typer.Option(help="A running service")] = "http://127.0.0.1:8000",
    key: Annotated[str, typer.Option(envvar="KEY", help="Operator key; default: the sample data's")] = SAMPLE_KEY,
    members: Annotated[int, typer.Option(min=8, max=2000, help="How many members buy together")] = 200,
    scene: Annotated[str, typer.Option(help="`group`, or one way to sell: ladder, flash, …")] = "group",
) -> None:
    """Have many members buy together at a running service, or play one scene; check its promises afterwards."""
    if scene == "group":
        sys.exit(asyncio.run(play(url, key, members)))
    if scene not in SCENES:
        typer.echo(f"SCENE: there is none of the name {scene}; there are group, {', '.join(SCENES)}", err=True)
        sys.exit(2)
    sys.exit(asyncio.run(run(url, key, scene, SCENES[scene])))


if __name__ == "__main__":
    typer.run(main)
