import gc

gc.disable()  # all that is imported stays; looking through it for garbage takes a fifth of the start

from app.cli import cli  # noqa: E402

gc.freeze()
gc.enable()
cli()
