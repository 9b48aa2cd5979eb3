"""`python -m settings`: check the settings, and print the notes that go with them."""

from . import load

for note in load().notes:
    print("note:", note)  # noqa: T201
