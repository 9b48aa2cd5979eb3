"""The page of the local Okta as its reader sees it, in a real Chromium."""

import re

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from local_okta.authorization_server import LocalOkta
from local_okta.endpoints import KEY_ROTATION
from local_okta.page_requests import AUTHENTICATIONS
from local_okta.samples import SAMPLES
from tests.page import (
    HOOK,
    basic_settings_of_page,
    oauth_settings_of_page,
    served_page,
    silent_server,
)
from tests.service import BASIC_PAIR, Service, basic_settings, free_port, oauth_settings
from tools import chromium

BROWSER = chromium.find()
if BROWSER is None:
    pytest.skip("no Chromium is installed to look at the page with", allow_module_level=True)

expect.set_options(timeout=30_000)
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 380, "height": 800}
EVENT_PATHS = {sample.path for sample in SAMPLES.values() if sample.kind == "event"}
SIGN_UP, DENIED = (SAMPLES.get(f"registration-self-service{denied}") for denied in ("", "-denied"))

SENTENCE = f"Okta {HOOK.expected or ''}"

# What the service with AUTH_MODE=oauth answers to the token hook: status, what is wrong in the
# token, where the way ends.
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
def browser():
    with sync_playwright() as playwright, chromium.launch(playwright, BROWSER) as browser:
        yield browser.new_context()


@pytest.fixture(scope="module")
def okta():
    return LocalOkta(port=free_port())


@pytest.fixture(scope="module")
def address(okta):
    with served_page(okta, **oauth_settings_of_page(okta)) as url:
        yield url


@pytest.fixture(scope="module")
def service(okta, address, tmp_path_factory):
    settings = oauth_settings(okta, TELEPHONY_PROVIDER="console")
    with Service(settings, tmp_path_factory.mktemp("service") / "log") as service:
        yield service


@pytest.fixture
def open_page(browser, address, service):
    """Opens the page. At the end nothing may stand in its console, and no other host was asked."""
    pages, complaints = [], []

    def open_page(url=address, viewport=WIDE, scheme="light"):
        page = browser.new_page()
        pages.append(page)
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=scheme)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.extend(elsewhere(request.url, url)))
        page.goto(f"{url}/")
        page.get_by_label("Service").fill(service.url)
        return page

    yield open_page
    for page in pages:
        page.close()
    requests.post(f"{address}/page/issuer", json={"mode": "answers"}, timeout=30)
    assert complaints == []


def elsewhere(asked, url):
    return [] if asked.startswith(f"{url}/") else [f"asked for {asked}"]


@pytest.fixture
def page(open_page):
    return open_page()


def region(page, name):
    return page.get_by_role("region", name=name, exact=True)


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def send(page, hook=None, authentication=None):
    if hook:
        page.get_by_label("Hook").select_option(hook)
    if authentication:
        page.get_by_label("Authentication").select_option(authentication)
    press(page, "Send")


def verdict(page):
    return region(page, "What Okta would do")


def steps(page):
    return region(page, "Steps").get_by_role("listitem")


def test_the_moment_of_a_reader(page, okta, service):
    send(page, HOOK.name, "Client secret")
    sentence = verdict(page).locator(".sentence")
    expect(sentence).to_contain_text(f"✓{SENTENCE}")
    expect(sentence).to_have_class(re.compile("good"))
    expect(region(page, "Sent")).to_contain_text(f"POST {service.url}{HOOK.path}")
    expect(region(page, "Response")).to_contain_text("200 OK")
    expect(region(page, "Response")).to_contain_text("Content-Type: application/json")
    expect(region(page, "Response")).to_contain_text('"commands": [')
    for column in ("Okta", "Token endpoint", "Guard", "Hook"):
        expect(region(page, "Steps").get_by_text(column, exact=True)).to_be_visible()
    expect(steps(page)).to_have_count(5)
    assert re.search(r"issues an access token, after \d+ ms", steps(page).nth(1).text_content())
    assert re.search(r"The hook answers 200 OK, after \d+ ms", steps(page).nth(4).text_content())

    send(page, authentication="Expired token")
    expect(sentence).to_have_class(re.compile("bad"))
    expect(steps(page).last).to_contain_text("The guard refuses it, and the hook hears nothing")
    expect(verdict(page)).to_contain_text("The answer says no more than “Unauthorized”")
    service.wait_until(lambda: "reason=expired_token" in service.log, "the log has no reason")

    page.get_by_label("Authentication").select_option("Private key")
    keys_before = okta.requests["/oauth2/default/v1/keys"]
    activity = region(page, "Activity").get_by_role("listitem")
    entries = activity.filter(has_text="asked for keys").count()
    press(page, "Rotate keys")
    expect(sentence).to_have_class(re.compile("good"))
    expect(activity.filter(has_text="asked for keys")).to_have_count(entries + 1)
    assert okta.requests["/oauth2/default/v1/keys"] == keys_before + 1

    page.get_by_label("Issuer").select_option("down")
    send(page)
    expect(steps(page).first).to_contain_text("the page signs one itself")
    expect(sentence).to_contain_text(f"✓{SENTENCE}")

    if SIGN_UP:
        page.get_by_label("Hook").select_option(SIGN_UP.name)
        request = page.get_by_label("Request")
        request.fill(request.input_value().replace("@okta.com", "@example.com"))
        send(page)
        expect(sentence).to_contain_text("Okta denies the registration and shows")
        expect(verdict(page).locator(".sign-up")).to_contain_text("jessie.smith@example.com")


