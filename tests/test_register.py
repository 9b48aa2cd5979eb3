"""`flask okta register` against the local Okta, with hooks that are really sent to the service."""

import copy
import json
import re

import pytest
from werkzeug.wrappers import Response

from commands.register import command, inputs
from commands.register.inputs import Hook, hooks_of
from hooks.contract import HookBlueprint
from local_okta.samples import SAMPLES
from settings import Settings
from tests.support.gunicorn import INLINE_SAMPLES, app_with_commands, serving
from tests.support.org import (
    AUTHENTICATIONS,
    HOOKS,
    TOKEN,
    answers_for,
    needs_these_hooks,
    only,
)
from tests.support.page import BASIC

pytestmark = needs_these_hooks
with_each = pytest.mark.parametrize("auth", AUTHENTICATIONS)
# A second hook, by its path, as --hooks takes it.
OTHER = next((s.path[1:] for s in INLINE_SAMPLES if s.kind not in ("token", "telephony")), "")
needs_other_hook = pytest.mark.skipif(not OTHER, reason="there is only one hook to register")


def unfolded(result) -> str:
    return result.output.replace("\n", " ")


def names_of(items: dict) -> list[str]:
    return sorted(item.get("label") or item["name"] for item in items.values())


@with_each
def test_the_first_run_creates_everything_and_the_second_changes_nothing(org, auth):
    first = org.register(auth, "--yes")
    assert first.exit_code == 0, first.output
    made = org.snapshot()
    assert first.output.count("works") == len(made["inline_hooks"]) + len(made["event_hooks"])
    plan = org.register(auth, "--plan")
    assert plan.exit_code == 0, plan.output
    assert not org.writes
    second = org.register(auth, "--yes")
    assert second.exit_code == 0, second.output
    assert "as it should be" in second.output
    assert {each.path.rpartition("/")[2] for each in org.writes} == {"execute"}
    assert org.snapshot() == made


def test_a_new_app_scope_policy_and_rule_are_complete(org):
    """Priority 1: the rule of another policy could have a token hook, which would need a token."""
    assert org.register("private-key", "--hooks", "token", "--yes").exit_code == 0
    app, scope = (
        next(each.body for each in org.writes if each.path.endswith(end))
        for end in ("/apps", "/scopes")
    )
    assert app["settings"]["oauthClient"]["response_types"] == ["token"]
    assert "client_secret" not in app["credentials"]["oauthClient"]
    assert scope["displayName"] == scope["name"] == "calls"
    for end in ("/policies", "/rules"):
        body = next(each.body for each in org.writes if each.path.endswith(end))
        assert (body["priority"], body["status"]) == (1, "ACTIVE")


def test_nothing_is_asked_for_twice_before_something_changes(org):
    org.register("private-key", "--yes")
    assert org.register("private-key", "--plan").exit_code == 0
    asked = [str(each) for each in org.sent]
    assert len(asked) == len({*asked})


@with_each
def test_a_plan_changes_nothing_and_exits_with_2(org, auth):
    before = org.snapshot()
    result = org.register(auth, "--plan")
    assert result.exit_code == 2
    hooks = [hook for hook in hooks_of(app_with_commands(Settings())) if not hook.is_telephony]
    assert result.output.count("create ") >= len(hooks)
    assert (org.writes, org.snapshot()) == ([], before)


def test_every_hook_but_telephony_is_created_from_the_routes_of_the_app(org):
    org.register("basic", "--yes")
    app = app_with_commands(Settings(**BASIC))
    hooks = [hook for hook in hooks_of(app) if not hook.is_telephony]
    inline = {f"Flask hooks: {hook.path[1:]}" for hook in hooks if hook.type}
    assert {*names_of(org.state.inline_hooks.items)} == inline
    for hook in org.state.inline_hooks.items.values():
        path = hook["name"].removeprefix("Flask hooks: ")
        blueprint = app.blueprints[app.url_map.bind("").match(f"/{path}", "POST")[0].split(".")[0]]
        assert hook["type"] == blueprint.event_type
        assert hook["channel"]["config"]["uri"] == f"{org.services['basic']}/{path}"
    event_hook = only(org.state.event_hooks.items)
    from hooks.events import HANDLERS

    assert {*event_hook["events"]["items"]} == {*HANDLERS}
    assert event_hook["verificationStatus"] == "VERIFIED"


def test_a_hook_of_your_own_is_registered_too():
    app = app_with_commands(Settings(**BASIC))
    loyalty = HookBlueprint("loyalty_points", __name__, kind="inline", event_type="com.okta.loyal")
    loyalty.add_url_rule("/points", "loyalty", lambda: "", methods=["POST"])
    loyalty.add_url_rule("/points/<one>", "one", lambda one: "", methods=["POST"])
    plain = HookBlueprint("plain", __name__, kind="inline")
    plain.add_url_rule("/plain", "plain", lambda: "", methods=["POST"])
    app.register_blueprint(loyalty)
    app.register_blueprint(plain)
    own = [hook for hook in hooks_of(app) if hook.path.startswith(("/points", "/plain"))]
    assert own == [Hook("loyalty-points", "/points", "com.okta.loyal")]


def test_with_a_private_key_okta_keeps_the_private_half(org):
    org.register("private-key", "--yes")
    app, key = only(org.state.apps.items), only(org.state.hook_keys.items)
    [jwk] = app["settings"]["oauthClient"]["jwks"]["keys"]
    assert (jwk["kid"], jwk["alg"], jwk["use"]) == (key["keyId"], "RS256", "sig")
    assert org.state.apps.secrets[app["id"]] == []
    for hook in org.state.inline_hooks.items.values():
        config = hook["channel"]["config"]
        assert (config["hookKeyId"], config["clientId"]) == (key["id"], app["id"])
        assert "clientSecret" not in config


