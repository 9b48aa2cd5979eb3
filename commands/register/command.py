"""`flask okta register`: the options, the question, and the order of it all."""

import sys
import textwrap
from collections import Counter
from typing import Any
from urllib.parse import urljoin, urlsplit

import click
import requests
from flask import current_app
from flask.cli import with_appcontext
from urllib3.exceptions import HTTPError

from auth.keys import session_for
from commands.terminal import say
from logs import places_of

from .client import API, Json, Okta, OktaError
from .inputs import WrongInput, at_terminal, authorization, choices_of, encoded_pair
from .plan import AS_IT_SHOULD_BE, IN_THE_WAY, Resource, Step, member, plan, removal
from .wanted import (
    OTHER_NAME,
    VERIFIED_EARLIER,
    App,
    HookInOkta,
    wanted,
    with_authentication_of_app,
)

SOMETHING_TO_DO = 2
DONE = {"create": "created", "change": "changed", "activate": "activated", "remove": "removed"}
TO_DO = {*DONE, "verify"}
COLOURS = {IN_THE_WAY: "red", "remove": "red", "failed": "red"} | dict.fromkeys(TO_DO, "yellow")
SECONDS = 5
# What an answer raises that has a list or null where an object should be, and the like.
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
WHAT_TO_DO = (
    "after a 404, or if nothing answers, check --url. If the service's log has a 401 or 403 for a "
    "hook, the service runs with other settings, or Okta has an old secret. Compare the settings, "
    "restart the service, and run this command again. With --secrets, it writes passwords and "
    "client secrets into the hooks again."
)