def test_the_table_of_outcomes_is_whole():
    assert list(OUTCOMES) == list(AUTHENTICATIONS)


@pytest.mark.parametrize("authentication", OUTCOMES)
def test_each_authentication_ends_where_it_should(page, authentication):
    status, wrong, end = OUTCOMES[authentication]
    send(page, HOOK.name, authentication)
    expect(region(page, "Response")).to_contain_text(f"{status} ")
    assert region(page, "Token").locator("tr.wrong th").all_inner_texts() == wrong
    last = "The hook answers" if end == "Hook" else "The guard refuses it"
    expect(steps(page).last).to_contain_text(last)
    good = "good" if end == "Hook" else "bad"
    expect(verdict(page).locator(".sentence")).to_have_class(re.compile(good))


def test_secrets_show_only_when_asked_for(open_page, okta):
    with served_page(LocalOkta(), **basic_settings_of_page()) as url:
        page = open_page(url)
        send(page, HOOK.name, "Basic")
        sent = region(page, "Sent")
        expect(sent).to_contain_text("Authorization: Basic ••••••••")
        encoded = re.compile("Basic [A-Za-z0-9+/]{8}")
        assert not encoded.search(page.content())
        assert BASIC_PAIR[1] not in page.content()
        press(page, "Show secrets")
        expect(sent).to_contain_text(encoded)
        press(page, "Hide secrets")
        expect(sent).not_to_contain_text(encoded)
        page.close()


def test_a_service_that_takes_basic_alone_gets_the_four_lines_named(open_page, tmp_path):
    okta = LocalOkta(port=free_port())
    with (
        served_page(okta, **basic_settings_of_page()) as url,
        Service(basic_settings(), tmp_path / "log") as service,
    ):
        page = open_page(url)
        page.get_by_label("Service").fill(service.url)
        send(page, HOOK.name)
        expect(verdict(page)).to_contain_text(SENTENCE)
        send(page, authentication="Client secret")
        expect(verdict(page)).to_contain_text(f"OKTA_CLIENT_ID={okta.client_id}")
        page.close()


def test_send_all_fills_a_table_and_a_row_shows_its_request(page, service):
    page.get_by_label("Authentication").select_option("Client secret")
    press(page, "Send all")
    count = len(SAMPLES)
    expect(page.get_by_text(f"Okta can use {count} of {count} answers.")).to_be_visible()
    rows = region(page, "Results").get_by_role("row")
    expect(rows).to_have_count(count + 1)
    for row, sample in zip(rows.all()[1:], SAMPLES.values(), strict=True):
        text = row.inner_text()
        assert text.startswith(sample.name)
        assert ("Basic" in text) is (sample.kind == "event")
    press(page, sample.name)
    expect(region(page, "Sent")).to_contain_text(f"POST {service.url}{sample.path}")


def test_verify_event_hooks(page):
    press(page, "Verify event hooks")
    rows = region(page, "Results").get_by_role("row")
    for path in EVENT_PATHS:
        expect(rows.filter(has_text=path)).to_contain_text("Okta verifies the hook.")
        expect(region(page, "Activity")).to_contain_text(f"sent verify {path}")


