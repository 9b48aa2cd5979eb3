"""Whatever comes, a hook answers: JSON or nothing, never a 5xx."""

import copy
import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_okta.samples import SAMPLES
from tests.hook_app import hook_client

client = hook_client()

# Half pairs, NaN and infinity included: json.dumps writes what JSON readers must expect.
text = st.text(st.characters(exclude_categories=()))
leaves = st.none() | st.booleans() | st.integers() | st.floats() | text
anything = st.recursive(
    leaves, lambda children: st.lists(children) | st.dictionaries(text, children), max_leaves=10
)


@pytest.fixture(scope="module", autouse=True)
def quick_password_hashes():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *args: b"quick")
        yield


@st.composite
def damaged(draw, payload):
    """A payload with something else, or nothing, in a few places."""
    body = copy.deepcopy(payload)
    for _ in range(draw(st.integers(1, 3))):
        place = body
        while True:
            name = draw(st.sampled_from(_names(place)))
            if not _names(place[name]) or draw(st.booleans()):
                break
            place = place[name]
        if draw(st.booleans()):
            place[name] = draw(anything)
        else:
            del place[name]
        if not body:
            break
    return body


def _names(value):
    if isinstance(value, dict):
        return list(value)
    return list(range(len(value))) if isinstance(value, list) else []


def check(response, *statuses):
    assert response.status_code in statuses
    if response.data:
        body = json.loads(response.data)
        assert body.keys() <= {"commands", "error"}
        assert body.keys() == {"error"} or response.status_code == 200
    else:
        assert response.status_code == 204


PATHS = {sample.path: sample for sample in SAMPLES.values()}


@pytest.mark.parametrize("sample", PATHS.values(), ids=PATHS)
@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_a_damaged_request_is_answered(sample, data):
    body = json.dumps(data.draw(damaged(sample.payload)))
    check(client.post(sample.path, data=body, content_type="application/json"), 200, 204, 400)


# What holds no field of a hook, all hooks refuse by the same code.
@given(body=anything.map(json.dumps) | st.binary(), path=st.sampled_from([*PATHS]))
@settings(deadline=None, max_examples=100)
def test_whatever_comes_is_answered(body, path):
    check(client.post(path, data=body, content_type="application/json"), 200, 204, 400)
