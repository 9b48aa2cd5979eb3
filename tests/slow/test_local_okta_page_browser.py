"""The page of the local Okta as a user sees it, in a real Chromium."""

import re

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright
from werkzeug import Response

from local_okta import samples
from local_okta.authorization_server import LocalOkta
from local_okta.page_requests import AUTHENTICATIONS
from local_okta.samples import SAMPLES
from tests.support.gunicorn import (
    BASIC_PAIR,
    INLINE_HOOK,
    Service,
    free_port,
    oauth_settings,
    serving,
)
from tests.support.page import installed_browser, served_page

BROWSER = installed_browser()
if BROWSER is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

expect.set_options(timeout=30_000)
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 800}
EVENT_PATHS = {sample.path for sample in SAMPLES.values() if sample.kind == "event"}
DENIED = SAMPLES.get("registration-self-service-denied")
SENTENCE = f"Okta {INLINE_HOOK.expected or ''}"

# What a service with AUTH_MODE=oauth answers to a request to the token hook: the status, what is
# wrong in the token, and where the request ends.
OUTCOMES = {
    "Basic": (401, [], "Guard"),
    "Client secret": (200, [], "Hook"),
    "Private key": (200, [], "Hook"),
    "None": (401, [], "Guard"),
    "Wrong password": (401, [], "Guard"),
    "Expired token": (401, ["exp"], "Guard"),
    "Wrong audience": (401, ["aud"], "Guard"),
    "Wrong client": (401, ["cid"], "Guard"),
    "Missing scope": (403, ["scp"], "Guard"),
    "Foreign key": (401, ["signature"], "Guard"),
    "Tampered token": (401, ["signature"], "Guard"),
    "Unsigned token": (401, ["alg", "signature"], "Guard"),
}


@pytest.fixture(scope="module")
def okta():
    return LocalOkta()


@pytest.fixture(scope="module")
def address(okta):
    with served_page(okta) as url:
        yield url


@pytest.fixture(scope="module")
def service(okta, address, tmp_path_factory):
    settings = oauth_settings(okta, TELEPHONY_PROVIDER="console")
    with Service(settings, tmp_path_factory.mktemp("service") / "log") as service:
        yield service


@pytest.fixture(scope="module")
def complaints():
    """The messages in the page's console, and its requests to other hosts."""
    return []


@pytest.fixture(scope="module")
def tab(address, complaints):
    """One tab for all tests: opening one takes longer than loading the page."""

    def note_elsewhere(request):
        if not request.url.startswith(f"{address}/"):
            complaints.append(f"requested {request.url}")

    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=BROWSER) as browser,
    ):
        tab = browser.new_page()
        tab.on("request", note_elsewhere)
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        yield tab


@pytest.fixture
def page(tab, address, service, complaints):
    complaints.clear()
    tab.set_viewport_size(WIDE)
    tab.emulate_media(color_scheme="light")
    tab.goto(f"{address}/")
    tab.get_by_label("Service").fill(service.url)
    yield tab
    requests.post(f"{address}/page/issuer", json={"mode": "answers"}, timeout=30)
    assert complaints == []


def region(page, name):
    return page.get_by_role("region", name=name, exact=True)


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def send(page, hook=INLINE_HOOK.name, authentication="Client secret"):
    page.get_by_label("Hook").select_option(hook)
    page.get_by_label("Authentication").select_option(authentication)
    press(page, "Send")


def make_issuer(page, mode):
    page.get_by_label("Issuer").select_option(mode)
    expect(region(page, "Activity")).to_contain_text(f"issuer✕{mode}")


def verdict(page):
    return region(page, "What Okta would do")


def steps(page):
    return region(page, "Steps").get_by_role("listitem")


def test_a_sample_that_broke_after_the_start_is_named(page, complaints, tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "_FOLDER", tmp_path)
    page.reload()
    message = f"local_okta/samples/{next(iter(SAMPLES))}.json does not exist"
    expect(page.locator("#banner")).to_contain_text(message)
    # The console may say so too.
    complaints.clear()


def test_request_response_and_steps_are_shown(page, service):
    send(page)
    expect(verdict(page)).to_contain_text(f"✓{SENTENCE}")
    expect(region(page, "Sent")).to_contain_text(f"POST {service.url}{INLINE_HOOK.path}")
    expect(region(page, "Response")).to_contain_text("Content-Type: application/json")
    expect(region(page, "Response")).to_contain_text('"commands": [')
    for column in ("Okta", "Token endpoint", "Guard", "Hook"):
        expect(region(page, "Steps").get_by_text(column, exact=True)).to_be_visible()
    expect(steps(page)).to_have_count(5)
    expect(steps(page).nth(1)).to_contain_text(re.compile(r"access token, after \d+ ms"))
    expect(steps(page).nth(4)).to_contain_text(re.compile(r"hook answers 200 OK, after \d+ ms"))


