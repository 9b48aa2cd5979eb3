import pytest
import sqlalchemy as sa

from local_okta.authorization_server import LocalOkta
from tests.postgresql import PostgreSQL, initdb
from tests.service import Service, basic_settings, oauth_settings

# Their tests wait more than they work: each runs wherever there is room, and they begin, beside
# the browser's.
SPREAD = (
    "test_docs",
    "test_end_to_end",
    "test_key_service_faults",
    "test_events_service",
    "test_service",
)
# What takes long to start, so that tests which share it run in one process.
SHARED = ("postgresql", "browser", "oauth_service", "basic_service")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        shared = [name for name in SHARED if name in item.fixturenames]
        is_grouped = item.get_closest_marker("xdist_group")
        if not is_grouped and (shared or item.path.stem not in SPREAD):
            item.add_marker(pytest.mark.xdist_group([*shared, item.path.stem][0]))
    items.sort(key=lambda item: ("browser" not in item.fixturenames, item.path.stem not in SPREAD))


@pytest.fixture(scope="session")
def okta():
    """The issuer that the shared services trust. Tests that break an issuer make their own."""
    with LocalOkta() as server:
        yield server


@pytest.fixture(scope="session")
def basic_service(tmp_path_factory):
    with Service(basic_settings(), tmp_path_factory.mktemp("basic") / "log") as service:
        yield service


@pytest.fixture(scope="session")
def oauth_service(okta, tmp_path_factory):
    log_path = tmp_path_factory.mktemp("oauth") / "log"
    with Service(oauth_settings(okta), log_path, workers=2) as service:
        yield service


@pytest.fixture(scope="session")
def postgresql():
    if initdb() is None:
        pytest.skip("PostgreSQL is not installed here (Debian: apt install postgresql)")
    with PostgreSQL() as server:
        yield server


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))]
)
def database_url(request, tmp_path):
    """An empty database of either kind."""
    if request.param == "sqlite":
        return sa.URL.create("sqlite", database=str(tmp_path / "events.sqlite"))
    return request.getfixturevalue("postgresql").new_database()
