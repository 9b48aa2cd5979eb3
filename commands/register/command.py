"""`flask okta register`: the options, the question, and the order of it all."""

import sys
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import click
from flask import current_app
from flask.cli import with_appcontext

from commands.terminal import say

from .client import Json, Okta, OktaError, path_of
from .hooks import hooks_of
from .inputs import (
    NAME,
    WrongInput,
    at_terminal,
    authorization,
    checked_url,
    choices_of,
    org_of,
)
from .oauth import METHOD, App
from .plan import IN_THE_WAY, TO_DO, Choices, Step, apply, check_server, plan, removal, wanted
from .resources import InTheWay, Org, member
from .screen import Screen
from .trial import notes, settings_lines, try_out

SOMETHING_TO_DO = 2
DONE = {"create": "created", "change": "changed", "activate": "activated", "remove": "removed"}


@click.command("register", short_help="Register the hooks in your Okta org.")
@click.option("--url", help="Where Okta reaches the service: https://hooks.example.com")
@click.option("--plan", "only_plan", is_flag=True, help="Show what is to be done, and do nothing.")
@click.option("--remove", is_flag=True, help="Remove what this command has made.")
@click.option("--name", default=NAME, show_default=True, help="What all names in Okta begin with.")
@click.option("--hooks", metavar="NAME,…", help="Only these, such as token,saml.")
@click.option(
    "--auth",
    type=click.Choice(["basic", "client-secret", "private-key"]),
    help="How inline hooks authenticate. By default as AUTH_MODE says; with oauth as they do "
    "already, or private-key.",
)
@click.option("--secrets", is_flag=True, help="Write passwords and client secrets again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_appcontext
def register_command(**options: Any) -> None:
    """Make in your Okta org what the hooks of this service need.

    That is the hooks themselves and, unless they use HTTP Basic, an app, a scope, and a policy with
    a rule. Shows what is to be done, asks, does it, and lets Okta send a sample request to each
    hook. What is as it should be stays as it is: a second run changes nothing, and a run after an
    error goes on where that one stopped.

    OKTA_ISSUER says which org. The API token is asked for, or taken from OKTA_API_TOKEN (or
    OKTA_ACCESS_TOKEN) in the environment. It is kept nowhere.

    Okta uses a telephony hook at once, so it is registered only if --hooks names it.

    The exit status is 1 after an error, and 2 if there is something to do that was not done.
    """
    if error := current_app.config["SETTINGS_ERROR"]:
        raise error
    if not options["url"] and not options["remove"]:
        raise WrongInput("--url is missing: where does Okta reach the service?")
    run = Run(options)
    try:
        sys.exit(run.remove() if options["remove"] else run.register())
    except (OktaError, InTheWay) as problem:
        raise click.ClickException(run.okta.harmless_lines(str(problem))) from None


class Run:
    """One run of the command. `register()` and `remove()` return the exit status."""

    def __init__(self, options: dict[str, Any]):
        self.options, self.settings = options, current_app.config["SETTINGS"]
        address = org_of(self.settings)
        paths = [hook.path for hook in hooks_of(current_app)]
        self.url = checked_url(options["url"], address, paths) if options["url"] else ""
        # What is wrong with the input is said before the token is asked for.
        self.choices = self._choices(self._first_auth())
        header, self.typed_in = authorization(address)
        self.okta = Okta(address, header, notify=say)
        for secret in filter(None, (self.settings.basic_auth_password, self.choices.header)):
            self.okta.conceal(secret.removeprefix("Basic "))
        self.org, self.screen = Org(self.okta), Screen(self.okta)

    def register(self) -> int:
        # A sample that cannot be read ends the command before anything is sent.
        payloads: dict[str, Json] = {}
        for sample in click.get_current_context().meta["local_okta.samples"]:
            payloads.setdefault(sample.path, sample.payload)
        self._show_org()
        if self.choices.auth != "basic":
            server = check_server(self.org, self.choices)
            self.screen.say(f"Server  {server}  {self.choices.issuer}")
            if not self.options["auth"]:
                self.choices = self._choices(self._auth_of_app())
        resources = wanted(self.org, self.choices)
        steps = plan(resources, self.choices)
        self.screen.plan(steps)
        for note in notes(self.settings, self.choices, resources):
            self.screen.say(f"Note: {note}\n", fg="yellow")
        if not self._may_go_on(steps):
            return SOMETHING_TO_DO
        if self.options["only_plan"]:
            return 0
        self._do(steps)
        good = try_out(resources, payloads, self.screen)
        self.screen.say("\nThe service needs these settings:\n")
        self.screen.say("\n".join(settings_lines(self.choices, resources)))
        self._offer_to_revoke()
        return 0 if good else 1

    def remove(self) -> int:
        self._show_org()
        steps = removal(wanted(self.org, self.choices), self.choices)
        self.screen.plan(steps)
        if not steps:
            self.screen.say(f"There is nothing with the name {self.choices.prefix}.")
            return 0
        self.screen.say("Note: whether apps and policies use a hook cannot be seen from here.\n")
        if not self._may_go_on(steps):
            return SOMETHING_TO_DO
        self._do(steps)
        self._offer_to_revoke()
        return 0

    def _choices(self, auth: str) -> Choices:
        return choices_of(
            current_app,
            self.settings,
            url=self.url,
            name=self.options["name"],
            hooks=self.options["hooks"],
            auth=auth,
            rewrite_secrets=self.options["secrets"],
            remove=self.options["remove"],
        )

    def _first_auth(self) -> str:
        """As far as it is known without asking Okta. With private-key, everything is removed."""
        auth = self.options["auth"]
        if not self.options["remove"]:
            return auth or ("basic" if self.settings.auth_mode == "basic" else "private-key")
        only_hooks = self.options["hooks"] or auth == "basic"
        has_server = "/oauth2/" in self.settings.okta_issuer
        return "private-key" if has_server and not only_hooks else "basic"

    def _auth_of_app(self) -> str:
        app = App(self.org, self.choices.prefix, self.choices.client_ids, None)
        app.find()
        has_secret = app.item and member(app.item, METHOD) != "private_key_jwt"
        return "client-secret" if has_secret else "private-key"

    def _show_org(self) -> None:
        organization = self.okta.organization()
        address = member(organization, "_links.organization.href") or self.okta.org
        self.screen.say(f"Org     {organization.get('id')}  {address}")

    def _may_go_on(self, steps: list[Step]) -> bool:
        """Ask, if there is something to do. Raises OktaError if something is in the way."""
        if any(step.action == IN_THE_WAY for step in steps):
            raise OktaError("Nothing was changed, since something is in the way")
        counts = Counter(step.action for step in steps if step.action in TO_DO)
        if not counts or (self.options["yes"] and not self.options["only_plan"]):
            return True
        if self.options["only_plan"]:
            return False
        if not at_terminal():
            say("Nothing was changed, since there is no terminal to ask at. --yes does it.")
            return False
        what = ", ".join(f"{action} {count}" for action, count in counts.items()).capitalize()
        if click.confirm(f"{what} in {urlsplit(self.okta.org).netloc}?"):
            return True
        say("Nothing was changed.")
        return False

    def _do(self, steps: list[Step]) -> None:
        to_do = [step for step in steps if step.action in DONE]
        done = 0
        try:
            for step in to_do:
                apply(step)
                thing = step.resource
                detail = thing.name if step.action == "remove" else thing.detail
                self.screen.line(DONE[step.action], "green", thing.what, detail)
                done += 1
            if done:
                say()
        except (OktaError, InTheWay, KeyboardInterrupt):
            say(f"\n{done} of {len(to_do)} steps are done. The same command goes on from there.")
            raise

    def _offer_to_revoke(self) -> None:
        """Only a token that was made for this run, and typed in."""
        if self.typed_in and at_terminal() and click.confirm("\nRevoke the API token now?"):
            self.okta.delete(path_of("api-tokens", "current"))
            say("The API token is revoked.")