def test_each_authentication_ends_where_it_should(page):
    assert list(OUTCOMES) == list(AUTHENTICATIONS)
    for authentication, (status, wrong, end) in OUTCOMES.items():
        send(page, authentication=authentication)
        expect(region(page, "Response")).to_contain_text(f"{status} ")
        found = region(page, "Token").locator("tr.wrong th").all_inner_texts()
        assert (authentication, found) == (authentication, wrong)
        last = "The hook answers" if end == "Hook" else "The guard refuses it"
        expect(steps(page).last).to_contain_text(last)
        good = "good" if end == "Hook" else "bad"
        expect(verdict(page).locator(".sentence")).to_have_class(re.compile(good))
    expect(verdict(page)).to_contain_text("The answer says no more than “Unauthorized”")


def test_the_service_keeps_working_after_a_key_rotation_and_while_the_issuer_is_down(page):
    send(page)
    activity = region(page, "Activity").get_by_role("listitem")
    expect(activity.first).to_contain_text("sent")
    requested = activity.filter(has_text="keys requested")
    before = requested.count()
    press(page, "Rotate keys")
    expect(requested).to_have_count(before + 1)
    expect(verdict(page)).to_contain_text(f"✓{SENTENCE}")
    make_issuer(page, "down")
    press(page, "Send")
    expect(steps(page).first).to_contain_text("this page signs a token itself")
    expect(verdict(page)).to_contain_text("Okta itself would send nothing now")
    expect(verdict(page)).to_contain_text(f"✓{SENTENCE}")


def test_secrets_are_shown_only_on_request(page):
    for authentication, shape in (
        ("Basic", "Basic [A-Za-z0-9+/]{8}"),
        ("Private key", "Bearer ey"),
    ):
        send(page, authentication=authentication)
        sent, secret = region(page, "Sent"), re.compile(shape)
        expect(sent).to_contain_text(f"Authorization: {shape.split()[0]} ••••••••")
        assert not secret.search(page.content())
        assert BASIC_PAIR[1] not in page.content()
        press(page, "Show secrets")
        expect(sent).to_contain_text(secret)
        press(page, "Hide secrets")
        expect(sent).not_to_contain_text(secret)


def test_send_all_and_verify_fill_a_table_and_a_row_shows_its_request(page, service):
    rows, count = region(page, "Results").get_by_role("row"), len(SAMPLES)
    press(page, "Verify event hooks")
    for path in EVENT_PATHS:
        expect(rows.filter(has_text=path)).to_contain_text("Okta verifies the hook.")
        expect(region(page, "Activity")).to_contain_text(f"sent challenge to {path}")
    page.get_by_label("Authentication").select_option("Client secret")
    press(page, "Send all")
    expect(page.get_by_text(f"Okta can use {count} of {count} answers.")).to_be_visible()
    expect(rows).to_have_count(count + 1)
    for row, sample in zip(rows.all()[1:], SAMPLES.values(), strict=True):
        text = row.inner_text()
        assert text.startswith(sample.name)
        assert ("Basic" in text) is (sample.kind == "event")
    press(page, sample.name)
    expect(region(page, "Sent")).to_contain_text(f"POST {service.url}{sample.path}")


@pytest.mark.parametrize("event", [each for each in SAMPLES.values() if each.kind == "event"][:1])
def test_authentication_follows_the_hook_until_the_user_chooses(page, event):
    authentication = page.get_by_label("Authentication")

    def expect_of(hook, value):
        page.get_by_label("Hook").select_option(hook.name)
        expect(authentication).to_have_value(value)

    expect_of(event, "Basic")
    expect_of(INLINE_HOOK, "Client secret")
    authentication.select_option("Unsigned token")
    expect_of(event, "Basic")
    expect_of(INLINE_HOOK, "Unsigned token")
    authentication.select_option("Wrong password")
    expect_of(event, "Wrong password")
    # Choosing what the hook gets anyway takes the earlier choice back.
    authentication.select_option("Basic")
    expect_of(INLINE_HOOK, "Client secret")
    expect_of(event, "Basic")
    press(page, "Send all")
    count = len(SAMPLES)
    expect(page.get_by_text(f"Okta can use {count} of {count} answers.")).to_be_visible()


def test_the_path_can_be_edited(page, service):
    page.get_by_label("Hook").select_option(INLINE_HOOK.name)
    page.get_by_label("Path").fill("/my hook")
    press(page, "Send")
    expect(region(page, "Sent")).to_contain_text(f"POST {service.url}/my%20hook")
    expect(steps(page).last).to_contain_text("There is no hook at this path: 404")


def test_on_a_narrow_screen_the_results_are_a_list_below_their_summary(page):
    page.set_viewport_size(NARROW)
    press(page, "Send all")
    results = region(page, "Results")
    summary = results.get_by_text("Okta can use")
    expect(summary).to_be_visible()
    rows = results.get_by_role("row").all()
    assert len(rows) == len(SAMPLES)
    assert summary.bounding_box()["y"] < rows[0].bounding_box()["y"]
    for row in rows:
        whole = row.bounding_box()
        name, outcome = row.get_by_role("rowheader"), row.get_by_role("cell").last
        assert name.bounding_box()["width"] == outcome.bounding_box()["width"] == whole["width"]
        # The name is on one line.
        assert name.bounding_box()["height"] < 30


