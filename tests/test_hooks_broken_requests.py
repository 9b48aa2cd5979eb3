"""Whatever a hook gets instead of what it expects, it answers with JSON or nothing, never a 5xx."""

import copy
import hashlib
import json

import pytest

from local_okta.samples import SAMPLES

# json.dumps writes half of a surrogate pair and infinity, as some senders do.
ODD = (None, True, -1, float("inf"), "", "\ud800", [], {})
# All paths of event hooks have the same view.
BY_PATH = {each.path if each.kind != "event" else "events": each for each in SAMPLES.values()}


@pytest.fixture(scope="module", autouse=True)
def quick_password_hashes():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *args: b"quick")
        yield


def containers(value):
    """All objects and lists within a JSON value, itself included."""
    if isinstance(value, dict | list):
        yield value
        for child in value.values() if isinstance(value, dict) else value:
            yield from containers(child)


def broken(payload):
    """The payload as JSON, with each of its values in turn left out or replaced by an odd one."""
    payload = copy.deepcopy(payload)
    for container in list(containers(payload)):
        for name in list(container) if isinstance(container, dict) else range(len(container)):
            kept = container[name]
            for odd in ODD:
                container[name] = odd
                yield json.dumps(payload)
            del container[name]
            yield json.dumps(payload)
            if isinstance(container, list):
                container.insert(name, kept)
            else:
                container[name] = kept


@pytest.mark.parametrize("sample", BY_PATH.values(), ids=BY_PATH)
def test_a_request_that_is_broken_in_one_place_is_answered(client, sample):
    for body in broken(sample.payload):
        response = client.post(sample.path, data=body, content_type="application/json")
        if response.status_code == 204:
            assert response.data == b"", body
        else:
            expected = {200: {"commands", "error"}, 400: {"error"}}[response.status_code]
            assert response.json.keys() <= expected, body
