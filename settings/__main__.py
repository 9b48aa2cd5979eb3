"""`python -m settings`: check the settings, and print the notes on them."""

import io
import sys

from . import load_settings

# A note has characters that not every terminal can show.
if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors="backslashreplace")
for note in load_settings().notes:
    print("note:", note)  # noqa: T201