def test_policy_and_rule_are_for_this_app_and_scope_only(org):
    org.register("client-secret", "--yes")
    policy, app = only(org.state.policies.items), only(org.state.apps.items)
    assert policy["conditions"] == {"clients": {"include": [app["id"]]}}
    rule = only(org.state.rules[policy["id"]].items)
    assert rule["conditions"]["scopes"] == {"include": ["calls"]}
    assert rule["conditions"]["grantTypes"] == {"include": ["client_credentials"]}
    # It would need a token to issue its own token.
    assert "inlineHook" not in rule["actions"]["token"]
    assert "calls" in org.okta.metadata()["scopes_supported"]


def writes_of(org, auth: str) -> int:
    """How many requests change something in a whole run for two hooks."""
    assert org.register(auth, "--hooks", HOOKS, "--yes").exit_code == 0
    count = len(org.writes)
    org.state.__init__(org.okta)
    return count


@with_each
@pytest.mark.parametrize("how", ["fail_from", "break_after"])
def test_a_run_that_stopped_at_any_request_can_continue(org, auth, how):
    for number in range(1, writes_of(org, auth) + 1):
        org.state.__init__(org.okta)
        setattr(org, how, number)
        stopped = org.register(auth, "--hooks", HOOKS, "--yes")
        if how == "fail_from":
            assert stopped.exit_code == 1, stopped.output
            assert "refused" in stopped.output
        setattr(org, how, None)
        again = org.register(auth, "--hooks", HOOKS, "--yes")
        assert again.exit_code == 0, (number, stopped.output, again.output)
        assert org.register(auth, "--hooks", HOOKS, "--plan").exit_code == 0, number
        for items in org.snapshot().values():
            names = names_of(items) if items and "name" in next(iter(items.values())) else []
            assert len(names) == len({*names})


def test_a_connection_that_breaks_after_a_post_creates_nothing_twice(org):
    org.break_after = 2
    result = org.register("client-secret", "--hooks", "token", "--yes")
    # The scope was the first, the app the second or the other way round: each is looked up again.
    assert result.exit_code == 0, result.output
    posts = [each for each in org.sent if str(each) == "POST /api/v1/apps"]
    assert len(posts) == 1
    assert len(org.state.apps.items) == 1


def test_what_was_done_before_an_error_is_shown(org):
    org.fail_from = 3
    result = org.register("client-secret", "--yes")
    assert result.exit_code == 1
    assert re.search(
        r"2 of \d+ steps are done\. The same command continues from there", result.output
    )
    assert "refused" in result.output
    assert "errorId oaeFail, for Okta's support" in result.output


def change(path: str, value):
    def apply(item):
        *parents, name = path.split(".")
        for parent in parents:
            item = item.setdefault(parent, {})
        item[name] = value

    return apply


def rule_of(org) -> dict:
    return only(org.state.rules[only(org.state.policies.items)["id"]].items)


