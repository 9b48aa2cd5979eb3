"""The local Okta's management API behaves as real orgs do, even where that is not documented."""

import pytest
import requests
from flask import Flask, request

from local_okta import client
from local_okta.authorization_server import LocalOkta
from local_okta.management import API, TELEPHONY
from tests.support.gunicorn import serving

PUBLIC = {"consent": "IMPLICIT", "metadataPublish": "ALL_CLIENTS"}
SECRET = "Basic c2VjcmV0OnNlY3JldA=="
TOKEN_HOOK = "com.okta.oauth2.tokens.transform"


@pytest.fixture(scope="module")
def server():
    with LocalOkta() as server:
        yield server


@pytest.fixture
def okta(server, monkeypatch):
    monkeypatch.setattr(client, "SECONDS", 60.0)
    server.management.state.__init__(server)
    return server


@pytest.fixture
def call(okta):
    """Sends a request, and gives status and body."""
    base = okta.issuer.removesuffix("/oauth2/default")

    def call(method: str, path: str, body=None, token: str | None = "SSWS 00a"):
        headers = {"Authorization": token} if token else {}
        url = f"{base}{path if path.startswith('/.') else API + path}"
        answer = requests.request(method, url, json=body, headers=headers, timeout=30)
        return answer.status_code, answer.json() if answer.content else None

    return call


def hook(uri="https://hooks.example.com/tokenHook", **fields) -> dict:
    scheme = {"type": "HEADER", "key": "Authorization", "value": SECRET}
    config = {"uri": uri, "method": "POST", "authScheme": scheme}
    channel = {"type": "HTTP", "version": "1.0.0", "config": config}
    return {"name": "a", "type": TOKEN_HOOK, "version": "1.0.0", "channel": channel} | fields


def event_hook(**fields) -> dict:
    body = hook("https://hooks.example.com/userCreated") | {
        "events": {"type": "EVENT_TYPE", "items": ["user.lifecycle.create", "user.lifecycle.x"]}
    }
    return {name: body[name] for name in ("name", "events", "channel")} | fields


def app(method="client_secret_post", **client_fields) -> dict:
    return {
        "name": "oidc_client",
        "label": "an app",
        "signOnMode": "OPENID_CONNECT",
        "credentials": {"oauthClient": {"token_endpoint_auth_method": method}},
        "settings": {"oauthClient": {"grant_types": ["client_credentials"]} | client_fields},
    }


def made(call, path, body, status=200) -> dict:
    answered, item = call("POST", path, body)
    assert answered == status, item
    return item


