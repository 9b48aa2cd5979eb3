"""What `flask okta register` sends to Okta, what it makes of errors, and that it keeps secrets."""

import base64
import json
import logging
import re

import pytest
import requests
from flask import Response, request
from werkzeug.serving import WSGIRequestHandler

from commands.register import inputs
from commands.register.client import Okta, OktaError
from commands.register.inputs import Choices, Hook
from commands.register.plan import leaves, member
from commands.register.wanted import HookInOkta
from local_okta.samples import SAMPLES
from settings import PROJECT, Settings
from tests.support.gunicorn import app_with_commands
from tests.support.org import (
    AUTHENTICATIONS,
    HOOKS,
    TOKEN,
    TriedOrg,
    answers_for,
    needs_these_hooks,
    only,
)
from tests.support.page import BASIC

pytestmark = needs_these_hooks
DESCRIPTION = PROJECT.parent / "shared" / "okta-contract" / "okta-management-hooks.json"


def error(status: int, code: str, *causes: str, summary: str = "a summary") -> tuple[str, int]:
    causes = [{"errorSummary": cause} for cause in causes]
    body = {"errorCode": code, "errorSummary": summary, "errorId": "oaeEXAMPLE"}
    return json.dumps(body | {"errorCauses": causes}), status


def fails(result, *said: str) -> None:
    assert result.exit_code == 1, result.output
    for each in said:
        assert each in result.output
    assert "Traceback" not in result.output


