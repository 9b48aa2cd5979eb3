"""Whatever comes, a hook answers: JSON or nothing, never a 5xx."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.security import generate_password_hash

from hooks import password_import, token
from tests.hook_app import CALLS, hook_client

client = hook_client()

# Half pairs, NaN and infinity included: json.dumps writes what JSON readers must expect.
text = st.text(st.characters(exclude_categories=()))
leaves = st.none() | st.booleans() | st.integers() | st.floats() | text
anything = st.recursive(
    leaves, lambda children: st.lists(children) | st.dictionaries(text, children), max_leaves=10
)


@pytest.fixture(scope="module", autouse=True)
def patched():
    """A decoy that is quick to check, and the access token asked for as well."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        decoy = generate_password_hash("decoy", "pbkdf2:sha256:1")
        monkeypatch.setattr(password_import, "DECOY_HASH", decoy)
        monkeypatch.setattr(password_import, "password_hash_of", lambda login: None)
        monkeypatch.setattr(token, "ENRICHED_TOKENS", ("identity", "access"))
        yield


@st.composite
def damaged(draw, call):
    """A good call with something else, or nothing, in a few places."""
    body = copy.deepcopy(call)
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
        assert response.is_json
        body = json.loads(response.data)
        assert body.keys() <= {"commands", "error"}
        assert body.keys() == {"error"} or response.status_code == 200
    else:
        assert response.status_code == 204


@pytest.mark.parametrize("hook", CALLS)
class TestEveryHook:
    @given(data=st.data())
    @settings(deadline=None)
    def test_damaged_calls(self, hook, data):
        body = json.dumps(data.draw(damaged(CALLS[hook])))
        check(client.post(hook, data=body, content_type="application/json"), 200, 204, 400)

    @given(body=anything)
    @settings(deadline=None, max_examples=50)
    def test_any_json(self, hook, body):
        data = json.dumps(body)
        check(client.post(hook, data=data, content_type="application/json"), 200, 204, 400)

    @given(data=st.binary(), content_type=st.sampled_from(["application/json", "text/plain", ""]))
    @settings(deadline=None, max_examples=50)
    def test_any_bytes(self, hook, data, content_type):
        check(client.post(hook, data=data, content_type=content_type), 200, 204, 400, 415)