def test_the_organization_is_public(call):
    status, body = call("GET", "/.well-known/okta-organization", token=None)
    assert status == 200
    assert body["_links"]["organization"]["href"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize("token", [None, "SSWS ", "Basic YTpi", "SSWS"])
def test_without_a_token_the_answer_is_oktas_error(call, token):
    status, body = call("GET", "/inlineHooks", token=token)
    assert (status, body["errorCode"]) == (401, "E0000011")
    assert body.keys() >= {"errorSummary", "errorLink", "errorId", "errorCauses"}


def test_an_access_token_is_accepted(call):
    assert call("GET", "/inlineHooks", token="Bearer eyJ")[0] == 200


SERVER = "/authorizationServers/default"
MADE = {
    "/inlineHooks": (hook(), 200),
    "/eventHooks": (event_hook(), 200),
    "/hook-keys": ({"name": "a"}, 200),
    "/apps?activate=true": (app(), 200),
    f"{SERVER}/scopes": ({"name": "a"} | PUBLIC, 201),
    f"{SERVER}/policies": ({"name": "a", "conditions": {}}, 201),
}


@pytest.mark.parametrize("path", MADE)
def test_what_was_created_can_be_read_and_listed(call, path):
    body, status = MADE[path]
    item = made(call, path, body, status)
    collection = path.partition("?")[0]
    assert call("GET", f"{collection}/{item['id']}")[1]["id"] == item["id"]
    assert item["id"] in [each["id"] for each in call("GET", collection)[1]]
    if collection != "/apps":
        assert call("POST", path, body)[0] == 400, "the name is taken"


@pytest.mark.parametrize("path", [*MADE, "/apps/x/credentials/secrets"])
def test_what_does_not_exist_is_a_404(call, path):
    one = path.partition("?")[0] + "/nothing"
    for method in ("GET", "DELETE", "PUT"):
        if not one.endswith("secrets/nothing"):
            status, body = call(method, one, {"name": "a"})
            assert (status, body["errorCode"]) == (404, "E0000007")
    assert call("GET", "/apps/x/credentials/secrets")[0] == 404
    assert call("GET", f"{SERVER}/policies/x/rules")[0] == 404


INCOMPLETE = [
    ("/inlineHooks", hook(version=None)),
    ("/inlineHooks", hook(name="")),
    ("/inlineHooks", hook(uri="http://hooks.example.com/tokenHook")),
    ("/eventHooks", event_hook(events={"type": "EVENT_TYPE", "items": []})),
    ("/hook-keys", {}),
    ("/apps", app() | {"label": None}),
    ("/apps", app("private_key_jwt")),
    (f"{SERVER}/scopes", {}),
]


@pytest.mark.parametrize(("path", "body"), INCOMPLETE)
def test_an_incomplete_body_is_refused(call, path, body):
    status, answer = call("POST", path, body)
    assert (status, answer["errorCode"]) == (400, "E0000001")
    assert answer["errorCauses"]


def test_a_body_that_is_not_an_object_is_refused(call):
    assert call("POST", "/hook-keys", [])[1]["errorCode"] == "E0000003"


def test_an_answer_has_no_secret_of_a_hook(call):
    item = made(call, "/inlineHooks", hook())
    assert SECRET not in str(item) + str(call("GET", "/inlineHooks"))
    assert item["channel"]["config"]["authScheme"] == {"type": "HEADER", "key": "Authorization"}
    config = {"uri": "https://a.example/", "clientSecret": "s3cret", "authType": "x"}
    channel = {"type": "OAUTH", "version": "1.0.0", "config": config}
    item = made(call, "/inlineHooks", hook(name="b", channel=channel))
    assert "s3cret" not in str(item)
    assert item["channel"]["config"]["authScheme"] is None


def test_a_hook_without_authentication_is_accepted_as_okta_does(call):
    body = hook()
    del body["channel"]["config"]["authScheme"]
    assert made(call, "/inlineHooks", body)["status"] == "ACTIVE"


def test_put_replaces_and_changes_neither_status_nor_type(call):
    body = hook()
    body["channel"]["config"]["headers"] = [{"key": "X", "value": "y"}]
    path = f"/inlineHooks/{made(call, '/inlineHooks', body)['id']}"
    _, item = call("PUT", path, hook(name="b", status="INACTIVE", type="com.okta.other"))
    assert (item["name"], item["status"], item["type"]) == ("b", "ACTIVE", TOKEN_HOOK)
    assert "headers" not in item["channel"]["config"]


def test_only_an_inactive_hook_can_be_deleted(call):
    for collection, body in (("/inlineHooks", hook()), ("/eventHooks", event_hook())):
        path = f"{collection}/{made(call, collection, body)['id']}"
        assert call("DELETE", path)[0] == 403
        assert call("POST", f"{path}/lifecycle/deactivate")[1]["status"] == "INACTIVE"
        assert call("POST", f"{path}/lifecycle/activate")[1]["status"] == "ACTIVE"
        call("POST", f"{path}/lifecycle/deactivate")
        assert call("DELETE", path) == (204, None)


def test_an_event_hook_is_unverified_after_each_put_and_accepts_a_status(call):
    item = made(call, "/eventHooks", event_hook())
    assert (item["status"], item["verificationStatus"]) == ("ACTIVE", "UNVERIFIED")
    assert item["events"]["filter"] is None
    assert item["events"]["items"] == event_hook()["events"]["items"][::-1]
    path = f"/eventHooks/{item['id']}"
    assert call("PUT", path, event_hook(status="INACTIVE"))[1]["status"] == "INACTIVE"


def test_a_new_hook_key_is_shown_with_its_public_half(call):
    item = made(call, "/hook-keys", {"name": "a"})
    public = item["_embedded"]
    assert (public["kid"], public["alg"], public["use"]) == (item["keyId"], "RSA", None)
    assert "d" not in public
    assert "_embedded" not in call("GET", "/hook-keys")[1][0]
    assert call("GET", f"/hook-keys/public/{item['keyId']}")[1] == public
    assert call("GET", "/hook-keys/public/other")[0] == 404


def test_a_hook_key_that_is_used_cannot_be_deleted(call):
    key = made(call, "/hook-keys", {"name": "a"})
    config = {"uri": "https://a.example/", "hookKeyId": key["id"]}
    channel = {"type": "OAUTH", "version": "1.0.0", "config": config}
    item = made(call, "/inlineHooks", hook(channel=channel))
    assert call("GET", f"/hook-keys/{key['id']}")[1]["isUsed"] is True
    assert call("DELETE", f"/hook-keys/{key['id']}")[0] == 400
    call("POST", f"/inlineHooks/{item['id']}/lifecycle/deactivate")
    call("DELETE", f"/inlineHooks/{item['id']}")
    assert call("DELETE", f"/hook-keys/{key['id']}")[0] == 204


def secret_in(answer: dict) -> str | None:
    return answer["credentials"]["oauthClient"].get("client_secret")


def test_only_post_and_put_answer_with_the_client_secret(call):
    item = made(call, "/apps", app())
    path, secret = f"/apps/{item['id']}", secret_in(item)
    assert len(secret) == 64
    assert item["credentials"]["oauthClient"]["client_id"] == item["id"]
    got = call("GET", path)[1]
    assert secret_in(got) is None
    got["credentials"]["oauthClient"]["client_secret"] = ""
    assert secret_in(call("PUT", path, got)[1]) == secret
    del got["credentials"]["oauthClient"]["client_secret"]
    assert secret_in(call("PUT", path, got)[1]) != secret


def test_another_authentication_creates_or_deletes_the_secret(call):
    item = made(call, "/apps", app())
    path, secret = f"/apps/{item['id']}", secret_in(item)
    basic = app("client_secret_basic")
    basic["credentials"]["oauthClient"]["client_secret"] = ""
    assert secret_in(call("PUT", path, basic)[1]) not in (secret, None)
    with_key = app("private_key_jwt", jwks={"keys": [{"kty": "RSA", "kid": "a"}]})
    assert secret_in(call("PUT", path, with_key)[1]) is None
    assert call("GET", f"{path}/credentials/secrets")[1] == []


def test_secrets_are_listed_in_clear_text_and_there_are_two_at_most(call):
    item = made(call, "/apps", app())
    path = f"/apps/{item['id']}/credentials/secrets"
    [first] = call("GET", path)[1]
    assert first["client_secret"] == secret_in(item)
    assert made(call, path, {}, 201)["client_secret"] != first["client_secret"]
    assert call("POST", path, {})[0] == 400


def test_an_active_app_cannot_be_deleted_and_its_lifecycle_answers_an_empty_object(call):
    path = f"/apps/{made(call, '/apps', app())['id']}"
    assert call("DELETE", path)[0] == 403
    assert call("POST", f"{path}/lifecycle/deactivate") == (200, {})
    assert call("DELETE", path)[0] == 204


def test_apps_are_found_by_the_beginning_of_their_label_page_by_page(call, okta, monkeypatch):
    for label in ("hooks 1", "hooks 2", "other", "hooks 3"):
        made(call, "/apps", app() | {"label": label})
    monkeypatch.setattr(okta.management, "page_size", 2)
    url = f"{okta.issuer.removesuffix('/oauth2/default')}{API}/apps?q=hooks&limit=200"
    labels = []
    while url:
        answer = requests.get(url, headers={"Authorization": "SSWS 00a"}, timeout=30)
        labels.append([each["label"] for each in answer.json()])
        url = answer.links.get("next", {}).get("url")
    assert labels == [["hooks 3", "hooks 2"], ["hooks 1"]]


def test_only_the_default_server_exists(call, okta):
    server = call("GET", SERVER)[1]
    assert (server["issuer"], server["audiences"]) == (okta.issuer, [okta.audience])
    assert call("GET", "/authorizationServers/other")[0] == 404


def test_scopes_can_be_public_and_system_scopes_cannot_be_deleted(call, okta):
    made(call, f"{SERVER}/scopes", {"name": "public"} | PUBLIC, 201)
    made(call, f"{SERVER}/scopes", {"name": "hidden"}, 201)
    assert okta.metadata()["scopes_supported"] == ["hooks", "public"]
    listed = {each["name"]: each for each in call("GET", f"{SERVER}/scopes")[1]}
    assert call("DELETE", f"{SERVER}/scopes/{listed['openid']['id']}")[0] == 403
    assert call("DELETE", f"{SERVER}/scopes/{listed['public']['id']}")[0] == 204


def rule(**fields) -> dict:
    conditions = {
        "grantTypes": {"include": ["client_credentials"]},
        "scopes": {"include": ["hooks"]},
    }
    return {"name": "a", "type": "RESOURCE_ACCESS", "conditions": conditions} | fields


def test_a_rule_comes_back_with_more_than_was_sent(call):
    policy = made(call, f"{SERVER}/policies", {"name": "a"}, 201)
    rules = f"{SERVER}/policies/{policy['id']}/rules"
    item = made(call, rules, rule(), 201)
    assert item["conditions"]["people"] == {"users": {"exclude": []}}
    uses = rule(actions={"token": {"inlineHook": {"id": "cal"}}})
    assert "actions" in call("PUT", f"{rules}/{item['id']}", uses)[1]
    assert "actions" not in call("PUT", f"{rules}/{item['id']}", rule())[1]
    assert call("POST", f"{rules}/{item['id']}/lifecycle/deactivate") == (204, None)
    assert call("DELETE", f"{rules}/{item['id']}")[0] == 204


@pytest.fixture
def with_policy(call):
    """An app that may get a token, with what lets it."""
    item = made(call, "/apps", app())
    include = {"clients": {"include": [item["id"]]}}
    policy = made(call, f"{SERVER}/policies", {"name": "a", "conditions": include}, 201)
    made(call, f"{SERVER}/policies/{policy['id']}/rules", rule(), 201)
    return item, policy


def token(okta, item, secret=None, scope="hooks"):
    form = {"grant_type": "client_credentials", "client_id": item["id"], "scope": scope}
    form["client_secret"] = secret or secret_in(item)
    answer = requests.post(okta.token_endpoint, data=form, timeout=30)
    return answer.status_code, answer.json().get("error")


def test_an_app_gets_a_token_with_its_client_id(okta, with_policy):
    assert token(okta, with_policy[0]) == (200, None)


def test_an_app_gets_no_token_that_no_policy_allows(okta, call, with_policy):
    item, policy = with_policy
    made(call, f"{SERVER}/scopes", {"name": "other"} | PUBLIC, 201)
    made(call, f"{SERVER}/scopes", {"name": "asks", "consent": "REQUIRED"}, 201)
    assert token(okta, item, "wrong")[1] == "invalid_client"
    assert token(okta, item, scope="nothing")[1] == "invalid_scope"
    assert token(okta, item, scope="asks")[1] == "invalid_scope"
    assert token(okta, item, scope="other")[1] == "access_denied"
    path = f"{SERVER}/policies/{policy['id']}"
    call("POST", f"{path}/lifecycle/deactivate")
    assert token(okta, item)[1] == "access_denied"
    call("POST", f"{path}/lifecycle/activate")
    assert token(okta, item)[0] == 200
    call("POST", f"/apps/{item['id']}/lifecycle/deactivate")
    assert token(okta, item)[1] == "invalid_client"


def test_a_rule_for_other_grants_or_clients_allows_nothing(okta, call, with_policy):
    item, policy = with_policy
    rules = f"{SERVER}/policies/{policy['id']}/rules"
    [found] = call("GET", rules)[1]
    found["conditions"]["grantTypes"]["include"] = ["password"]
    call("PUT", f"{rules}/{found['id']}", found)
    assert token(okta, item)[1] == "access_denied"
    found["conditions"]["grantTypes"]["include"] = ["client_credentials"]
    found["conditions"]["scopes"]["include"] = ["*"]
    call("PUT", f"{rules}/{found['id']}", found)
    assert token(okta, item)[0] == 200
    others = {"name": "a", "conditions": {"clients": {"include": ["0oaOther"]}}}
    call("PUT", f"{SERVER}/policies/{policy['id']}", others)
    assert token(okta, item)[1] == "access_denied"


def test_the_preset_client_needs_no_policy(okta):
    mine = {"id": okta.client_id}
    assert token(okta, mine, okta.client_secret)[0] == 200
    assert token(okta, mine, okta.client_secret, scope="openid")[1] == "invalid_scope"


@pytest.fixture
def service():
    """Answers with `service.answer`, and keeps what came."""
    app = Flask("service")
    app.answer, app.came = ({"commands": []}, 200), []

    @app.route("/<path:path>", methods=["GET", "POST"])
    def answer(path):
        app.came.append(
            (request.method, request.headers.get("Authorization"), request.get_json(silent=True))
        )
        challenge = request.headers.get("X-Okta-Verification-Challenge")
        return {"verification": challenge} if challenge and not app.answer[0] else app.answer

    with serving(app) as app.url:
        yield app


def test_execute_sends_the_payload_with_the_hooks_own_secret(call, service):
    item = made(call, "/inlineHooks", hook(f"{service.url}/hook"))
    service.answer = ({"commands": [{"type": "x"}]}, 200)
    answer = call("POST", f"/inlineHooks/{item['id']}/execute", {"data": 1})
    assert answer == (200, {"commands": [{"type": "x"}]})
    assert service.came == [("POST", SECRET, {"data": 1})]
    service.answer = ("", 204)
    assert call("POST", f"/inlineHooks/{item['id']}/execute", {}) == (204, None)


def test_execute_reports_what_was_wrong_with_the_answer(call, service):
    item = made(call, "/inlineHooks", hook(f"{service.url}/hook", type=TELEPHONY))
    path = f"/inlineHooks/{item['id']}/execute"
    service.answer = ({}, 401)
    status, body = call("POST", path, {})
    assert (status, body["errorCode"]) == (400, "E0000135")
    assert body["errorCauses"] == [{"errorSummary": "HTTP status 401"}]
    service.answer = ({}, 500)
    call("POST", path, {})
    assert len(service.came) == 2, "telephony is never sent twice"
    call("PUT", f"/inlineHooks/{item['id']}", hook("http://127.0.0.1:1/"))
    status, body = call("POST", path, {})
    assert (status, body["errorCode"]) == (502, "E0000134")


def test_execute_gets_no_answer_in_time(call, service, monkeypatch):
    monkeypatch.setattr(client, "SECONDS", 0.0)
    item = made(call, "/inlineHooks", hook(f"{service.url}/hook"))
    status, body = call("POST", f"/inlineHooks/{item['id']}/execute", {})
    assert (status, body["errorCode"]) == (504, "E0000137")


def oauth_hook(okta, service, item, **config) -> dict:
    config = {"uri": f"{service.url}/hook", "clientId": item["id"], "scope": "hooks"} | config
    config["tokenUrl"] = okta.token_endpoint
    return hook(channel={"type": "OAUTH", "version": "1.0.0", "config": config})


def test_execute_gets_a_token_first(okta, call, service, with_policy):
    item, _ = with_policy
    secret = {"authType": "client_secret_post", "clientSecret": secret_in(item)}
    made_hook = made(call, "/inlineHooks", oauth_hook(okta, service, item, **secret))
    path = f"/inlineHooks/{made_hook['id']}"
    assert call("POST", f"{path}/execute", {})[0] == 200
    assert service.came[0][1].startswith("Bearer ")
    call("PUT", path, oauth_hook(okta, service, item, **secret | {"clientSecret": "wrong"}))
    status, body = call("POST", f"{path}/execute", {})
    assert (status, body["errorCode"]) == (400, "E0000001")
    assert "invalid_client" in body["errorCauses"][0]["errorSummary"]
    assert len(service.came) == 1


def test_execute_signs_with_the_hook_key(okta, call, service, with_policy):
    item, _ = with_policy
    key = made(call, "/hook-keys", {"name": "a"})
    jwk = key["_embedded"] | {"alg": "RS256", "use": "sig"}
    with_key = app("private_key_jwt", jwks={"keys": [jwk]})
    assert call("PUT", f"/apps/{item['id']}", with_key)[0] == 200
    config = {"authType": "private_key_jwt", "hookKeyId": key["id"]}
    made_hook = made(call, "/inlineHooks", oauth_hook(okta, service, item, **config))
    path = f"/inlineHooks/{made_hook['id']}/execute"
    assert call("POST", path, {})[0] == 200
    other = made(call, "/hook-keys", {"name": "b"})["_embedded"] | {"alg": "RS256", "use": "sig"}
    call("PUT", f"/apps/{item['id']}", app("private_key_jwt", jwks={"keys": [other]}))
    assert call("POST", path, {})[0] == 400
    assert len(service.came) == 1


def test_verify_sends_at_most_two_requests(call, service):
    body = event_hook()
    body["channel"]["config"]["uri"] = f"{service.url}/userCreated"
    path = f"/eventHooks/{made(call, '/eventHooks', body)['id']}"
    service.answer = ({"verification": "other"}, 200)
    status, answer = call("POST", f"{path}/lifecycle/verify")
    assert status == 400
    assert "Unable to verify event hook" in answer["errorCauses"][0]["errorSummary"]
    assert service.came == [("GET", SECRET, None)] * 2
    service.answer = (None, 200)
    assert call("POST", f"{path}/lifecycle/verify")[1]["verificationStatus"] == "VERIFIED"
    assert call("GET", path)[1]["verificationStatus"] == "VERIFIED"
    assert call("PUT", path, body)[1]["verificationStatus"] == "UNVERIFIED"


def test_the_header_of_another_name_is_not_sent_as_authorization(call, service):
    body = hook(f"{service.url}/hook")
    body["channel"]["config"]["authScheme"]["key"] = "X-Secret"
    item = made(call, "/inlineHooks", body)
    call("POST", f"/inlineHooks/{item['id']}/execute", {})
    assert service.came[0][1] is None


def test_the_page_gets_what_is_registered_without_secrets(call, okta):
    made(call, "/inlineHooks", hook())
    made(call, "/eventHooks", event_hook())
    assert okta.management.state.hooks() == [
        {
            "name": "a",
            "uri": "https://hooks.example.com/userCreated",
            "authentication": "basic",
            "status": "active unverified",
        },
        {
            "name": "a",
            "uri": "https://hooks.example.com/tokenHook",
            "authentication": "basic",
            "status": "active",
        },
    ]


def test_a_token_can_be_revoked(call):
    assert call("DELETE", "/api-tokens/current") == (204, None)