ERRORS = {
    "a wrong token": ("/inlineHooks", 401, "E0000011", "401 E0000011"),
    "no API Access Management": (
        "/authorizationServers/default",
        401,
        "E0000015",
        "no API Access Management, which OAuth 2.0 for hooks needs.\n  HTTP Basic works",
    ),
    "no right to inline hooks": ("/inlineHooks", 403, "E0000006", "okta.inlinehooks.manage"),
    "no right to hook keys": ("/hook-keys", 403, "E0000006", "okta.inlineHooks.manage"),
    "no right to event hooks": ("/eventHooks", 403, "E0000006", "okta.eventhooks.manage"),
    "no right to apps": ("/apps", 403, "E0000006", "okta.apps.clientCredentials.read"),
    "no right to servers": ("/scopes", 403, "E0000006", "okta.authzServers.manage"),
    "a rate limit that stays": ("/inlineHooks", 429, "E0000047", "429 E0000047"),
    "priorities that stay": ("/policies", 423, "E0000239", "E0000239"),
    "an error that is not known": ("/inlineHooks", 409, "E0009999", "409 E0009999"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_shown_with_its_causes_and_what_to_do(org, case):
    path, status, code, said = ERRORS[case]
    org.okta.management.fault = answers_for(path, *error(status, code, "a cause"))
    result = org.register("private-key", "--yes")
    fails(result, f"{status} {code}:", "a summary", "a cause", "errorId oaeEXAMPLE", said)
    assert not org.writes


def test_a_missing_right_to_write_is_shown_after_what_was_done(org):
    fault = answers_for("/apps", *error(403, "E0000006"), method="POST")
    org.okta.management.fault = fault
    fails(
        org.register("client-secret", "--yes"),
        "0 of ",
        "Super Administrator, or a custom role with okta.apps.manage",
    )


def test_the_message_says_when_okta_cannot_reach_the_hook(org):
    for status, code in ((502, "E0000134"), (504, "E0000137")):
        org.okta.management.fault = answers_for("/execute", *error(status, code))
        result = org.register("basic", "--hooks", "token", "--yes")
        fails(
            result, f"{status} {code}", "Does the URL lead to the service? Is the tunnel running?"
        )


NO_ANSWERS = {
    "not JSON": ("<html>", 200, None),
    "empty": ("", 200, None),
    "not a list": ("{}", 200, None),
    "an error of a proxy": ("<html>", 403, None),
    "an error without a code": ("[]", 400, None),
    "a redirect": ("", 302, {"Location": "https://elsewhere.example.com/"}),
}


@pytest.mark.parametrize("case", NO_ANSWERS)
def test_an_answer_that_is_not_oktas_is_reported(org, case):
    body, status, headers = NO_ANSWERS[case]
    org.okta.management.fault = answers_for("/inlineHooks", body, status, headers)
    said = f"The answer to GET /api/v1/inlineHooks with status {status} is not one of Okta's"
    fails(org.register("basic", "--yes"), said)
    assert not org.writes


def test_an_answer_to_a_post_that_is_not_oktas_ends_the_command_and_creates_nothing_twice(org):
    org.okta.management.fault = answers_for("/hook-keys", '{"name": "x"}', method="POST")
    fails(org.register("private-key", "--yes"), "the hook key Flask hooks has no keyId")
    without_id = json.dumps({"keyId": "x", "_embedded": {"e": "AQAB", "n": "x"}})
    org.okta.management.fault = answers_for("/hook-keys", without_id, method="POST")
    fails(org.register("private-key", "--yes"), "the hook key Flask hooks has no id")
    # The placeholder of an ID that is not known yet is never sent.
    assert not [each for each in org.sent if "new" in f"{each.path}{each.body}"]
    org.okta.management.fault = answers_for("/inlineHooks", "[]", method="POST")
    fails(org.register("basic", "--hooks", "token", "--yes"), "is not one of Okta's")


def test_an_address_where_nothing_answers_is_reported(org):
    settings = {"okta_issuer": "http://127.0.0.1:1/oauth2/default"}
    fails(org.register("basic", "--yes", **settings), "No answer from http://127.0.0.1:1")


def test_a_host_that_cannot_be_a_name_is_reported(org):
    settings = {"okta_issuer": "https://a..okta.com/oauth2/default"}
    url = ("--url", "https://a..example.com")
    fails(org.register("basic", "--yes", *url, **settings), "No answer from https://a..okta.com")
    noted = org.register("basic", "--hooks", "token", "--plan", *url)
    assert "does not answer (LocationParseError)" in noted.output.replace("\n", " ")


def test_the_org_is_asked_first_without_the_token(org):
    org.register("basic", "--plan")
    assert str(org.sent[0]) == "GET /.well-known/okta-organization"
    assert org.sent[0].authorization is None
    assert {each.authorization for each in org.sent[1:]} == {f"SSWS {TOKEN}"}


def in_turn(*faults):
    """The first fault for the first request that it answers, then the second, …"""
    left = list(faults)

    def fault():
        answer = left and left[0]()
        if answer:
            del left[0]
        return answer or None

    return fault


def limit(reset: int | str | None) -> dict[str, str]:
    return {} if reset is None else {"X-Rate-Limit-Reset": str(reset)}


DATE, DATE_TEXT = 784111777, "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("reset", "pause"),
    [(DATE + 20, 21), (DATE - 20, 1), (DATE + 1000, 60), (None, 60), ("soon", 60)],
)
def test_a_rate_limit_is_waited_for_by_oktas_own_clock(org, monkeypatch, reset, pause):
    monkeypatch.setattr(WSGIRequestHandler, "date_time_string", lambda handler: DATE_TEXT)
    fault = answers_for("/inlineHooks", *error(429, "E0000047"), limit(reset), method="GET")
    org.okta.management.fault = in_turn(fault)
    result = org.register("basic", "--hooks", "token", "--yes")
    assert result.exit_code == 0, result.output
    assert org.pauses == [pause]
    assert (f"continuing in {pause} s" in result.output) == (pause > 2)


def test_a_post_that_the_rate_limit_refused_is_sent_again(org):
    fault = answers_for("/inlineHooks", *error(429, "E0000047"), limit(DATE), method="POST")
    org.okta.management.fault = in_turn(fault, fault, fault)
    assert org.register("basic", "--hooks", "token", "--yes").exit_code == 0
    assert len(org.pauses) == 3
    assert len(org.state.inline_hooks.items) == 1


def test_a_lasting_rate_limit_ends_the_command_after_three_pauses(org):
    org.okta.management.fault = answers_for("/inlineHooks", *error(429, "E0000047"), limit(DATE))
    fails(org.register("basic", "--yes"), "E0000047")
    assert org.pauses == [1, 1, 1]


def test_locked_priorities_are_waited_for(org):
    fault = answers_for("/policies", *error(423, "E0000239"), method="POST")
    org.okta.management.fault = in_turn(*[fault] * 5)
    assert org.register("client-secret", "--hooks", "token", "--yes").exit_code == 0
    assert org.pauses == [2] * 5


def test_a_request_that_okta_failed_is_repeated_unless_it_is_a_post(org):
    broken = error(500, "E0000009")
    org.okta.management.fault = in_turn(*[answers_for("/apps", *broken, method="GET")] * 2)
    assert org.register("client-secret", "--hooks", "token", "--yes").exit_code == 0
    assert org.pauses == [1, 1]
    app = only(org.state.apps.items)
    org.okta.management.fault = in_turn(answers_for(app["id"], *broken, method="DELETE"))
    assert org.register("client-secret", "--remove", "--yes").exit_code == 0
    org.okta.management.fault = in_turn(answers_for("/apps", *broken, method="POST"))
    fails(org.register("client-secret", "--yes"), "E0000009")
    assert len([each for each in org.sent if str(each) == "POST /api/v1/apps"]) == 1


def test_an_error_after_a_repeat_ends_the_command(org):
    broken = answers_for("/inlineHooks", *error(500, "E0000009"), method="GET")
    refused = answers_for("/inlineHooks", *error(403, "E0000006"), method="GET")
    org.okta.management.fault = in_turn(broken, refused)
    fails(org.register("basic", "--yes"), "E0000006")
    assert org.pauses == [1]


def test_a_get_without_an_answer_is_sent_again(org):
    aborted = []

    def abort():
        if len(aborted) < 2:
            aborted.append(1)
            raise ConnectionAbortedError

    org.okta.management.fault = abort
    assert org.register("basic", "--hooks", "token", "--yes").exit_code == 0
    assert org.pauses == [1, 1]


def test_removing_what_is_already_gone_succeeds(org):
    org.register("basic", "--hooks", "token", "--yes")
    org.okta.management.fault = answers_for(
        only(org.state.inline_hooks.items)["id"], *error(404, "E0000007"), method="DELETE"
    )
    assert org.register("basic", "--remove", "--hooks", "token", "--yes").exit_code == 0


def test_lists_are_read_from_all_their_pages(org, monkeypatch):
    monkeypatch.setattr(org.okta.management, "page_size", 1)
    for name in ("Flask hooks 1", "Flask hooks 2"):
        app = {"name": "bookmark", "label": name, "signOnMode": "BOOKMARK"}
        app |= {
            "settings": {"oauthClient": {"grant_types": ["x"]}},
            "credentials": {"oauthClient": {}},
        }
        org.state.apps.create(app)
    assert org.register("client-secret", "--hooks", HOOKS, "--yes").exit_code == 0
    assert org.register("client-secret", "--hooks", HOOKS, "--plan").exit_code == 0
    assert len([each for each in org.sent if str(each) == "GET /api/v1/apps"]) >= 3


MALFORMED = {
    "an item that is no object": ("/inlineHooks", [None]),
    "a hook whose channel is a list": (
        "/inlineHooks",
        [{"id": "x", "name": "Flask hooks: tokenHook", "channel": [1], "type": []}],
    ),
    "commands that are a number": ("/execute", {"commands": 5}),
    "nested without end": ("/inlineHooks", "[" * 100_000),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_answer_is_an_error_without_a_traceback(org, case):
    path, body = MALFORMED[case]
    body = body if isinstance(body, str) else json.dumps(body)
    method = "POST" if path == "/execute" else "GET"
    org.okta.management.fault = answers_for(path, body, method=method)
    fails(org.register("basic", "--hooks", "token", "--yes"), "Error: ")


def test_a_malformed_answer_to_a_write_ends_the_command_with_what_was_done(org):
    org.okta.management.fault = answers_for("/apps", '{"id": ["x"]}', method="POST")
    result = org.register("client-secret", "--hooks", "token", "--yes")
    fails(result, " steps are done. The same command continues from there.")


@pytest.mark.parametrize("secret", [None, ""])
def test_an_app_whose_secret_is_not_one_is_an_error(org, secret):
    body = json.dumps([{"status": "ACTIVE", "client_secret": secret}])
    org.fail_from = 3
    org.register("client-secret", "--hooks", "token", "--yes")
    org.fail_from = None
    org.okta.management.fault = answers_for("/credentials/secrets", body)
    result = org.register("client-secret", "--hooks", "token", "--yes")
    fails(result, "about the secret of the app Flask hooks has none")
    assert not org.state.inline_hooks.items


LINKS = {
    "another host": ("http://127.0.0.1:1/next", "continues on another host"),
    "another scheme": ("https://127.0.0.1/next", "continues on another host"),
}


def test_the_next_page_may_be_a_relative_address(org):
    link = {"Link": '<?after=1>; rel="next"'}
    org.okta.management.fault = in_turn(answers_for("/inlineHooks", "[]", 200, link))
    assert org.register("basic", "--hooks", "token", "--plan").exit_code == 2
    assert [str(each) for each in org.sent].count("GET /api/v1/inlineHooks") == 2


@pytest.mark.parametrize("case", LINKS)
def test_a_next_page_that_is_not_one_is_refused(org, case):
    target, said = LINKS[case]
    link = {"Link": f'<{target}>; rel="next"'}
    org.okta.management.fault = answers_for("/inlineHooks", "[]", 200, link)
    fails(org.register("basic", "--yes"), said)


def test_the_proxy_and_netrc_of_this_machine_are_ignored(org, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password theirs\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert org.register("basic", "--hooks", "token", "--yes").exit_code == 0
    assert {each.authorization for each in org.sent[1:]} == {f"SSWS {TOKEN}"}


def test_an_access_token_is_a_bearer_token(org):
    env = {"OKTA_ACCESS_TOKEN": "eyJAccess"}
    assert org.register("basic", "--hooks", "token", "--yes", env=env).exit_code == 0
    assert {each.authorization for each in org.sent[1:]} == {"Bearer eyJAccess"}


NO_TOKENS = {
    "none and no terminal": ({}, "There is no terminal to ask for a token"),
    "a line's end in it": ({"OKTA_API_TOKEN": f"{TOKEN}\nX: y"}, "OKTA_API_TOKEN is not a token"),
    "a space in it": ({"OKTA_API_TOKEN": f"SSWS {TOKEN}"}, "OKTA_API_TOKEN is not a token"),
    "not ASCII": ({"OKTA_API_TOKEN": f"{TOKEN}é"}, "OKTA_API_TOKEN is not a token"),
}


@pytest.mark.parametrize("case", NO_TOKENS)
def test_a_token_that_cannot_be_used_is_refused(org, case):
    env, said = NO_TOKENS[case]
    result = org.register("basic", "--yes", env=env)
    fails(result, said)
    assert TOKEN not in result.output
    assert not org.sent


@pytest.mark.parametrize("name", ["OKTA_API_TOKEN", "OKTA_ACCESS_TOKEN"])
@pytest.mark.parametrize("file", [".env", ".flaskenv"])
def test_a_token_in_a_file_of_the_service_is_refused(org, tmp_path, monkeypatch, file, name):
    (tmp_path / file).write_text(f"{name}={TOKEN}\n")
    monkeypatch.setattr(inputs, "PROJECT", tmp_path)
    result = org.register("basic", "--yes", env={name: TOKEN})
    fails(result, f"{name} is in {file}, which flask reads: remove it there")
    assert TOKEN not in result.output
    assert not org.sent


def secrets_of(org: TriedOrg) -> set[str]:
    pair = f"{BASIC['basic_auth_user']}:{BASIC['basic_auth_password']}"
    secrets = {TOKEN, BASIC["basic_auth_password"], base64.b64encode(pair.encode()).decode()}
    for each in org.state.apps.secrets.values():
        secrets |= {secret["client_secret"] for secret in each}
    return secrets


@pytest.mark.parametrize("auth", AUTHENTICATIONS)
def test_no_secret_is_printed_or_logged(org, auth, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3.connectionpool")
    outputs = []
    for arguments in (["--plan"], ["--yes"], ["--secrets", "--yes"], ["--remove", "--plan"]):
        result = org.register(auth, *arguments, log_level="DEBUG")
        outputs += [result.output, str(result.exc_info)]
    said = "".join([*outputs, caplog.text, *capfd.readouterr(), str(caplog.records)])
    assert "POST /api/v1" in caplog.text
    for secret in secrets_of(org):
        assert secret not in said


def echo(path: str, method: str):
    """Okta repeats each value that it got in its error."""

    def fault():
        if request.path.endswith(path) and request.method == method:
            values = [str(value) for _, value in leaves(request.get_json())]
            said = f"the header {request.headers['Authorization']}"
            return Response(*error(400, "E0000001", *values, summary=said))
        return None

    return fault


@pytest.mark.parametrize("auth", AUTHENTICATIONS)
def test_no_secret_is_printed_though_okta_repeats_it(org, auth):
    org.okta.management.fault = echo("/inlineHooks", "POST")
    result = org.register(auth, "--hooks", "token", "--yes")
    fails(result, "E0000001", "the header SSWS ••••", "com.okta.oauth2.tokens.transform")
    assert result.output.count("••••") == (1 if auth == "private-key" else 2)
    for secret in secrets_of(org):
        assert secret not in result.output


def test_no_secret_is_in_an_exception_or_a_repr(org):
    okta = Okta("http://127.0.0.1:1", f"SSWS {TOKEN}")
    with pytest.raises(OktaError) as caught:
        okta.call("POST", "/api/v1/apps", {"client_secret": "very secret"})
    shown = "".join(map(repr, (okta, caught.value, vars(caught.value))))
    assert caught.value.__cause__ is None
    assert TOKEN not in shown + str(caught.value)
    assert "very secret" not in shown + str(caught.value)
    app = app_with_commands(Settings(**BASIC, okta_issuer="https://example.okta.com"))
    options = {"url": "https://hooks.example.com", "name": "Flask hooks", "auth": "basic"}
    choices = inputs.choices_of(app, options | {"remove": False, "hooks": None})
    assert choices.header.startswith("Basic ")
    assert choices.header not in repr(choices)


def test_control_characters_from_okta_do_not_reach_the_terminal(org):
    hook = {"name": "\x1b[2Jhand\u202e", "type": "com.okta.oauth2.tokens.transform"}
    config = {"uri": f"{org.services['basic']}/tokenHook"}
    channel = {"type": "HTTP", "version": "1.0.0", "config": config}
    org.state.inline_hooks.create(hook | {"version": "1.0.0", "channel": channel})
    result = org.register("basic", "--hooks", "token", "--plan")
    assert "“\\x1b[2Jhand\\x202e” has the same URL" in result.output
    org.okta.management.fault = answers_for(
        "/inlineHooks", *error(400, "E0000001", "a\rb\x1b]0;c\x07", summary="d\x9be")
    )
    result = org.register("basic", "--yes")
    fails(result, "a\\x0db\\x1b]0;c\\x07", "d\\x9be")
    organization = {"id": "\x1b[1m", "_links": {"organization": {"href": "\x1b[2m"}}}
    org.okta.management.fault = answers_for("/okta-organization", json.dumps(organization))
    assert "\x1b" not in org.register("basic", "--plan").output


@pytest.mark.parametrize("header", [None, ""])
def test_a_hook_without_authentication_is_never_sent(org, header):
    okta = Okta(org.okta.issuer.removesuffix("/oauth2/default"), f"SSWS {TOKEN}")
    for hook in (Hook("token", "/tokenHook", "com.okta.x"), Hook("events", "/a", None, ("a",))):
        choices = Choices(
            Settings(), "Flask hooks", "https://hooks.example.com", [hook], "basic", header
        )
        resource = HookInOkta(okta, choices, hook, None)
        with pytest.raises(OktaError, match="would have no authentication"):
            resource.create()
        resource.item = {"id": "x"}
        org.okta.management.fault = answers_for("/x", '{"id": "x"}', method="GET")
        with pytest.raises(OktaError, match="would have no authentication"):
            resource.change()
    assert not org.writes


def test_every_hook_that_is_sent_has_an_authentication(org):
    for auth in AUTHENTICATIONS:
        org.register(auth, "--yes")
        bodies = [each.body for each in org.writes if each.body and "channel" in each.body]
        assert bodies
        for body in bodies:
            config = body["channel"]["config"]
            if body["channel"]["type"] == "HTTP":
                assert config["authScheme"]["value"].startswith("Basic ")
            else:
                assert config["clientSecret" if auth == "client-secret" else "hookKeyId"]
                assert "authScheme" not in config


OKTA = "https://example.okta.com"
LOCAL = "http://127.0.0.1:8010"
URLS = {
    ("http://hooks.example.com", OKTA): "must begin with https://",
    ("https://127.0.0.1:5000", OKTA): "Okta cannot reach 127.0.0.1",
    ("http://127.0.0.1:5000", OKTA): "must begin with https://",
    ("https://localhost", OKTA): "Okta cannot reach localhost",
    ("https://192.168.1.5", OKTA): "Okta cannot reach 192.168.1.5",
    ("https://[::1]", OKTA): "Okta cannot reach [::1]",
    ("https://hooks", OKTA): "Okta cannot reach hooks",
    ("https://hooks.local", OKTA): "Okta cannot reach hooks.local",
    ("https://user:pass@hooks.example.com", OKTA): "is not an address",
    ("https://hooks.example.com/?a=b", OKTA): "is not an address",
    ("https://hooks.example.com/#a", OKTA): "is not an address",
    ("https://hooks.example.com/a b", OKTA): "is not an address",
    ("https://hooks.example.com:0", OKTA): "is not an address",
    ("https://hooks.example.com:999999", OKTA): "is not an address",
    ("https://[hooks", OKTA): "is not an address",
    ("hooks.example.com", OKTA): "is not an address",
    ("https://höoks.example.com", OKTA): "is not an address",
    ("ftp://127.0.0.1/", LOCAL): "is not an address",
}


@pytest.mark.parametrize(("url", "org"), URLS, ids=str)
def test_an_address_that_okta_cannot_use_is_refused(url, org):
    with pytest.raises(inputs.WrongInput, match=re.escape(URLS[url, org])):
        inputs.checked_url(url, org, [])


GOOD_URLS = {
    ("https://hooks.example.com/", OKTA): "https://hooks.example.com",
    ("https://hooks.example.com:8443", OKTA): "https://hooks.example.com:8443",
    ("https://hooks.example.com/tokenHook", OKTA): "https://hooks.example.com",
    ("https://hooks.example.com/prefix/", OKTA): "https://hooks.example.com/prefix",
    ("https://example.com/hooks", OKTA): "https://example.com/hooks",
    ("https://hooks.example.com/prefix/tokenHook", OKTA): "https://hooks.example.com/prefix",
    ("https://1.1.1.1", OKTA): "https://1.1.1.1",
    ("http://127.0.0.1:5000", LOCAL): "http://127.0.0.1:5000",
    ("https://hooks.example.com", LOCAL): "https://hooks.example.com",
}


@pytest.mark.parametrize("path", ["/tokenHok", "/tokenhook", "/v1/tokenHooks/"])
def test_a_misspelt_path_of_a_hook_is_refused(path):
    with pytest.raises(inputs.WrongInput, match="a misspelt path of a hook"):
        inputs.checked_url(f"https://hooks.example.com{path}", OKTA, ["/tokenHook", "/SAMLHook"])


@pytest.mark.parametrize(("url", "org"), GOOD_URLS, ids=str)
def test_the_path_of_a_hook_is_removed_from_the_address(url, org):
    assert inputs.checked_url(url, org, ["/tokenHook", "/SAMLHook"]) == GOOD_URLS[url, org]


INPUTS = {
    "no issuer": ((), {"okta_issuer": ""}, "OKTA_ISSUER is not set"),
    "the org's own server": (
        ("--auth", "private-key"),
        {"okta_issuer": "https://example.okta.com"},
        "OKTA_ISSUER is not the issuer of a custom authorization server",
    ),
    "the published password": (
        (),
        {"basic_auth_password": "supersecret"},
        "is the one printed in Okta's guide",
    ),
    "no name": (("--name", ""), {}, "--name must be 1 to 100 printable characters"),
    "a name with a space": (("--name", "Hooks "), {}, "without a space at either end"),
    "a name that cannot be shown": (("--name", "a\nb"), {}, "printable characters"),
    "an unknown hook": (
        ("--hooks", "token,nothing"),
        {},
        "there is no hook “nothing”. The hooks are: ",
    ),
}


@pytest.mark.parametrize("case", INPUTS)
def test_wrong_input_is_reported_before_anything_is_sent(org, case):
    arguments, settings, said = INPUTS[case]
    if settings.get("okta_issuer", "").startswith("https"):
        arguments = (*arguments, "--url", "https://hooks.example.com")
    fails(org.register("basic", "--yes", *arguments, **settings), said)
    assert not org.sent


def test_the_address_of_the_service_is_required():
    app = app_with_commands(Settings(**BASIC))
    result = app.test_cli_runner().invoke(args=["okta", "register"])
    fails(result, "--url is missing")


def test_with_basic_the_address_of_the_org_is_enough(org):
    issuer = org.okta.issuer.removesuffix("/oauth2/default")
    result = org.register("basic", "--hooks", HOOKS, "--yes", okta_issuer=issuer)
    assert result.exit_code == 0, result.output
    assert not [each for each in org.sent if "authorizationServers" in each.path]
    removed = org.register("basic", "--remove", "--yes", okta_issuer=issuer)
    assert removed.exit_code == 0, removed.output
    assert not org.state.inline_hooks.items


def test_hooks_can_be_chosen_by_blueprint_or_path(org):
    names = "password-import, password_import,SAMLHook"
    if not {"password-import", "saml"} <= SAMPLES.keys():
        pytest.skip("the hooks were removed")
    org.register("basic", "--hooks", names, "--yes")
    found = sorted(hook["name"] for hook in org.state.inline_hooks.items.values())
    assert found == ["Flask hooks: SAMLHook", "Flask hooks: passwordImport"]


@pytest.fixture(scope="module")
def description():
    if not DESCRIPTION.exists():
        pytest.skip("Okta's description of its management API is not here")
    pytest.importorskip("jsonschema")
    return plain(json.loads(DESCRIPTION.read_text(encoding="utf-8")))


def plain(node):
    """OpenAPI 3.0 as JSON Schema: nullable as a type, alternatives without "exactly one"."""
    if isinstance(node, list):
        return [plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {name: plain(value) for name, value in node.items()}
    if node.get("nullable") is True and isinstance(node.get("type"), str):
        node["type"] = [node["type"], "null"]
        if isinstance(node.get("enum"), list):
            node["enum"] = [*node["enum"], None]
    if "oneOf" in node:
        node["anyOf"] = node.pop("oneOf")
    return node


def schema_of(description: dict, sent) -> dict | None:
    """The schema of a request's body; for a PUT that is not described, the one of the POST."""
    for template, operations in description["paths"].items():
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
        bodies = operations.get(sent.method.lower(), {}).get("requestBody")
        if bodies and re.fullmatch(pattern, sent.path):
            return bodies["content"]["application/json"]["schema"]
    if sent.method == "PUT":
        parent = sent.path.rpartition("/")[0]
        return schema_of(description, type(sent)("POST", parent, None, None))
    return None


def wrong_with(description: dict, schema: dict, body) -> list[str]:
    """What does not fit. Where a member names the schema to take, that is taken as well."""
    import jsonschema

    root = {"components": description["components"], "allOf": [schema]}
    errors = [each.message for each in jsonschema.Draft4Validator(root).iter_errors(body)]
    reference = schema.get("$ref", "").rpartition("/")[2]
    discriminator = (description["components"]["schemas"].get(reference) or schema).get(
        "discriminator"
    )
    if discriminator and isinstance(body, dict):
        chosen = discriminator["mapping"][body[discriminator["propertyName"]]]
        errors += wrong_with(description, {"anyOf": [{"$ref": chosen}]}, body)
    return errors


@pytest.mark.parametrize("auth", AUTHENTICATIONS)
def test_every_request_fits_oktas_description(org, description, auth):
    bodies = []
    for arguments in (["--yes"], ["--secrets", "--yes"]):
        assert org.register(auth, *arguments).exit_code == 0
        bodies += [each for each in org.writes if each.body is not None]
    for app in org.state.apps.items.values():
        app["settings"]["oauthClient"]["dpop_bound_access_tokens"] = True
    for policy in org.state.policies.items.values():
        policy["description"] = only(org.state.rules[policy["id"]].items)["actions"] and "other"
        only(org.state.rules[policy["id"]].items)["conditions"]["scopes"]["include"] = ["other"]
    org.register(auth, "--yes")
    bodies += [each for each in org.writes if each.body is not None]
    assert len(bodies) > 20
    schemas = description["components"]["schemas"]
    for sent in bodies:
        schema = schema_of(description, sent)
        secret = member(sent.body, "credentials.oauthClient.client_secret")
        if secret == "":
            # That keeps the secret, though the description asks for 14 characters.
            sent.body["credentials"]["oauthClient"]["client_secret"] = "s" * 14
        assert schema, f"{sent} is not described"
        assert wrong_with(description, schema, sent.body) == [], str(sent)
        if "channel" in sent.body and "inlineHooks" in sent.path:
            kind = "OAuthChannel" if auth != "basic" else "Http"
            config = schemas[f"InlineHook{kind}ConfigCreate"] | {"discriminator": None}
            del config["discriminator"]
            assert wrong_with(description, config, sent.body["channel"]["config"]) == []


def test_a_request_that_does_not_fit_is_noticed(description):
    """A check of the check."""
    schema = {"$ref": "#/components/schemas/InlineHookCreate"}
    assert wrong_with(description, schema, {"name": 1})
    schema = {"$ref": "#/components/schemas/EventHook"}
    assert wrong_with(description, schema, {"name": "x"})


def test_the_description_names_every_call(org, description):
    """Methods and paths, but for the few that this excerpt of it leaves out."""
    left_out = (
        r"GET /\.well-known/okta-organization",
        r"(PUT|DELETE) /api/v1/authorizationServers/default/(scopes|policies)/[^/]+(/rules/[^/]+)?",
    )
    org.register("private-key", "--yes")
    asked = list(org.sent)
    org.register("private-key", "--remove", "--yes")
    for sent in [*asked, *org.sent]:
        patterns = [
            f"{method.upper()} " + re.sub(r"\{[^}]+\}", "[^/]+", template)
            for template, operations in description["paths"].items()
            for method in operations
        ]
        assert any(re.fullmatch(each, str(sent)) for each in [*patterns, *left_out]), str(sent)


def test_every_request_has_time_limits(org, monkeypatch):
    limits = []
    send = requests.Session.send

    def watch(session, prepared, **options):
        limits.append((options["timeout"], options["allow_redirects"]))
        return send(session, prepared, **options)

    monkeypatch.setattr(requests.Session, "send", watch)
    org.register("basic", "--hooks", "token", "--plan")
    assert {*limits} == {((5, 30), False), (5, False)}
