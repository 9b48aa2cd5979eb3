"""`python -m settings`: check the settings, and print the notes on them."""

from . import load_settings

for note in load_settings().notes:
    print("note:", note)  # noqa: T201