def test_bad_input_is_named_beside_its_field(page):
    page.get_by_label("Request").fill('{\n  "a": 1,\n}')
    send(page)
    request = page.get_by_label("Request")
    expect(request).to_have_accessible_description(re.compile("line 3, column 1"))
    expect(request).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Hook").select_option(HOOK.name)
    expect(request).not_to_have_attribute("aria-invalid", "true")
    address = page.get_by_label("Service")
    address.fill("127.0.0.1:5000")
    send(page)
    expect(address).to_have_accessible_description(re.compile("is not an address"))
    address.fill(f"http://127.0.0.1:{free_port()}")
    send(page)
    expect(address).to_have_accessible_description(re.compile("Start it: make run"))
    expect(steps(page).last).to_contain_text("no answer from the service")


def test_what_takes_too_long_shows_the_three_seconds(page):
    with silent_server() as url:
        page.get_by_label("Service").fill(url)
        send(page, HOOK.name, "Client secret")
        last = steps(page).last
        expect(last).to_contain_text("Okta gives up: 3 seconds are over")
        expect(last).to_have_class("silent")
    page.get_by_label("Issuer").select_option("slow")
    send(page)
    expect(last).to_contain_text("there is no token")


def test_a_request_from_elsewhere_shows_in_the_activity(page, okta):
    entries = region(page, "Activity").get_by_role("listitem")
    expect(entries.first).to_be_visible()
    before = entries.filter(has_text="asked for metadata").count()
    context = page.context.request
    assert context.get(f"{okta.issuer}/.well-known/openid-configuration").ok
    expect(entries.filter(has_text="asked for metadata")).to_have_count(before + 1)


def test_what_comes_back_is_shown_as_text(page, okta):
    with served_page(LocalOkta()) as other:
        page.get_by_label("Service").fill(other)
        page.get_by_label("Request").fill('{"a": "<img src=x onerror=alert(1)>"}')
        send(page, authentication="None")
        expect(region(page, "Sent")).to_contain_text("<img src=x")
        assert page.locator("main img").count() == 0


def test_a_page_of_another_origin_reaches_nothing(browser, okta, address, service):
    page, keys = browser.new_page(), okta.keys
    page.goto(f"{service.url}/healthz")
    outcome = "(answer) => answer.text(), () => 'refused'"
    for path in ("/page/rotate-keys", KEY_ROTATION):
        form = "{method: 'POST', mode: 'no-cors', body: '{\"use\": \"sig\"}'}"
        assert page.evaluate(f"fetch('{address}{path}', {form}).then({outcome})") == "refused"
    assert page.evaluate(f"fetch('{address}/page/activity').then({outcome})") == "refused"
    assert okta.keys == keys
    page.close()


def test_the_keyboard_alone_is_enough(page):
    page.get_by_label("Hook").focus()
    page.keyboard.type(HOOK.name)
    page.get_by_label("Request").focus()
    page.keyboard.press("Control+Enter")
    expect(verdict(page)).to_contain_text(SENTENCE)
    reached = set()
    page.get_by_label("Issuer").focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            """() => {
                const style = getComputedStyle(document.activeElement);
                return [document.activeElement.id, style.outlineStyle];
            }"""
        )
        reached.add(tuple(focused))
    reached = {name for name, outline in reached if outline == "solid"}
    assert {"rotate", "hook", "send-all", "verify", "authentication", "service", "send"} <= reached
    assert {"request", "secrets", "response", "token", "activity"} <= reached


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)])
def test_a_request_fits_and_can_be_read_by_everybody(open_page, scheme, viewport):
    page = open_page(viewport=viewport, scheme=scheme)
    send(page, HOOK.name, "Expired token")
    expect(verdict(page).locator(".sentence")).to_be_visible()
    width, height = size(page)
    assert width == viewport["width"]
    assert viewport is NARROW or height == viewport["height"]
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_form_and_table_fit_and_can_be_read_by_everybody(open_page, scheme):
    page = open_page(viewport=NARROW, scheme=scheme)
    send(page, (DENIED or HOOK).name)
    expect(verdict(page).locator(".sign-up" if DENIED else ".sentence")).to_be_visible()
    assert violations(page) == []
    press(page, "Verify event hooks")
    expect(region(page, "Results").get_by_text("Okta verifies the hook.").first).to_be_visible()
    assert violations(page) == []
    assert size(page)[0] == NARROW["width"]


def size(page) -> list[int]:
    root = "document.documentElement"
    return page.evaluate(f"[{root}.scrollWidth, {root}.scrollHeight]")


def violations(page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['nodes'][0]['html']}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
