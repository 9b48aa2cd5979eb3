"""Whether the hooks answer their samples as local_okta/samples/__init__.py expects.

`python -m tests.support.samples` prints a line for each that is answered in another way.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from app import create_app
from local_okta.client import Answer
from local_okta.judge import judge
from local_okta.samples import PLACE, SAMPLES
from settings import load_settings
from tests.support.gunicorn import BASIC_PAIR, basic_settings


def unexpected_answers() -> Iterator[str]:
    """A sentence for each sample of an inline hook that gets another answer.

    Most tests send a sample. They would all fail if its user is no longer known, for example.
    """
    own = basic_settings(LOG_LEVEL="ERROR")
    client = create_app(load_settings(own, Path(os.devnull), used_by="flask run")).test_client()
    for sample in SAMPLES.values():
        if sample.kind != "event":
            payload = sample.payload
            response = client.post(sample.path, json=payload, auth=BASIC_PAIR)
            verdict = judge(sample.kind, payload, Answer(response.status_code, body=response.data))
            if not sample.is_as_expected(verdict):
                yield (
                    f"{PLACE}/{sample.name}.json is sent to {sample.path}: {verdict.sentence}. "
                    f"Expected: Okta {sample.expected or 'can use the answer'}"
                )


if __name__ == "__main__":
    sys.stdout.writelines(f"{sentence}\n" for sentence in unexpected_answers())