@click.command("register", short_help="Register the hooks in your Okta org.")
@click.option("--url", help="Where Okta reaches the service: https://hooks.example.com")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--remove", is_flag=True, help="Remove what this command has created.")
@click.option("--name", default="Flask hooks", show_default=True, help="The prefix of all names.")
@click.option("--hooks", metavar="NAME,…", help="Only these, such as token,saml.")
@click.option(
    "--auth",
    type=click.Choice(["basic", "client-secret", "private-key"]),
    help="How inline hooks authenticate. By default as AUTH_MODE and the app in Okta say.",
)
@click.option("--secrets", is_flag=True, help="Write passwords and client secrets again.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_appcontext
def register_command(**options: Any) -> None:
    """Create in your Okta org what the hooks of this service need.

    Shows what it is going to do, asks you to confirm, does it, and lets Okta send a sample request
    to each hook. A second run changes only what differs. After an error, the next run continues
    where this one stopped.

    OKTA_ISSUER says which org. The API token is asked for, or read from OKTA_API_TOKEN (or
    OKTA_ACCESS_TOKEN) in the environment. It is not stored.

    Okta uses a telephony hook at once, so it is registered only if --hooks names it.

    The exit status is 1 after an error, and 2 if there is something to do that was not done.
    """
    if error := current_app.config["SETTINGS_ERROR"]:
        raise error
    if not options["url"] and not options["remove"]:
        raise WrongInput("--url is missing: where does Okta reach the service?")
    run = Run(options)
    try:
        sys.exit(run.execute())
    except OktaError as error:
        raise click.ClickException(run.okta.harmless(str(error))) from None
    except MALFORMED as error:
        # Not its message, which may quote a secret.
        where = f"{type(error).__name__} at {places_of(error)}"
        raise click.ClickException(f"An answer is not in Okta's format: {where}") from None


class Run:
    """One run of the command."""

    def __init__(self, options: dict[str, Any]):
        self.options, self.choices = options, choices_of(current_app, options)
        self.settings = self.choices.settings
        self.payloads: dict[str, Json] = {}
        if not options["remove"]:
            # A sample that cannot be read ends the command here, before anything is sent.
            for sample in click.get_current_context().meta["local_okta.samples"]:
                self.payloads.setdefault(sample.path, sample.payload)
        address = urljoin(self.settings.okta_issuer, "/").rstrip("/")
        header, self.typed_in = authorization(address)
        self.okta = Okta(address, header)
        if password := self.settings.basic_auth_password:
            self.okta.conceal(password)
            self.okta.conceal(encoded_pair(self.settings))

    def execute(self) -> int:
        """Returns the exit status. Raises OktaError."""
        organization = self.okta.organization()
        address = member(organization, "_links.organization.href") or self.okta.org
        self._say(f"Org     {organization.get('id')}  {address}")
        status = self._remove() if self.options["remove"] else self._register()
        is_over = status != SOMETHING_TO_DO and not self.options["only_plan"]
        # Only a token that was made for this run.
        if is_over and self.typed_in and click.confirm("\nRevoke the API token now?"):
            self.okta.call("DELETE", f"{API}/api-tokens/current")
            say("The API token is revoked.")
        return status

    def _register(self) -> int:
        if self.choices.auth != "basic":
            self._check_server()
            if self.options["auth"] is None:
                self.choices = with_authentication_of_app(self.okta, self.choices)
        app, resources = wanted(self.okta, self.choices)
        steps = list(plan(resources, rewrite_secrets=self.options["secrets"]))
        self._show(steps)
        self._note_hooks_without_code(resources)
        if app and all(
            step.action == OTHER_NAME for step in steps if is_inline_hook(step.resource)
        ):
            say()
            raise OktaError(
                "Nothing was changed: each of these hooks is there already, under another name"
            )
        if self.settings.event_hooks_are_off:
            missing = "BASIC_AUTH_USER and BASIC_AUTH_PASSWORD are not set"
            self._note(f"event hooks are left out: {missing}.")
        may_work = self._try_service(resources)
        self._note_another_client_id(app)
        is_attended = at_terminal() and not self.options["yes"]
        if not (may_work or is_attended or self.options["only_plan"]):
            self._refuse_to_move(steps)
        if not self._may_do(steps):
            return SOMETHING_TO_DO
        if self.options["only_plan"]:
            return 0
        self._do(steps)
        works = self._try_out(resources)
        if any(map(is_inline_hook, resources)):
            self._show_settings(app)
        return 0 if works else 1

    def _remove(self) -> int:
        _, resources = wanted(self.okta, self.choices)
        steps = removal(resources)
        self._show(steps)
        self._note_hooks_without_code(resources)
        if steps or not self.options["hooks"]:
            self._note(
                "this command cannot see whether apps and policies use a hook. A telephony hook is "
                "removed only by name, with --hooks."
            )
        if not self._may_do(steps):
            return SOMETHING_TO_DO
        self._do(steps)
        return 0

    def _say(self, text: str, **style: Any) -> None:
        say(self.okta.harmless(text), **style)

    def _line(self, action: str, what: str, detail: str) -> None:
        """Print one aligned line."""
        action = click.style(f"{action:<10}", fg=COLOURS.get(action, "green"))
        detail = self.okta.harmless(detail).replace("\n", f"\n{'':36}")
        say(f"  {action}  {what:<20}  {detail}")

    def _check_server(self) -> None:
        """Raises OktaError if it is not the one that is meant."""
        server = self.okta.call("GET", self.choices.server)
        expected = {
            "status": "ACTIVE",
            "issuer": self.settings.okta_issuer,
            "audiences": [self.settings.okta_audience],
        }
        for name, value in expected.items():
            if server.get(name) != value:
                raise OktaError(
                    f"The authorization server has the {name} {server.get(name)}, not {value}. "
                    "This command changes no server: correct .env, and restart the service"
                )
        self._say(f"Server  {server.get('name')}  {self.settings.okta_issuer}")

    def _show(self, steps: list[Step]) -> None:
        say()
        for action, resource, detail in steps:
            which = ""
            if action == "change" and isinstance(resource, HookInOkta):
                which = f"{resource.hook.path}  "
            if action != AS_IT_SHOULD_BE:
                self._line(action, resource.what, which + detail)
        if good := sum(action == AS_IT_SHOULD_BE for action, _, _ in steps):
            others = "1 other" if good == 1 else f"{good} others"
            count = others if good < len(steps) else f"all {good}"
            say(f"  {AS_IT_SHOULD_BE:<32}  {count}, as far as Okta shows it")
        elif not steps:
            say("There is nothing to remove.")

    def _note(self, text: str) -> None:
        folded = textwrap.fill(f"Note: {text}", 80, break_long_words=False, break_on_hyphens=False)
        self._say(f"\n{folded}", fg="yellow")

    def _try_service(self, resources: list[Resource]) -> bool:
        """Send the service a request without credentials, and print a note on a wrong answer.

        Returns whether the hooks may work, as far as this machine can see.
        """
        hooks = [each for each in resources if isinstance(each, HookInOkta)]
        if not hooks:
            return True
        # An inline hook, if there is one: it shows which authentication the service expects.
        hook = min(hooks, key=lambda each: each.hook.is_event)
        scheme, url = "Bearer" if hook.app else "Basic", hook.uri
        try:
            with session_for(url) as session:
                answer = session.get(url, timeout=SECONDS, allow_redirects=False)
            asked = answer.headers.get("WWW-Authenticate", "").partition(" ")[0]
            found = f"{answer.status_code} {asked}".strip()
            if found == f"401 {scheme}":
                return True
            # A proxy may refuse this request, but not Okta's.
            may_work = answer.status_code in (403, 405)
            found = f"answers with {found}, not 401 {scheme}"
        except (requests.RequestException, HTTPError) as error:
            may_work, found = False, f"does not answer ({type(error).__name__})"
        needed = f"AUTH_MODE={'basic' if scheme == 'Basic' else 'oauth'}"
        if hook.hook.is_event:
            needed = "the same BASIC_AUTH_USER and BASIC_AUTH_PASSWORD"
        self._note(
            f"from here, {url} {found}. The hooks will fail until the service runs there with "
            f"{needed}."
        )
        return may_work

    @staticmethod
    def _refuse_to_move(steps: list[Step]) -> None:
        """Raises OktaError if hooks that may work now would be changed."""
        if any(step.action == "change" and isinstance(step.resource, HookInOkta) for step in steps):
            say()
            raise OktaError(
                "Nothing was changed: the hooks may be working now, and would fail after this "
                "change. Check --url and AUTH_MODE, or run it at a terminal without --yes"
            )

    def _note_hooks_without_code(self, resources: list[Resource]) -> None:
        """Note hooks that this command created earlier, for paths that the service had then."""
        start = self.choices.name_of("")
        known = [self.choices.name_of(rule.rule) for rule in current_app.url_map.iter_rules()]
        hooks = [each for each in resources if isinstance(each, HookInOkta)]
        for collection in dict.fromkeys(hook.collection for hook in hooks):
            for item in self.okta.objects(collection):
                name = str(item.get("name"))
                # With another colon, it belongs to a deployment with a longer name.
                is_ours = name.startswith(start) and ":" not in name.removeprefix(start)
                if is_ours and name not in known:
                    self._note(
                        f"“{name}” is in Okta, but this service has no such hook. Remove it in the "
                        "Admin Console, if nothing uses it."
                    )

    def _note_another_client_id(self, app: App | None) -> None:
        client_ids = self.settings.okta_client_id
        if app and client_ids and app.client_id not in client_ids:
            self._note(
                f"the service accepts only OKTA_CLIENT_ID={','.join(sorted(client_ids))}. It "
                "refuses this app until you set the ID that is printed at the end."
            )

    def _may_do(self, steps: list[Step]) -> bool:
        """Ask, if there is something to do. Raises OktaError if something is in the way."""
        if any(step.action == IN_THE_WAY for step in steps):
            say()
            raise OktaError("Nothing was changed, since something is in the way")
        counts = Counter(action for action, _, _ in steps if action in TO_DO)
        if self.options["only_plan"] or not counts:
            return not counts
        if self.options["yes"]:
            return True
        if not at_terminal():
            say("\nNothing was changed, since there is no terminal to ask at. Use --yes.")
            return False
        what = ", ".join(f"{action} {count}" for action, count in counts.items()).capitalize()
        return click.confirm(f"\n{what} in {urlsplit(self.okta.org).netloc}?")

    def _do(self, steps: list[Step]) -> None:
        steps = [step for step in steps if step.action in DONE]
        if steps:
            say()
        for number, (action, resource, _) in enumerate(steps):
            try:
                getattr(resource, action)()
            except BaseException:
                done = f"{number} of {len(steps)} steps are done"
                say(f"\n{done}. The same command continues from there.")
                raise
            name = resource.name if action == "remove" else resource.detail
            self._line(DONE[action], resource.what, name)

    def _try_out(self, resources: list[Resource]) -> bool:
        """Let Okta test the hooks: only that shows whether the secrets that it has are right."""
        works = True
        say("\nOkta tries the hooks:\n")
        for hook in resources:
            if isinstance(hook, HookInOkta):
                try:
                    outcome = hook.try_out(self.payloads)
                    action = "not tried" if outcome == VERIFIED_EARLIER else "works"
                    if outcome:
                        self._line(action, hook.what, f"{hook.detail}  {outcome}")
                except OktaError as error:
                    self._line("failed", hook.what, f"{hook.detail}\n{error}")
                    works = False
        if not works:
            self._note(WHAT_TO_DO)
        return works

    def _show_settings(self, app: App | None) -> None:
        self._say("\nThe service needs these settings:\n")
        self._say(f"AUTH_MODE={'oauth' if app else 'basic'}")
        if app:
            self._say(f"OKTA_ISSUER={self.settings.okta_issuer}")
            self._say(f"OKTA_AUDIENCE={self.settings.okta_audience}")
            # Keep the other clients of a list that has this one.
            known = self.settings.okta_client_id
            client_ids = known if app.client_id in known else {app.client_id}
            self._say(f"OKTA_CLIENT_ID={','.join(sorted(client_ids))}")
            self._say(f"OKTA_SCOPE={self.choices.scope}")


def is_inline_hook(resource: Resource) -> bool:
    return isinstance(resource, HookInOkta) and not resource.hook.is_event
