"""Chromium on this machine."""

import os
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The one that CHROMIUM names, or one on the PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def arguments() -> list[str]:
    """What it needs besides: root has no sandbox to run it in."""
    return ["--no-sandbox"] if os.geteuid() == 0 else []


if __name__ == "__main__":
    sys.exit(find_chromium() is None)
