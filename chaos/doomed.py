"""A process of the service, which may be told to kill itself at a point.

It is forked from a process that has imported everything: a start takes half a second instead of three.
"""

import os
import sys

from app.cli import cli
from chaos.crashes import arm, find_point


def run(command: str, environment: dict[str, str], log: str, crash_at: str, hits: int) -> None:
    """`python -m app COMMAND` with these settings; dies at the point `crash_at`, if there is one, when it comes
    there for the `hits`-th time.
    """
    os.setsid()  # Ctrl-C is for whoever started us, who then ends us in order
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.environ.update(environment)
    if crash_at:
        arm(find_point(crash_at), hits)
    sys.argv = ["app", command]
    cli([command])