BY_HAND = {
    "app, grant types": (
        lambda org: only(org.state.apps.items),
        change("settings.oauthClient.grant_types", ["client_credentials", "password"]),
        "grant_types: ",
    ),
    "app, DPoP": (
        lambda org: only(org.state.apps.items),
        change("settings.oauthClient.dpop_bound_access_tokens", True),
        "dpop_bound_access_tokens: True → False",
    ),
    "app, another key": (
        lambda org: only(org.state.apps.items)["settings"]["oauthClient"]["jwks"]["keys"],
        lambda keys: keys.append(keys[0] | {"kid": "somebody's"}),
        "keys: ",
    ),
    "app, inactive": (
        lambda org: only(org.state.apps.items),
        change("status", "INACTIVE"),
        "activate    app",
    ),
    "scope": (
        lambda org: next(s for s in org.state.scopes.items.values() if s["name"] == "calls"),
        change("consent", "REQUIRED"),
        "consent: REQUIRED → IMPLICIT",
    ),
    "policy, other clients": (
        lambda org: only(org.state.policies.items),
        change("conditions.clients.include", ["ALL_CLIENTS"]),
        "include: ALL_CLIENTS → 0oa",
    ),
    "policy, inactive": (
        lambda org: only(org.state.policies.items),
        change("status", "INACTIVE"),
        "activate    policy",
    ),
    "rule, inline hook": (
        rule_of,
        change("actions.token.inlineHook", {"id": "calTokenHook"}),
        "inlineHook: calTokenHook → none",
    ),
    "rule, grant": (
        rule_of,
        change("conditions.grantTypes.include", ["password"]),
        "include: password → client_credentials",
    ),
    "inline hook, address": (
        lambda org: only(org.state.inline_hooks.items),
        change("channel.config.uri", "https://old.example.com/tokenHook"),
        "uri: https://old.example.com/tokenHook → http://127.0.0.1",
    ),
    "inline hook, scope": (
        lambda org: only(org.state.inline_hooks.items),
        change("channel.config.scope", "other"),
        "scope: other → calls",
    ),
    "inline hook, inactive": (
        lambda org: only(org.state.inline_hooks.items),
        change("status", "INACTIVE"),
        "activate    token hook",
    ),
    "event hook, types": (
        lambda org: only(org.state.event_hooks.items),
        change("events.items", ["user.lifecycle.create"]),
        "items: user.lifecycle.create → ",
    ),
    "event hook, unverified": (
        lambda org: only(org.state.event_hooks.items),
        change("verificationStatus", "UNVERIFIED"),
        "verify      event hook",
    ),
    "event hook, header": (
        lambda org: only(org.state.event_hooks.items),
        change("channel.config.authScheme.key", "X-Other"),
        "key: X-Other → Authorization",
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_what_was_changed_by_hand_is_shown_and_changed_back(org, case):
    find, break_it, said = BY_HAND[case]
    org.register("private-key", "--hooks", HOOKS, "--yes")
    break_it(find(org))
    repaired = org.register("private-key", "--hooks", HOOKS, "--yes")
    assert said in repaired.output
    assert repaired.exit_code == 0, repaired.output
    assert org.register("private-key", "--hooks", HOOKS, "--plan").exit_code == 0


@pytest.mark.parametrize("name", ["hook_keys", "apps", "policies", "inline_hooks", "event_hooks"])
def test_what_was_deleted_by_hand_is_created_again(org, name):
    org.register("private-key", "--hooks", HOOKS, "--yes")
    getattr(org.state, name).items.clear()
    assert org.register("private-key", "--hooks", HOOKS, "--yes").exit_code == 0
    assert org.register("private-key", "--hooks", HOOKS, "--plan").exit_code == 0


def test_a_new_address_changes_every_hook(org):
    org.register("client-secret", "--yes")
    for event_hook in org.state.event_hooks.items.values():
        event_hook["verificationStatus"] = "UNVERIFIED"
    result = org.register("client-secret", "--url", "https://new.example.com/prefix", "--plan")
    count = len(org.state.inline_hooks.items) + len(org.state.event_hooks.items)
    assert result.output.count("change ") == count
    assert "→ https://new.example.com/prefix/tokenHook" in result.output
    # That is part of the change.
    assert "verify  " not in result.output


CHANGES = [
    ("basic", "client-secret", "basic"),
    ("basic", "private-key", "basic"),
    ("client-secret", "private-key", "client-secret"),
]


@needs_other_hook
@pytest.mark.parametrize("order", CHANGES, ids=" to ".join)
def test_the_authentication_can_be_changed_and_changed_back(org, order):
    for auth in order:
        result = org.register(auth, "--hooks", f"token,{OTHER},events", "--yes")
        assert result.exit_code == 0, result.output
        assert "failed" not in result.output
        # Of a hook that gets another authentication, the plan shows what it had.
        assert "none →" not in result.output
        for each in org.writes:
            if each.method == "PUT" and "/apps/" in each.path:
                client = each.body["credentials"]["oauthClient"]
                assert ("client_secret" in client) == (auth == "client-secret")
        assert org.register(auth, "--hooks", f"token,{OTHER},events", "--plan").exit_code == 0
    client = only(org.state.apps.items)["settings"]["oauthClient"]
    # With a client secret, no public key is left.
    assert ("jwks" in client) == (order[1:] == ("private-key", "basic"))
    types = {hook["channel"]["type"] for hook in org.state.inline_hooks.items.values()}
    assert types == {"HTTP" if order[-1] == "basic" else "OAUTH"}


def test_a_new_app_gets_a_private_key_by_default(org):
    org.names_auth = False
    result = org.register("private-key", "--plan")
    assert "Flask hooks, private key kept by Okta" in result.output


def test_an_app_keeps_its_client_secret_unless_another_authentication_is_chosen(org):
    org.register("client-secret", "--yes")
    org.names_auth = False
    assert org.register("client-secret", "--plan").exit_code == 0
    credentials = only(org.state.apps.items)["credentials"]["oauthClient"]
    credentials["token_endpoint_auth_method"] = "client_secret_basic"
    assert org.register("client-secret", "--plan").exit_code == 0
    chosen = org.register("client-secret", "--plan", "--auth", "private-key")
    assert "client_secret_post → private_key_jwt" in chosen.output


def test_a_change_of_the_app_keeps_its_secret_and_other_fields(org):
    org.register("client-secret", "--hooks", "token", "--yes")
    app = only(org.state.apps.items)
    secret = org.state.apps.secrets[app["id"]][0]["client_secret"]
    app["settings"]["oauthClient"] |= {"dpop_bound_access_tokens": True}
    app["settings"]["notes"]["admin"] = "Ask the identity team."
    org.register("client-secret", "--hooks", "token", "--yes")
    app = only(org.state.apps.items)
    assert [each["client_secret"] for each in org.state.apps.secrets[app["id"]]] == [secret]
    assert app["settings"]["notes"]["admin"] == "Ask the identity team."
    assert not app["settings"]["oauthClient"]["dpop_bound_access_tokens"]


def test_client_secret_basic_is_accepted_as_well(org):
    org.register("client-secret", "--hooks", "token", "--yes")
    credentials = only(org.state.apps.items)["credentials"]["oauthClient"]
    credentials["token_endpoint_auth_method"] = "client_secret_basic"
    assert org.register("client-secret", "--hooks", "token", "--plan").exit_code == 0


def test_what_others_added_to_hooks_and_scope_is_kept(org):
    org.register("client-secret", "--hooks", HOOKS, "--yes")
    scope = next(s for s in org.state.scopes.items.values() if s["name"] == "calls")
    hook, event_hook = only(org.state.inline_hooks.items), only(org.state.event_hooks.items)
    headers = [{"key": "X-Gateway", "value": "1"}]
    event_filter = {"type": "EXPRESSION_LANGUAGE", "eventFilterMap": []}
    for each in (hook, event_hook):
        each["channel"]["config"] |= {"headers": headers, "uri": "https://old.example.com/"}
    hook["version"] = "1.0.2"
    event_hook |= {"description": "Ask the identity team.", "createdBy": "00uAdmin"}
    event_hook["events"]["filter"] = event_filter
    scope |= {"description": "Made by hand.", "metadataPublish": "NO_CLIENTS"}
    assert org.register("client-secret", "--hooks", HOOKS, "--yes").exit_code == 0
    scope = next(s for s in org.state.scopes.items.values() if s["name"] == "calls")
    hook, event_hook = only(org.state.inline_hooks.items), only(org.state.event_hooks.items)
    assert scope["description"] == "Made by hand."
    assert scope["metadataPublish"] == "ALL_CLIENTS"
    assert hook["version"] == "1.0.2"
    assert event_hook["description"] == "Ask the identity team."
    assert event_hook["events"]["filter"] == event_filter
    for each in (hook, event_hook):
        assert each["channel"]["config"]["headers"] == headers
    only_okta_sets = {"id", "created", "createdBy", "lastUpdated", "verificationStatus", "_links"}
    assert not [each for each in org.writes if only_okta_sets & {*(each.body or ())}]


@with_each
def test_secrets_are_written_again_only_on_request(org, auth):
    org.register(auth, "--hooks", HOOKS, "--yes")
    for each in (*org.state.inline_hooks.items.values(), *org.state.event_hooks.items.values()):
        config = each["channel"]["config"]
        config |= {"clientSecret": "old"} if "clientSecret" in config else {}
        if config.get("authScheme"):
            config["authScheme"]["value"] = "Basic b2xkOm9sZA=="
    event_hook = only(org.state.event_hooks.items)
    event_hook["verificationStatus"] = "UNVERIFIED"
    failed = org.register(auth, "--hooks", HOOKS, "--yes")
    assert failed.exit_code == 1
    assert "--secrets" in failed.output
    assert "Unable to verify event hook" in failed.output
    plan = org.register(auth, "--hooks", HOOKS, "--secrets", "--plan")
    assert plan.output.count("its secret is written again") == (1 if auth == "private-key" else 2)
    mended = org.register(auth, "--hooks", HOOKS, "--secrets", "--yes")
    assert mended.exit_code == 0, mended.output


def test_an_unknown_secret_is_read_from_okta(org):
    """Here the run stopped after the app was made, so its answer is lost."""
    org.fail_from = 3
    org.register("client-secret", "--hooks", "token", "--yes")
    org.fail_from = None
    app_id = only(org.state.apps.items)["id"]
    old, new = org.state.apps.secrets[app_id][0], org.state.apps.add_secret(app_id)
    old["status"], new["created"] = "INACTIVE", "2020-01-01T00:00:00.000Z"
    assert org.register("client-secret", "--hooks", "token", "--yes").exit_code == 0
    config = only(org.state.inline_hooks.items)["channel"]["config"]
    assert config["clientSecret"] == new["client_secret"]


def test_an_app_without_a_secret_gets_one(org):
    org.fail_from = 3
    org.register("client-secret", "--hooks", "token", "--yes")
    org.fail_from = None
    org.state.apps.secrets[only(org.state.apps.items)["id"]].clear()
    assert org.register("client-secret", "--hooks", "token", "--yes").exit_code == 0


def made_by_hand(org, **fields) -> dict:
    body = {
        "name": "By hand",
        "type": "com.okta.oauth2.tokens.transform",
        "version": "1.0.0",
        "channel": {
            "type": "HTTP",
            "version": "1.0.0",
            "config": {"uri": f"{org.services['basic']}/tokenHook", "method": "POST"},
        },
    }
    return org.state.inline_hooks.create(body | fields)


def test_a_hook_with_the_same_url_is_shown_and_not_created_twice(org):
    by_hand = made_by_hand(org)
    result = org.register("basic", "--hooks", "token", "--yes")
    assert result.exit_code == 0
    assert "other name  token hook            “By hand” has the same URL" in result.output
    assert not org.writes
    assert org.state.inline_hooks.items == {by_hand["id"]: by_hand}


@pytest.mark.parametrize("auth", ["client-secret", "private-key"])
def test_no_app_is_created_if_every_hook_is_there_under_another_name(org, auth):
    assert org.register(auth, "--hooks", HOOKS, "--yes").exit_code == 0
    before = org.snapshot()
    result = org.register(auth, "--name", "Second", "--hooks", HOOKS, "--yes")
    refuses(org, result, "each of these hooks is there already, under another name")
    assert "OKTA_CLIENT_ID=" not in result.output
    assert org.snapshot() == before


def refuses(org, result, said: str) -> None:
    """Nothing was changed, and it says why."""
    assert result.exit_code == 1, result.output
    assert said in result.output
    assert "Traceback" not in result.output
    assert not org.writes


def test_a_hook_with_the_same_name_and_another_type_is_in_the_way(org):
    made_by_hand(org, name="Flask hooks: tokenHook", type="com.okta.import.transform")
    refuses(org, org.register("basic", "--yes"), "in the way  token hook")


def app_by_hand(org, label: str = "Flask hooks", kind: str = "service") -> dict:
    return org.state.apps.create(
        {
            "name": "oidc_client",
            "label": label,
            "signOnMode": "OPENID_CONNECT",
            "credentials": {"oauthClient": {"token_endpoint_auth_method": "client_secret_post"}},
            "settings": {
                "oauthClient": {"application_type": kind, "grant_types": ["client_credentials"]}
            },
        }
    )


def test_two_apps_with_one_label_are_in_the_way_unless_one_is_named(org):
    first, second = app_by_hand(org), app_by_hand(org)
    result = org.register("client-secret", "--yes")
    in_the_way = "there are 2 with this name, of which OKTA_CLIENT_ID can name one: "
    refuses(org, result, in_the_way)
    org.names_auth = False
    assert re.search(f"in the way +app +{in_the_way}", org.register("client-secret").output)
    org.names_auth = True
    assert first["id"] in result.output
    assert second["id"] in result.output
    named = org.register(
        "client-secret", "--hooks", "token", "--yes", okta_client_id=frozenset({second["id"]})
    )
    assert named.exit_code == 0, named.output
    config = only(org.state.inline_hooks.items)["channel"]["config"]
    assert config["clientId"] == second["id"]


def test_an_app_of_another_kind_is_in_the_way(org):
    app_by_hand(org, kind="web")
    refuses(
        org,
        org.register("client-secret", "--yes"),
        "but its settings.oauthClient.application_type is web: choose another name",
    )


def test_other_apps_of_any_shape_are_ignored(org):
    org.state.apps.items["0oaOdd"] = {
        "id": "0oaOdd",
        "label": "Flask hooks",
        "name": "okta_enduser",
        "signOnMode": None,
        "status": "ACTIVE",
    }
    app_by_hand(org, label="Flask hooks for others")
    assert org.register("client-secret", "--hooks", "token", "--yes").exit_code == 0
    assert len(org.state.apps.items) == 3


def test_a_scope_of_oktas_own_is_in_the_way(org):
    result = org.register("client-secret", "--yes", okta_scope="openid")
    refuses(org, result, "openid is there, but its system is True: choose another name")


SERVERS = {
    "status": ("INACTIVE", "The authorization server has the status INACTIVE, not ACTIVE"),
    "issuer": (
        "https://other.example.com/oauth2/default",
        "The authorization server has the issuer https://other",
    ),
    "audiences": (
        ["api://other"],
        "server has the audiences ['api://other'], not ['api://default']",
    ),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_differs_from_the_settings_is_refused(org, name, monkeypatch):
    value, said = SERVERS[name]
    server = org.okta.management.server()
    org.okta.management.fault = answers_for(
        "/authorizationServers/default", json.dumps(server | {name: value})
    )
    refuses(org, org.register("client-secret", "--yes"), said)


@needs_other_hook
def test_hooks_that_were_not_named_keep_their_token(org):
    """With another client authentication of the app, they would get none any more."""
    org.register("client-secret", "--hooks", f"token,{OTHER}", "--yes")
    result = org.register("private-key", "--hooks", "token", "--yes")
    refuses(org, result, f"the hook “Flask hooks: {OTHER}” gets its tokens as this app")
    assert org.register("private-key", "--hooks", f"token,{OTHER}", "--yes").exit_code == 0


has_telephony = pytest.mark.skipif("telephony" not in SAMPLES, reason="the hook was removed")


@has_telephony
def test_telephony_is_registered_only_by_name_and_never_tried(org):
    org.register("basic", "--yes", telephony_provider="twilio")
    assert "telephony" not in str(names_of(org.state.inline_hooks.items))
    result = org.register("basic", "--hooks", "telephony", "--yes", telephony_provider="twilio")
    assert result.exit_code == 0, result.output
    assert "telephonyHook" in str(names_of(org.state.inline_hooks.items))
    assert not [each for each in org.sent if each.path.endswith("execute")]


@has_telephony
@pytest.mark.parametrize("provider", [None, "console"])
def test_telephony_needs_a_provider_that_sends(org, provider):
    result = org.register("basic", "--hooks", "telephony", "--yes", telephony_provider=provider)
    refuses(org, result, f"TELEPHONY_PROVIDER is {provider or 'not set'}, so no code would be sent")
    assert not org.sent


@has_telephony
def test_another_active_telephony_hook_is_in_the_way(org):
    made_by_hand(org, type="com.okta.telephony.provider")
    result = org.register("basic", "--hooks", "telephony", "--yes", telephony_provider="twilio")
    refuses(org, result, "“By hand” is already active, and an org can have only one")


@has_telephony
def test_a_telephony_hook_is_not_activated_beside_another_active_one(org):
    arguments = ("basic", "--hooks", "telephony", "--yes")
    org.register(*arguments, telephony_provider="twilio")
    only(org.state.inline_hooks.items)["status"] = "INACTIVE"
    made_by_hand(org, type="com.okta.telephony.provider")
    result = org.register(*arguments, telephony_provider="twilio")
    refuses(org, result, "“By hand” is already active, and an org can have only one")


@has_telephony
def test_telephony_is_changed_and_removed_only_by_name(org):
    provider = {"telephony_provider": "twilio"}
    org.register("client-secret", "--hooks", "telephony", "--yes", **provider)
    made = only(org.state.inline_hooks.items)
    loses_its_token = (
        f"the hook “{made['name']}” gets its tokens as this app: change or remove it first"
    )
    refuses(org, org.register("private-key", "--yes", **provider), loses_its_token)
    refuses(org, org.register("private-key", "--remove", "--yes"), loses_its_token)
    assert org.register("basic", "--remove", "--auth", "basic", "--yes").exit_code == 0
    assert only(org.state.inline_hooks.items) == made
    by_name = org.register("client-secret", "--remove", "--hooks", "telephony", "--yes")
    assert by_name.exit_code == 0, by_name.output
    assert not org.state.inline_hooks.items


@with_each
def test_remove_leaves_the_org_as_it_was(org, auth):
    app_by_hand(org, label="Flask hooks, but not ours")
    made_by_hand(org, name="Flask hooks by hand", type="com.okta.import.transform")
    policy = org.state.policies.create({"name": "Default", "conditions": {}})
    rule = {"type": "RESOURCE_ACCESS", "name": "Default"}
    grants = {"grantTypes": {"include": ["password"]}, "scopes": {"include": ["*"]}}
    org.state.rules_of(policy["id"]).create(rule | {"conditions": grants})
    before = org.snapshot()
    org.register(auth, "--yes")
    assert org.snapshot() != before
    plan = org.register(auth, "--remove", "--plan")
    assert (plan.exit_code, org.writes) == (2, [])
    removed = org.register(auth, "--remove", "--yes")
    assert removed.exit_code == 0, removed.output
    assert org.snapshot() == before
    again = org.register(auth, "--remove", "--yes")
    assert again.exit_code == 0
    assert "There is nothing to remove" in again.output


def test_a_removal_that_stopped_can_continue(org):
    org.register("private-key", "--hooks", HOOKS, "--yes")
    made = copy.deepcopy(org.snapshot())
    for number in (1, 2, 4, 6, 8):
        org.fail_from = number
        assert org.register("private-key", "--remove", "--yes").exit_code == 1
        org.fail_from = None
        assert org.register("private-key", "--remove", "--yes").exit_code == 0
        assert not org.state.apps.items
        assert org.register("private-key", "--hooks", HOOKS, "--yes").exit_code == 0
    assert made.keys() == org.snapshot().keys()


def test_a_scope_that_others_created_or_use_is_kept(org):
    scope = {"name": "calls", "consent": "IMPLICIT", "metadataPublish": "ALL_CLIENTS"}
    org.state.scopes.create(scope | {"description": None})
    org.register("client-secret", "--hooks", "token", "--yes")
    result = org.register("client-secret", "--remove", "--yes")
    assert "calls was not created by this command" in result.output
    assert "calls" in names_of(org.state.scopes.items)
    org.state.__init__(org.okta)
    org.register("client-secret", "--hooks", "token", "--yes")
    policy = org.state.policies.create({"name": "Other", "conditions": {}})
    rule = {"type": "RESOURCE_ACCESS", "name": "Theirs"}
    grants = {"grantTypes": {"include": ["password"]}, "scopes": {"include": ["calls"]}}
    org.state.rules_of(policy["id"]).create(rule | {"conditions": grants})
    result = org.register("client-secret", "--remove", "--yes")
    assert "calls is named by the rule “Theirs”" in result.output
    assert "calls" in names_of(org.state.scopes.items)


def policy_by_hand(org, name: str) -> dict:
    clients = {"clients": {"include": ["ALL_CLIENTS"]}}
    policy = org.state.policies.create({"name": name, "conditions": clients})
    grants = {"grantTypes": {"include": ["password"]}}
    rule = {"type": "RESOURCE_ACCESS", "name": "Sign in", "conditions": grants}
    org.state.rules_of(policy["id"]).create(rule)
    return policy


def test_a_policy_of_another_origin_is_neither_changed_nor_removed(org):
    policy_by_hand(org, "Flask hooks")
    before = org.snapshot()
    result = org.register("client-secret", "--yes")
    refuses(org, result, "in the way  policy                Flask hooks was not created by this")
    removed = org.register("client-secret", "--remove", "--yes")
    assert "left        policy                Flask hooks was not created by this" in removed.output
    assert (removed.exit_code, org.snapshot()) == (0, before)


def test_a_policy_with_a_rule_of_another_origin_is_kept(org):
    org.register("client-secret", "--hooks", "token", "--yes")
    rules = org.state.rules[only(org.state.policies.items)["id"]]
    grants = {"grantTypes": {"include": ["password"]}}
    theirs = rules.create({"type": "RESOURCE_ACCESS", "name": "Theirs", "conditions": grants})
    result = org.register("client-secret", "--remove", "--yes")
    assert "Flask hooks has another rule, “Theirs”" in result.output
    assert rules.items == {theirs["id"]: theirs}


def test_what_is_changed_or_removed_by_others_after_the_plan_is_respected(org, terminal):
    org.register("basic", "--hooks", "token", "--yes")
    hook = only(org.state.inline_hooks.items)
    hook["channel"]["config"]["uri"] = "https://old.example.com/"
    headers = [{"key": "X-Gateway", "value": "1"}]

    def add_header():
        if org.sent[-1].path.endswith(hook["id"]) and org.sent[-1].method == "GET":
            hook["channel"]["config"]["headers"] = headers

    org.okta.management.fault = add_header
    assert org.register("basic", "--hooks", "token", "--yes").exit_code == 0
    assert only(org.state.inline_hooks.items)["channel"]["config"]["headers"] == headers
    end = f"{hook['id']}/lifecycle/deactivate"
    gone = json.dumps({"errorCode": "E0000007", "errorSummary": "Not found"})
    org.okta.management.fault = answers_for(end, gone, 404)
    assert org.register("basic", "--remove", "--hooks", "token", "--yes").exit_code == 0


def test_an_event_hook_is_verified_after_each_change(org):
    org.register("basic", "--hooks", "events", "--yes")
    hook = only(org.state.event_hooks.items)
    hook["channel"]["config"]["uri"] = "https://old.example.com/"
    answer = json.dumps(hook | {"verificationStatus": "VERIFIED"})
    org.okta.management.fault = answers_for(hook["id"], answer, method="PUT")
    org.register("basic", "--hooks", "events", "--yes")
    assert org.sent[-1].path.endswith("/lifecycle/verify")


def test_event_hooks_need_no_app(org):
    result = org.register("private-key", "--hooks", "events", "--yes")
    assert result.exit_code == 0, result.output
    assert not org.state.apps.items
    assert "AUTH_MODE" not in result.output
    stopped = ("--url", "http://127.0.0.1:1", "--hooks", "events", "--plan")
    result = org.register("private-key", *stopped)
    assert "with the same BASIC_AUTH_USER and BASIC_AUTH_PASSWORD." in unfolded(result)


def test_a_verified_event_hook_is_not_said_to_work(org):
    org.register("basic", "--hooks", "events", "--yes")
    again = org.register("basic", "--hooks", "events", "--yes")
    assert re.search(r"not tried +event hook .* verified earlier", again.output)
    assert not org.writes
    stopped = org.register("basic", "--hooks", "events", "--url", "http://127.0.0.1:1", "--plan")
    assert "does not answer (ConnectionError)" in unfolded(stopped)


@pytest.mark.parametrize("arguments", [["--plan"], ["--remove", "--plan"]])
def test_a_hook_whose_code_was_deleted_is_noted(org, arguments):
    org.register("basic", "--hooks", HOOKS, "--yes")
    hook = only(org.state.inline_hooks.items)
    # The service answers at this path too, though one event hook is enough.
    event_hook = only(org.state.event_hooks.items)
    other_path = {"name": "Flask hooks: userDeactivated"}
    org.state.event_hooks.create(copy.deepcopy(event_hook) | other_path)
    for name in ("Flask hooks: gone", "Flask hooks: staging: tokenHook", "Other: gone"):
        org.state.inline_hooks.create(copy.deepcopy(hook) | {"name": name})
    result = unfolded(org.register("basic", *arguments))
    assert "“Flask hooks: gone” is in Okta, but this service has no such hook" in result
    assert result.count("has no such hook") == 1


def test_a_hook_that_a_rule_uses_is_not_removed(org):
    org.register("client-secret", "--hooks", "token", "--yes")
    policy = org.state.policies.create({"name": "Sign in", "conditions": {}})
    uses = {"token": {"inlineHook": {"id": only(org.state.inline_hooks.items)["id"]}}}
    rule = {"type": "RESOURCE_ACCESS", "name": "All", "actions": uses}
    grants = {"grantTypes": {"include": ["password"]}}
    org.state.rules_of(policy["id"]).create(rule | {"conditions": grants})
    result = org.register("client-secret", "--remove", "--yes")
    refuses(org, result, "the rule “All” uses it")


def test_an_app_that_another_hook_uses_is_not_removed(org):
    org.register("client-secret", "--hooks", "token", "--yes")
    by_hand = made_by_hand(org, type="com.okta.import.transform")
    by_hand["channel"]["config"]["clientId"] = only(org.state.apps.items)["id"]
    result = org.register("client-secret", "--remove", "--yes")
    refuses(org, result, "the hook “By hand” gets its tokens as this app")


@needs_other_hook
def test_only_named_hooks_are_removed(org):
    org.register("client-secret", "--hooks", f"token,{OTHER}", "--yes")
    assert org.register("client-secret", "--remove", "--hooks", OTHER, "--yes").exit_code == 0
    assert names_of(org.state.inline_hooks.items) == ["Flask hooks: tokenHook"]
    assert org.state.apps.items


@needs_other_hook
def test_another_name_is_another_deployment(org):
    org.register("client-secret", "--hooks", "token", "--yes")
    other = org.register("client-secret", "--name", "Staging", "--hooks", OTHER, "--yes")
    assert other.exit_code == 0, other.output
    removal = ("--remove", "--name", "Staging", "--yes")
    assert org.register("client-secret", *removal).exit_code == 0
    assert names_of(org.state.apps.items) == ["Flask hooks"]
    assert names_of(org.state.inline_hooks.items) == ["Flask hooks: tokenHook"]


@pytest.fixture
def terminal(monkeypatch):
    for module in (command, inputs):
        monkeypatch.setattr(module, "at_terminal", lambda: True)


def test_without_a_terminal_and_without_yes_nothing_is_changed(org):
    result = org.register("basic")
    assert (result.exit_code, org.writes) == (2, [])
    assert "Use --yes" in result.output


def test_it_asks_once_with_the_address_and_the_counts(org, terminal):
    no = org.register("basic", "--hooks", HOOKS, input="n\n")
    host = org.okta.issuer.split("/")[2]
    assert f"Create 2 in {host}? [y/N]" in no.output
    assert (no.exit_code, org.writes) == (2, [])
    assert org.register("basic", "--hooks", HOOKS, input="y\n").exit_code == 0
    assert len(org.state.event_hooks.items) == 1


@pytest.mark.parametrize("arguments", [["--plan"], ["--plan", "--yes"], ["--plan", "--remove"]])
def test_plan_asks_nothing_and_changes_nothing(org, terminal, arguments):
    if "--remove" in arguments:
        org.register("basic", "--hooks", HOOKS, "--yes")
    before = org.snapshot()
    result = org.register("basic", "--hooks", HOOKS, *arguments, input="y\ny\n")
    assert (result.exit_code, org.writes, org.snapshot()) == (2, [], before)
    assert "[y/N]" not in result.output


def test_the_token_is_asked_for_without_an_echo_and_can_be_revoked(org, terminal):
    result = org.register("basic", "--hooks", "token", env={}, input=f"{TOKEN}\ny\ny\n")
    assert result.exit_code == 0, result.output
    assert TOKEN not in result.output
    assert "The API token is revoked" in result.output
    assert str(org.sent[-1]) == "DELETE /api/v1/api-tokens/current"
    assert {each.authorization for each in org.sent[1:]} == {f"SSWS {TOKEN}"}


def test_a_plan_does_not_revoke_the_token(org, terminal):
    org.register("basic", "--hooks", "token", "--yes")
    result = org.register("basic", "--hooks", "token", "--plan", env={}, input=f"{TOKEN}\ny\n")
    assert result.exit_code == 0, result.output
    assert "Revoke" not in result.output


def test_a_token_from_the_environment_is_not_revoked(org, terminal):
    result = org.register("basic", "--hooks", "token", input="y\n")
    assert result.exit_code == 0
    assert "Revoke" not in result.output


def test_the_settings_for_the_service_are_printed_at_the_end(org):
    result = org.register("private-key", "--hooks", "token", "--yes")
    assert result.output.splitlines()[-5:] == [
        "AUTH_MODE=oauth",
        f"OKTA_ISSUER={org.okta.issuer}",
        "OKTA_AUDIENCE=api://default",
        f"OKTA_CLIENT_ID={only(org.state.apps.items)['id']}",
        "OKTA_SCOPE=calls",
    ]
    assert org.register("basic", "--hooks", "token", "--yes").output.endswith("AUTH_MODE=basic\n")


def test_the_printed_client_ids_keep_a_list_that_has_this_app(org):
    org.register("private-key", "--hooks", "token", "--yes")
    client_id = only(org.state.apps.items)["id"]
    ids = frozenset({client_id, "0oaAnother"})
    again = org.register("private-key", "--hooks", "token", "--yes", okta_client_id=ids)
    assert f"OKTA_CLIENT_ID={','.join(sorted(ids))}\n" in again.output


def test_a_service_with_another_authentication_is_noted_before_the_question(org):
    org.services = dict.fromkeys(AUTHENTICATIONS, org.services["basic"])
    result = org.register("client-secret", "--hooks", "token", "--plan")
    assert "/tokenHook answers with 401 Basic, not 401 Bearer" in unfolded(result)
    assert "until the service runs there with AUTH_MODE=oauth" in unfolded(result)
    failed = org.register("client-secret", "--hooks", "token", "--yes")
    assert failed.exit_code == 1
    assert "E0000135" in failed.output
    assert "runs with other settings" in unfolded(failed)


def test_a_service_that_accepts_another_client_is_noted(org):
    note = "accepts only OKTA_CLIENT_ID=0oaOther"
    result = org.register("client-secret", "--plan", okta_client_id=frozenset({"0oaOther"}))
    assert note in unfolded(result)
    org.register("client-secret", "--yes")
    client_id = only(org.state.apps.items)["id"]
    right = org.register("client-secret", "--plan", okta_client_id=frozenset({client_id}))
    assert "accepts only OKTA_CLIENT_ID" not in unfolded(right)


def test_a_service_that_does_not_answer_is_noted(org):
    nobody = "http://127.0.0.1:1"
    result = org.register("basic", "--url", nobody, "--hooks", "token", "--yes")
    assert f"from here, {nobody}/tokenHook does not answer (ConnectionError)" in unfolded(result)
    assert result.exit_code == 1
    assert "E0000134" in result.output
    assert "Is the tunnel running?" in result.output


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "another authentication"])
def test_hooks_are_not_moved_unattended_to_a_service_that_would_refuse_them(org, terminal, address):
    org.register("basic", "--hooks", HOOKS, "--yes")
    before = org.snapshot()
    url = org.services["client-secret"] if address.startswith("another") else address
    arguments = ("--url", url, "--hooks", HOOKS, "--auth", "basic")
    result = org.register("basic", *arguments, "--yes")
    assert result.exit_code == 1
    assert "the hooks may be working now" in result.output
    assert (org.writes, org.snapshot()) == ([], before)
    assert org.register("basic", *arguments, "--yes", "--plan").exit_code == 2
    assert "may be working" not in org.register("basic", *arguments, input="y\n").output
    assert org.snapshot() != before


def test_only_hooks_that_would_be_changed_prevent_an_unattended_run(org):
    org.register("client-secret", "--hooks", "token", "--yes")
    only(org.state.apps.items)["settings"]["oauthClient"]["dpop_bound_access_tokens"] = True
    org.services = dict.fromkeys(AUTHENTICATIONS, org.services["basic"])
    for hook in org.state.inline_hooks.items.values():
        hook["channel"]["config"]["uri"] = f"{org.services['basic']}/tokenHook"
    result = org.register("client-secret", "--hooks", "token", "--yes")
    assert "changed     app" in result.output


@pytest.mark.parametrize(
    ("status", "changed"), [(403, True), (405, True), (404, False), (200, False)]
)
def test_a_proxy_may_refuse_the_request_that_tries_the_service(org, status, changed):
    org.register("basic", "--hooks", "token", "--yes")
    with serving(Response(status=status)) as url:
        result = org.register("basic", "--url", url, "--hooks", "token", "--yes")
    assert f"answers with {status}, not 401 Basic" in unfolded(result)
    assert ("changed     token hook" in result.output) is changed


def test_without_a_terminal_yes_is_not_advised_where_it_would_be_refused(org):
    org.register("basic", "--hooks", "token", "--yes")
    result = org.register("basic", "--url", "http://127.0.0.1:1", "--hooks", "token")
    assert "Use --yes" not in result.output
    assert "run it at a terminal without --yes" in result.output


def test_another_server_at_the_address_is_noted(org):
    result = org.register("basic", "--url", f"{org.okta.issuer}/x", "--hooks", "token", "--plan")
    assert "answers with 404, not 401 Basic" in unfolded(result)


def test_event_hooks_are_left_out_without_a_pair(org):
    nothing = {"basic_auth_user": None, "basic_auth_password": None}
    result = org.register("private-key", "--yes", **nothing)
    assert result.exit_code == 0, result.output
    assert "event hooks are left out" in unfolded(result)
    assert not org.state.event_hooks.items
    refused = org.register("private-key", "--hooks", "events", "--yes", **nothing)
    refuses(org, refused, "event hooks need BASIC_AUTH_USER and BASIC_AUTH_PASSWORD")
    refused = org.register("private-key", "--auth", "basic", "--yes", **nothing)
    refuses(org, refused, "BASIC_AUTH_USER and BASIC_AUTH_PASSWORD are not set")


def test_the_answer_of_a_hook_is_shown(org):
    result = org.register("basic", "--hooks", "token", "--yes")
    assert re.search(r"works +token hook .*/tokenHook  com\.okta\.identity\.patch", result.output)


def test_a_hook_whose_answer_okta_refuses_has_failed(org, monkeypatch):
    org.register("basic", "--hooks", "token", "--yes")
    org.okta.management.fault = answers_for("/execute", "<html>", 502)
    result = org.register("basic", "--hooks", "token", "--yes")
    assert result.exit_code == 1
    assert "failed      token hook" in result.output
    org.okta.management.fault = answers_for(
        "/execute", json.dumps({"error": {"errorSummary": "No"}, "commands": None})
    )
    assert "error: No" in org.register("basic", "--hooks", "token", "--yes").output
    org.okta.management.fault = answers_for("/execute", "", 204)
    assert "no change" in org.register("basic", "--hooks", "token", "--yes").output


def test_an_unreadable_sample_ends_the_command_before_anything_is_sent(org, tmp_path, monkeypatch):
    monkeypatch.setattr("local_okta.samples._FOLDER", tmp_path)
    refuses(org, org.register("basic", "--hooks", "token", "--yes"), "local_okta/samples/")
    assert not org.sent
    assert org.register("basic", "--remove", "--yes").exit_code == 0


def test_a_second_run_reports_all_as_it_should_be(org):
    org.register("basic", "--hooks", HOOKS, "--yes")
    assert "all 2" in org.register("basic", "--hooks", HOOKS, "--plan").output


def test_a_page_of_the_local_okta_lists_what_is_registered(org):
    org.register("basic", "--hooks", HOOKS, "--yes")
    listed = org.okta.management.state.hooks()
    assert [each["status"] for each in listed] == ["active verified", "active"]
    assert {each["authentication"] for each in listed} == {"basic"}
