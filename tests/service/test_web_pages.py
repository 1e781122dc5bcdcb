"""What all pages share: who gets one, their headers, their files, their errors, and the forms that they send."""

import html
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from accounts import NOW
from asgi import Reply, Visit, ask, getting, posting
from gigarank.errors import AccessDenied, InvalidInput, NotSignedIn
from gigarank.service.accounts.cookies import check_csrf, csrf_token
from gigarank.service.app import create_app
from gigarank.service.call import Answer, Call, Endpoint, Route
from gigarank.service.fake import FakeBackend
from gigarank.service.http.form import MAX_FIELDS, read_form
from gigarank.service.http.paths import Paths
from gigarank.service.settings import Settings
from gigarank.service.web import assets, shown
from gigarank.service.web.rendering import environment, page, see_other
from gigarank.service.web.routes import PAGES

WEB = Path(assets.__file__).parent
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
TEMPLATES = sorted(file.name for file in (WEB / "templates").glob("*.html"))
FORM = "application/x-www-form-urlencoded"


def app_of(*routes: Route, **settings: Any) -> Any:
    return create_app(Settings(**{"models": ("fake",), **settings}), FakeBackend(), routes)  # with the usual pages beside them


def browse(path: str, app: Any = None, **headers: str) -> Reply:
    return ask(app or app_of(), getting(path, accept=BROWSER, **headers))


def text_of(reply: Reply) -> str:
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    return reply.body.decode()


def test_a_browser_gets_the_page_and_a_program_the_list() -> None:
    app = create_app(Settings(models=("fake",)), FakeBackend())
    assert "<h1>" in text_of(browse("/models", app))
    for accept in ({}, {"accept": "*/*"}, {"accept": "application/json"}):
        assert ask(app, getting("/models", **accept)).json["object"] == "list"
    assert ask(app, getting("/v1/models", accept=BROWSER)).json["object"] == "list"
    assert "<h1>" in text_of(ask(app, getting("/", accept="*/*")))


async def nothing(_call: Call) -> Answer:
    return Answer({})


def route(method: Any, path: str, endpoint: Endpoint = nothing, **more: Any) -> Route:
    return Route(method, path, endpoint, "", "x", **more)


def test_of_a_page_and_another_route_of_one_path_the_client_decides() -> None:
    api, other = route("GET", "/models/{id:path}"), route("POST", "/embed")
    shows, votes = route("GET", "/models/{model}", page=True), route("POST", "/models/{model}/vote", page=True)
    paths = Paths((shows, votes, api, other))
    assert paths.find("GET", "/models/a", html=True) == (shows, {"model": "a"})
    assert paths.find("HEAD", "/models/a", html=False) == (api, {"id": "a"})
    assert paths.find("GET", "/models/a/b", html=True) == (api, {"id": "a/b"})
    assert paths.find("POST", "/models/a/vote", html=False)[0] is votes
    assert paths.find("POST", "/embed", html=True)[0] is other


def test_the_methods_of_both_are_named() -> None:
    paths = Paths((route("POST", "/a", page=True), route("GET", "/a"), route("DELETE", "/a", page=True)))
    with pytest.raises(Exception, match="PUT is not allowed here; DELETE, GET, POST is"):
        paths.find("PUT", "/a", html=True)


def test_a_page_lets_the_browser_load_this_server_s_files_alone() -> None:
    headers = browse("/models").headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_template_has_anything_inline_or_from_elsewhere(name: str) -> None:
    text = (WEB / "templates" / name).read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    assert not re.search(r"(?:src|href|action)=[\"'](?:https?:)?//", re.sub(r"<a [^>]*>", "", text))


def test_what_a_browser_has_already_is_not_sent_again() -> None:
    first = browse("/models")
    again = browse("/models", if_none_match=f'"other", W/{first.headers["etag"]}')
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "content-length" not in again.headers
    assert browse("/models", if_none_match='"other"').status == 200


def test_a_page_s_head_has_no_body() -> None:
    request = getting("/models", accept=BROWSER)
    request.method = "HEAD"
    reply = ask(app_of(), request)
    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["content-length"]) > 1_000


def test_the_files_of_a_page_are_kept_for_good() -> None:
    paths = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', text_of(browse("/models"))))
    assert {path.rpartition("/")[2] for path in paths} >= {"app.css", "site.js", "theme.js", "icon.svg"}
    for path in paths:
        reply = ask(app_of(), getting(path))
        assert reply.status == 200
        assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert reply.body == (WEB / "static" / path.rpartition("/")[2]).read_bytes()


