"""The calls of Okta's management API that `flask okta register` makes.

Reference: https://developer.okta.com/docs/api/openapi/okta-management/guides/overview/

Any API token or access token is taken, since only this machine reaches this server. What a real org
may refuse, a test puts into `Management.fault`.
"""

import secrets
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, request

from local_okta import client
from local_okta.management_collections import Collection, Json, Refusal, invalid, member, not_found
from local_okta.management_state import State

API = "/api/v1"
SERVER = f"{API}/authorizationServers/default"
ORGANIZATION = "/.well-known/okta-organization"
TELEPHONY = "com.okta.telephony.provider"
METHODS = ("GET", "POST", "PUT", "DELETE")
# The kinds that `client.send` never sends a second time.
KINDS = {"com.okta.oauth2.tokens.transform": "token", TELEPHONY: "telephony"}


class Management:
    """The API, and what was made with it. `okta` is the LocalOkta that it belongs to."""

    def __init__(self, okta):
        self.state = State(okta)
        self.fault: Callable[[], Any] | None = None
        """Answers a request instead of this server, unless it returns None."""
        self.page_size = 200
        self._okta = okta

    def blueprint(self) -> Blueprint:
        api, state = Blueprint("management", __name__), self.state
        api.before_request(self._admit)
        api.register_error_handler(Refusal, refuse)
        api.add_url_rule(ORGANIZATION, view_func=self.organization)
        api.add_url_rule(SERVER, view_func=self.server)
        self._add(api, f"{API}/inlineHooks", lambda: state.inline_hooks)
        self._add(api, f"{API}/eventHooks", lambda: state.event_hooks)
        self._add(api, f"{API}/hook-keys", lambda: state.hook_keys)
        self._add(api, f"{API}/apps", lambda: state.apps)
        self._add(api, f"{SERVER}/scopes", lambda: state.scopes)
        self._add(api, f"{SERVER}/policies", lambda: state.policies)
        self._add(api, f"{SERVER}/policies/<policy>/rules", state.rules_of)
        post = {"methods": ["POST"]}
        secrets_of_app = f"{API}/apps/<app>/credentials/secrets"
        api.add_url_rule(f"{API}/hook-keys/public/<kid>", view_func=self.public_key)
        api.add_url_rule(secrets_of_app, view_func=self.list_secrets)
        api.add_url_rule(secrets_of_app, view_func=self.make_secret, **post)
        api.add_url_rule(f"{API}/inlineHooks/<hook>/execute", view_func=self.execute, **post)
        api.add_url_rule(f"{API}/eventHooks/<hook>/lifecycle/verify", view_func=self.verify, **post)
        current_token, delete = f"{API}/api-tokens/current", {"methods": ["DELETE"]}
        api.add_url_rule(current_token, view_func=self.revoke_token, **delete)
        api.add_url_rule(f"{API}/<path:path>", view_func=self.nothing, methods=METHODS)
        return api

    def _admit(self):
        if self.fault and (answer := self.fault()):
            return answer
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if request.path != ORGANIZATION and (scheme not in ("SSWS", "Bearer") or not token):
            raise Refusal(401, "E0000011", "Invalid token provided")
        return None

    def _add(self, api: Blueprint, path: str, collection_of: Callable[..., Collection]) -> None:
        """The routes that every collection has."""
        name = path.rpartition("/")[2]

        def objects(**parent):
            collection = collection_of(**parent)
            return self._page([collection.shown(each) for each in collection.items.values()])

        def create(**parent):
            collection = collection_of(**parent)
            made = collection.create(body_of_request())
            return collection.shown(made, written=True), collection.made_status

        def get(item_id, **parent):
            collection = collection_of(**parent)
            return collection.shown(collection.get(item_id))

        def replace(item_id, **parent):
            collection = collection_of(**parent)
            return collection.shown(collection.replace(item_id, body_of_request()), written=True)

        def delete(item_id, **parent):
            collection_of(**parent).delete(item_id)
            return "", 204

        def change(item_id, verb, **parent):
            collection = collection_of(**parent)
            item = collection.get(item_id)
            item["status"] = {"activate": "ACTIVE", "deactivate": "INACTIVE"}[verb]
            status, with_item = collection.lifecycle_answer
            return (collection.shown(item) if with_item else {}) if status == 200 else "", status

        one = f"{path}/<item_id>"
        cycle = f"{one}/lifecycle/<any(activate,deactivate):verb>"
        for rule, method, view in (
            (path, "GET", objects),
            (path, "POST", create),
            (one, "GET", get),
            (one, "PUT", replace),
            (one, "DELETE", delete),
            (cycle, "POST", change),
        ):
            endpoint = f"{view.__name__} {name}"
            api.add_url_rule(rule, endpoint, view, methods=[method])

    def _page(self, items: list[Json]) -> Response:
        """One page of a list, the newest first. `q` finds the beginning of a name or label."""
        q, start = request.args.get("q", ""), request.args.get("after", 0, int)
        names = ("name", "label")
        found = [each for each in items if any(str(each.get(n)).startswith(q) for n in names)]
        size = min(self.page_size, request.args.get("limit", self.page_size, int))
        answer = jsonify(found[::-1][start : start + size])
        answer.headers.add("Link", f'<{request.url}>; rel="self"')
        if start + size < len(found):
            following = f"{request.base_url}?q={q}&limit={size}&after={start + size}"
            answer.headers.add("Link", f'<{following}>; rel="next"')
        return answer

    def nothing(self, path: str):
        raise not_found(path)

    def organization(self):
        links = {"organization": {"href": request.host_url.rstrip("/")}}
        return {"id": "00oLocal", "pipeline": "idx", "_links": links}

    def server(self):
        okta = self._okta
        return {
            "id": "default",
            "name": "default",
            "issuer": okta.issuer,
            "issuerMode": "DYNAMIC",
            "audiences": [okta.audience],
            "status": "ACTIVE",
        }

    def public_key(self, kid: str):
        keys = self.state.hook_keys
        for item in keys.items.values():
            if item["keyId"] == kid:
                return keys.public(item)
        raise not_found(kid, "hookKey")

    def list_secrets(self, app: str):
        self.state.apps.get(app)
        return jsonify(self.state.apps.secrets[app])

    def make_secret(self, app: str):
        return self.state.apps.add_secret(app), 201

    def revoke_token(self):
        return "", 204

    def execute(self, hook: str):
        """Do what Okta does: get the token, send the request, give back the answer."""
        item = self.state.inline_hooks.get(hook)
        kind, uri = KINDS.get(item["type"], "inline"), item["channel"]["config"]["uri"]
        answer = client.send(
            uri, body_of_request(), kind=kind, credentials=self._credentials_of(item)
        )
        if answer.no_token:
            raise invalid("inlineHook", str(answer.error))
        if answer.timed_out:
            raise Refusal(504, "E0000137", "There was no response from the inline hook.")
        if answer.status is None:
            raise Refusal(502, "E0000134", "Okta could not connect to the inline hook.")
        if answer.status not in (200, 204):
            summary = "The inline hook returned an error."
            raise Refusal(400, "E0000135", summary, f"HTTP status {answer.status}")
        return Response(answer.body, answer.status, content_type="application/json")

    def verify(self, hook: str):
        """Do Okta's one-time check: a GET, and one more attempt."""
        item = self.state.event_hooks.get(hook)
        config, challenge = item["channel"]["config"], secrets.token_urlsafe(24)
        for _ in range(2):
            answer = client.verify(config["uri"], challenge, credentials=self._credentials_of(item))
            if answer.status == 200 and answer.json == {"verification": challenge}:
                item["verificationStatus"] = "VERIFIED"
                return self.state.event_hooks.shown(item)
        cause = "Unable to verify event hook. Hook events execution failed"
        raise invalid("eventHook", cause)

    def _credentials_of(self, hook: Json) -> client.Credentials:
        config, scheme = hook["channel"]["config"], member(hook, "channel.config.authScheme")
        if hook["channel"]["type"] == "OAUTH":
            target = (config.get("tokenUrl"), config.get("clientId"))
            if config.get("authType") == "private_key_jwt":
                key = self.state.hook_keys.private[config["hookKeyId"]]
                return client.private_key(*target, key, config.get("scope"))
            secret = config.get("clientSecret")
            return client.client_secret(*target, secret, config.get("scope"))
        if not scheme or scheme["key"].lower() != "authorization":
            return client.no_credentials
        return lambda deadline: scheme["value"]


def body_of_request() -> Json:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise Refusal(400, "E0000003", "The request body was not well-formed.")
    return body


def refuse(error: Refusal):
    causes = [{"errorSummary": cause} for cause in error.causes]
    return {
        "errorCode": error.code,
        "errorSummary": error.summary,
        "errorLink": error.code,
        "errorId": f"oae{secrets.token_hex(8)}",
        "errorCauses": causes,
    }, error.status