def test_bad_input_is_explained_beside_its_field(page):
    request, address = page.get_by_label("Request"), page.get_by_label("Service")
    request.fill('{\n  "a": 1\n  "b": 2}')
    press(page, "Send")
    expect(request).to_have_accessible_description(re.compile("line 3, column 3"))
    expect(request).to_have_attribute("aria-invalid", "true")
    expect(request).to_be_focused()
    lines = "\n" * 300
    request.fill(f'{{"😀": 1,\n{lines}"a" 1{lines}}}')
    press(page, "Send")
    expect(request).to_have_accessible_description(re.compile("line 302, column 5"))
    selected = "box.value.slice(box.selectionStart, box.selectionEnd)"
    assert request.evaluate(f"box => {selected}") == "1"
    line_above = "box => box.scrollTop / parseFloat(getComputedStyle(box).lineHeight)"
    assert round(request.evaluate(line_above)) == 299
    page.get_by_label("Hook").select_option(INLINE_HOOK.name)
    expect(request).not_to_have_attribute("aria-invalid", "true")
    address.fill("127.0.0.1:5000")
    press(page, "Send")
    expect(address).to_have_accessible_description(re.compile("is not an address"))
    address.fill(f"http://127.0.0.1:{free_port()}")
    press(page, "Send")
    expect(address).to_have_accessible_description(re.compile("Start it: make run"))
    expect(steps(page).last).to_contain_text("There is no connection")
    expect(region(page, "Sent")).to_contain_text("Nothing was sent: there was no connection")
    page.get_by_label("Path").fill("myHook")
    press(page, "Send")
    expect(page.get_by_label("Path")).to_have_accessible_description(re.compile("not a path"))


def test_a_token_that_comes_too_late_takes_up_the_three_seconds(page):
    make_issuer(page, "slow")
    send(page)
    last = steps(page).last
    expect(last).to_contain_text("Okta gives up: 3 seconds have passed, and there is no token")
    expect(last).to_have_class("silent")
    expect(region(page, "Sent")).to_have_text(
        re.compile("Nothing was sent: Okta waited 3 seconds for its access token.")
    )
    expect(region(page, "Sent")).not_to_contain_text("POST")
    expect(region(page, "Activity")).to_contain_text(f"not sent to {INLINE_HOOK.path}")


def test_what_is_sent_and_what_comes_back_are_shown_as_text(page):
    image = "<img src=x onerror=alert(1)>"
    with serving(Response(image)) as url:
        page.get_by_label("Service").fill(url)
        page.get_by_label("Request").fill(f'{{"a": "{image}"}}')
        press(page, "Send")
        expect(region(page, "Sent")).to_contain_text(image)
        expect(region(page, "Response")).to_contain_text(image)
    assert page.locator("main img").count() == 0


def test_the_page_can_be_used_with_only_the_keyboard(page):
    page.get_by_label("Hook").focus()
    page.keyboard.type(INLINE_HOOK.name)
    page.get_by_label("Request").focus()
    page.keyboard.press("Control+Enter")
    expect(verdict(page)).to_contain_text(SENTENCE)
    page.get_by_label("Issuer").focus()
    focused = "document.activeElement"
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(f"{focused}.id + getComputedStyle({focused}).outlineStyle"))
    names = ["rotate", "hook", "send-all", "verify", "authentication", "service", "path", "send"]
    names += ["request", "secrets", "response", "token", "activity"]
    assert {f"{name}solid" for name in names} <= reached


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)])
def test_the_page_fits_the_screen_and_is_accessible(page, scheme, viewport):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(viewport)
    send(page, authentication="Expired token")
    expect(verdict(page).locator(".sentence")).to_be_visible()
    root = "document.documentElement"
    width, height = page.evaluate(f"[{root}.scrollWidth, {root}.scrollHeight]")
    assert width == viewport["width"]
    assert viewport is NARROW or height == viewport["height"]
    assert violations(page) == []
    if DENIED:
        send(page, DENIED.name)
        email = DENIED.payload["data"]["userProfile"]["email"]
        expect(verdict(page).locator(".sign-up")).to_contain_text(email)
        assert violations(page) == []
    press(page, "Verify event hooks")
    if EVENT_PATHS:
        verified = region(page, "Results").get_by_text("Okta verifies the hook.")
        expect(verified.first).to_be_visible()
    assert page.evaluate(f"{root}.scrollWidth") == viewport["width"]
    assert violations(page) == []


def violations(page) -> list[str]:
    return [
        f"{violation['id']}: {violation['nodes'][0]['html']}"
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