def test_a_file_of_another_version_is_asked_for_again() -> None:
    reply = ask(app_of(), getting("/static/0123456789ab/app.css"))
    assert reply.headers["cache-control"] == "private, no-cache"
    assert reply.headers["content-type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize("name", ["none.css", "..%2f__init__.py", "__init__.py"])
def test_no_other_file_is_sent(name: str) -> None:
    assert ask(app_of(), getting(f"/static/{assets.version()}/{name}")).status == 404


def test_an_asset_that_is_not_there_is_an_error_and_no_link() -> None:
    with pytest.raises(KeyError):
        assets.asset("none.css")


def test_modules_import_from_their_own_version() -> None:
    for name, content in assets.contents().items():
        if name.endswith(".js"):
            for path in re.findall(r"""from ["']([^"']+)["']""", content.decode()):
                assert path.startswith("./") and path[2:] in assets.contents(), (name, path)


def test_a_browser_sees_errors_as_pages_and_a_program_as_json() -> None:
    reply = browse("/no/such")
    assert reply.status == 404
    assert "no such path here" in text_of(reply)
    assert reply.headers["x-request-id"] in text_of(reply)
    assert reply.headers["cache-control"] == "no-store"
    assert ask(app_of(), getting("/no/such")).error["code"] == "not_found"
    keyed = create_app(Settings(models=("fake",), api_keys=("k",)), FakeBackend())
    assert browse("/v1/models", keyed).error["code"] == "invalid_api_key"


async def refuse(call: Call) -> Answer:
    raise InvalidInput("name: <b>no</b>", param="name")


async def echo(call: Call) -> Answer:
    return Answer(call.body)


def test_what_an_error_says_is_escaped() -> None:
    reply = browse("/bad", app_of(route("GET", "/bad", refuse, page=True, public=True)))
    assert reply.status == 400
    assert html.escape("<b>no</b>") in text_of(reply) and "<b>no" not in text_of(reply)


def form(content: bytes, path: str = "/echo", **headers: str) -> Visit:
    return posting(content, path, **{"content_type": FORM, "accept": BROWSER, **headers})


ECHO = route("POST", "/echo", echo, page=True, public=True)


def test_a_page_s_post_is_a_form() -> None:
    reply = ask(app_of(ECHO), form(b"a=1&b=%C3%A4+b&a=2&empty="))
    assert reply.json == {"a": "2", "b": "ä b", "empty": ""}
    assert ask(app_of(ECHO), form(b"", content_type="")).json == {}


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"{}", "application/json", "content-type: application/x-www-form-urlencoded is expected"),
        (b"a=%ff", FORM, "body: byte 0 is no UTF-8"),
        (b"a=\xff", FORM, "body: byte 2 is no UTF-8"),
        (b"a&" * MAX_FIELDS + b"a", FORM, f"body: more than {MAX_FIELDS} fields"),
    ],
)
def test_what_is_no_form_is_refused(content: bytes, kind: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(said)):
        read_form(content, kind)


def test_a_form_s_answer_leads_on() -> None:
    reply = see_other("/models")
    assert (reply.status, reply.headers["location"]) == (303, "/models")


async def stranger(call: Call) -> Answer:
    raise NotSignedIn("sign in first")


def test_who_has_to_sign_in_is_led_there_and_back(tmp_path: Path) -> None:
    routes = (route("GET", "/own", stranger, page=True, public=True), route("POST", "/own", stranger, page=True, public=True))
    app = app_of(*routes, accounts=True, state_dir=str(tmp_path))
    assert browse("/own", app).headers["location"] == "/sign-in?next=/own"
    assert ask(app, form(b"", "/own")).headers["location"] == "/sign-in"
    assert ask(app, getting("/own", accept="application/json")).error["code"] == "not_signed_in"
    assert "Sign in first" in text_of(browse("/own", app_of(*routes)))


def test_a_form_proves_its_session_by_a_field() -> None:
    check_csrf({}, "session", {"csrf_token": csrf_token("session")})
    for given in ({}, {"csrf_token": csrf_token("other")}):
        with pytest.raises(AccessDenied, match="csrf_token is expected"):
            check_csrf({}, "session", given)
    with pytest.raises(AccessDenied):
        check_csrf({"x-csrf-token": "wrong"}, "session", {"csrf_token": csrf_token("session")})


def test_pages_are_not_in_the_description_of_the_api() -> None:
    assert not any(route.listed for route in PAGES)
    assert all(route.public or route.visitor for route in PAGES)


def test_pages_can_be_turned_off() -> None:
    app = app_of(pages=False)
    assert browse("/models", app).error["code"] == "not_found"
    assert browse(assets.asset("app.css"), app).error["code"] == "not_found"
    code = (
        "import sys\nfrom gigarank.service.app import create_app\nfrom gigarank.service.fake import FakeBackend\n"
        "from gigarank.service.settings import Settings\nfor on in (False, True):\n"
        "    create_app(Settings(pages=on), FakeBackend())\n"
        "    print(on, *[name for name in ('jinja2', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", "True jinja2"]


def test_a_name_that_a_template_was_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        environment().from_string("{{ nothing }}").render()
    assert environment().from_string("{{ text }}").render(text="<b>") == "&lt;b&gt;"


def test_the_navigation_marks_where_one_is() -> None:
    text = text_of(browse("/models"))
    assert re.findall(r'href="([^"]+)" aria-current="page"', text) == ["/models"]
    assert "/console" not in text


async def hosted_server(call: Call) -> Answer:
    return page(call, "home.html", {"entries": [], "site": ""})


def test_a_server_with_accounts_shows_the_way_to_the_console(tmp_path: Path) -> None:
    app = app_of(route("GET", "/x", hosted_server, page=True, public=True), accounts=True, state_dir=str(tmp_path))
    assert 'href="/console"' in text_of(browse("/x", app))


@pytest.mark.parametrize(
    ("value", "said"), [(8_188_548_096, "8.19B"), (134_515_008, "135M"), (2_700, "2.7k"), (40, "40"), (None, "not known")]
)
def test_counts_as_people_read_them(value: float | None, said: str) -> None:
    assert shown.count(value) == said


def test_other_values_as_people_read_them() -> None:
    assert (shown.tokens(32_768), shown.tokens(1_000)) == ("32k tokens", "1,000 tokens")
    assert shown.whole(1_234_567) == "1,234,567"
    assert shown.minute(0) == "1970-01-01 00:00 UTC"
    assert shown.day(NOW) == shown.minute(NOW)[:10]
