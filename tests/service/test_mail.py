"""The outbox against a real mail server: one that takes letters, refuses them, is away, comes back, or is not who it says."""

import asyncio
import smtplib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import RowMapping, select

from accounts import NOW
from asgi import run
from gigarank.errors import DatabaseUnavailable, InvalidInput
from gigarank.service.accounts.schemas import read_email
from gigarank.service.app import create_app
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.mail import repository
from gigarank.service.mail.sender import HELD_S, MailSender, pause_s
from gigarank.service.mail.service import KEPT_S, Letter, Post
from gigarank.service.mail.smtp import Outcome, Relay, read_relay
from gigarank.service.settings import Settings
from gigarank.service.tables import outbox
from mail_server import PASSWORD, USER, Inbox, authenticating, certificate, free_port, serving

POST = Post("https://rank.example.org", sends=True)
SENDER = "gigarank <noreply@rank.example.org>"


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def port(inbox: Inbox) -> Iterator[int]:
    with serving(inbox) as port:
        yield port


def relay(port: int, scheme: str = "smtp", host: str = "127.0.0.1", user: str = "") -> Relay:
    return read_relay(f"{scheme}://{user}{host}:{port}", SENDER)


def leave(database: Database, *recipients: str, **fields: Any) -> None:
    for recipient in recipients:
        database.transaction(lambda one, to=recipient: POST.leave(one, Letter(to, "Hallo", "Grüße\n", **fields), NOW))  # type: ignore[misc]


def waiting(database: Database) -> list[RowMapping]:
    return list(database.transaction(lambda one: one.execute(select(outbox).order_by(outbox.c.id)).mappings().all()))


def step(database: Database, transport: Any, now: int = NOW, owner: str = "server_1") -> bool:
    """One letter, if one is due."""
    sender = MailSender(database, transport, owner, lambda: now, asyncio.Event())
    return asyncio.run(sender.step())


def test_a_letter_is_delivered_and_forgotten(database: Database, inbox: Inbox, port: int) -> None:
    leave(database, "ada@example.org")
    (row,) = waiting(database)
    assert step(database, relay(port)) and not step(database, relay(port))
    (letter,) = inbox.letters
    assert (letter["To"], letter["From"], letter["Subject"]) == ("ada@example.org", SENDER, "Hallo")
    assert letter.get_content() == "Grüße\n" and letter["Auto-Submitted"] == "auto-generated"
    assert letter["Message-ID"] == f"<{row['id']}@rank.example.org>" and letter["Date"].datetime.timestamp() == NOW
    assert waiting(database) == []


def test_what_is_undone_is_not_told(database: Database) -> None:
    def work(connection: Any) -> None:
        POST.leave(connection, Letter("ada@example.org", "s", "b"), NOW)
        raise InvalidInput("no")

    with pytest.raises(InvalidInput):
        database.transaction(work)
    assert waiting(database) == []


def test_a_server_that_sends_nothing_writes_nothing_down(database: Database) -> None:
    silent = Post("https://rank.example.org", sends=False)
    database.transaction(lambda one: silent.leave(one, Letter("ada@example.org", "s", "b"), NOW))
    assert waiting(database) == []


def test_who_is_refused_for_good_is_given_up(
    database: Database, inbox: Inbox, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.answers["nobody@example.org"] = "550 no such user"
    leave(database, "nobody@example.org")
    assert step(database, relay(port))
    assert (waiting(database), inbox.letters) == ([], [])
    assert "given up: 550, the recipient is refused" in caplog.text and "nobody@" not in caplog.text


def test_who_is_put_off_is_tried_later_and_then_longer(database: Database, inbox: Inbox, port: int) -> None:
    inbox.answers["ada@example.org"] = "451 not now"
    leave(database, "ada@example.org")
    now = NOW
    for attempts in range(3):
        assert step(database, relay(port), now)
        (row,) = waiting(database)
        assert (row["attempts"], row["next_try"], row["owner"]) == (attempts + 1, now + pause_s(attempts), None)
        assert not step(database, relay(port), row["next_try"] - 1)
        now = row["next_try"]
    inbox.answers.clear()
    assert step(database, relay(port), now)
    assert inbox.to("ada@example.org") == ["Grüße\n"] and waiting(database) == []


def test_the_pauses_grow_to_an_hour() -> None:
    assert [pause_s(attempts) for attempts in (0, 1, 2, 7, 8, 9, 1_000)] == [15, 30, 60, 1_920, 3_600, 3_600, 3_600]


def test_a_server_that_is_away_gets_it_when_it_is_back(database: Database, inbox: Inbox) -> None:
    port = free_port()
    leave(database, "ada@example.org")
    assert step(database, relay(port))
    assert [row["attempts"] for row in waiting(database)] == [1]
    with serving(inbox, port):
        assert step(database, relay(port), NOW + pause_s(0))
    assert len(inbox.letters) == 1 and waiting(database) == []


ONE_VICTIM = (
    "x<victim@example.org>",
    "y,victim@example.org",
    "victim@example.org;z",
    '"victim@example.org"@example.com',
    "victim%example.org@example.com",
    "example.org!victim@example.com",
    "=?utf-8?q?victim=40example.org?=@example.com",
)
POISON = ("a@[", "-_@,a'<", "(@x", "a@b\r\nbcc", "a..b@c", ".a@c", "a@-b", "a@b.", "a@", "@b", "a" * 65 + "@b", "ä@b", "a@b@c")


@pytest.mark.parametrize("recipient", [*ONE_VICTIM, *POISON])
def test_what_is_no_address_gets_no_letter(database: Database, inbox: Inbox, port: int, recipient: str) -> None:
    with pytest.raises(InvalidInput, match=r"^email: an address as name@host"):
        read_email(recipient)
    leave(database, recipient, "ada@example.org")
    while step(database, relay(port)):
        pass
    assert [letter["To"] for letter in inbox.letters] == ["ada@example.org"] and waiting(database) == []


@pytest.mark.parametrize(
    "recipient", ["ada@localhost", "a.b+c@x-1.example.org", "o'neil@b", "_{|}~=/#$&*^`@0.b", "a" * 64 + "@b"]
)
def test_an_address_is_what_its_letter_says_and_where_it_goes(inbox: Inbox, port: int, recipient: str) -> None:
    envelopes: list[str] = []
    inbox.answers = Taken(envelopes)
    assert read_email(recipient.upper()) == recipient
    letter = {"id": "mail_1", "recipient": recipient, "subject": "s", "body": "b", "created": NOW}
    assert relay(port).deliver(letter) == ("sent", "")
    assert ([one["To"] for one in inbox.letters], envelopes) == ([recipient], [recipient])


class Taken(dict[str, str]):
    """Takes what it is asked, and writes it down."""

    def __init__(self, asked: list[str]) -> None:
        super().__init__()
        self.asked = asked

    def get(self, address: str, default: Any = None) -> Any:
        self.asked.append(address)
        return default


class Stumbling:
    """A transport with a fault."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def deliver(self, letter: RowMapping) -> tuple[Outcome, str]:
        if letter["recipient"].startswith("poison"):
            raise AttributeError("nobody foresaw this")
        self.sent.append(letter["recipient"])
        return "sent", ""


def test_a_letter_that_cannot_be_sent_keeps_no_other_back(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    leave(database, "poison@example.org", "ada@example.org")
    transport = Stumbling()

    async def work(sender: MailSender, task: "asyncio.Task[None]") -> None:
        async with asyncio.timeout(20):
            while transport.sent != ["ada@example.org"] or not sender.work._waiters:
                await asyncio.sleep(0.01)
        assert not task.done()

    running(work, database, transport)
    (row,) = waiting(database)
    assert (row["recipient"], row["attempts"], row["next_try"]) == ("poison@example.org", 1, NOW + pause_s(0))
    assert "put off: it failed at" in caplog.text and "poison@" not in caplog.text


def test_a_refusal_that_names_no_recipient_is_one(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    def refused(*_given: Any, **_named: Any) -> None:
        raise smtplib.SMTPRecipientsRefused({})

    monkeypatch.setattr(smtplib.SMTP, "send_message", refused)
    letter = {"id": "mail_1", "recipient": "ada@example.org", "subject": "s", "body": "b", "created": NOW}
    assert relay(port).deliver(letter) == ("refused", "550, the recipient is refused")


def test_what_is_of_no_use_any_more_is_not_sent(database: Database, inbox: Inbox, port: int) -> None:
    leave(database, "ada@example.org", life_s=60)
    leave(database, "bob@example.org")
    assert step(database, relay(port), NOW + 60) and step(database, relay(port), NOW + 60)
    assert inbox.to("ada@example.org") == [] and len(inbox.to("bob@example.org")) == 1
    assert waiting(database) == [] and KEPT_S > 60


def test_several_servers_send_each_letter_once(database_url: str, database: Database, inbox: Inbox, port: int) -> None:
    names = [f"user{number}@example.org" for number in range(24)]
    leave(database, *names)
    others = [Database(database_url) for _ in range(3)]

    def work(mine: Database, owner: str) -> None:
        while step(mine, relay(port), owner=owner):
            pass

    threads = [threading.Thread(target=work, args=(mine, f"server_{n}")) for n, mine in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine in others:
        mine.close()
    assert sorted(letter["To"] for letter in inbox.letters) == sorted(names)
    assert waiting(database) == []


def test_what_a_killed_server_had_is_another_s_after_a_while(database: Database, inbox: Inbox, port: int) -> None:
    leave(database, "ada@example.org")
    assert database.transaction(lambda one: repository.claim(one, "killed", NOW, NOW + HELD_S)) is not None
    assert not step(database, relay(port), NOW + HELD_S - 1)
    assert step(database, relay(port), NOW + HELD_S)
    assert len(inbox.letters) == 1
    database.transaction(lambda one: repository.remove(one, "mail_0", "killed"))  # too late, and nobody's any more


# Encryption.


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_passwords_and_letters_go_encrypted(
    database: Database, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    context, file = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    options: dict[str, Any] = {"authenticator": authenticating}
    late = {"tls_context": context, "require_starttls": True, "auth_required": True}
    options |= {"ssl_context": context, "auth_require_tls": False} if scheme == "smtps" else late
    user = f"{USER}:{quote(PASSWORD, safe='')}@"
    with serving(inbox, host="localhost", **options) as port:
        leave(database, "ada@example.org")
        assert step(database, relay(port, scheme, "localhost", user))
        assert (len(inbox.letters), inbox.encrypted, waiting(database)) == (1, [scheme == "smtp"], [])
        leave(database, "bob@example.org")
        assert step(database, relay(port, scheme, "localhost", f"{USER}:other@"))
        assert len(inbox.letters) == 1 and [row["attempts"] for row in waiting(database)] == [1]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_server_that_nobody_vouches_for_gets_nothing(database: Database, inbox: Inbox, tmp_path: Path, scheme: str) -> None:
    context, _ = certificate(tmp_path)
    options: dict[str, Any] = {"ssl_context": context} if scheme == "smtps" else {"tls_context": context}
    with serving(inbox, host="localhost", **options) as port:
        leave(database, "ada@example.org")
        assert step(database, relay(port, scheme, "localhost"))
    assert inbox.letters == [] and [row["attempts"] for row in waiting(database)] == [1]


def test_nothing_leaves_the_machine_in_the_clear(database: Database, inbox: Inbox) -> None:
    with serving(inbox, host="127.0.0.2") as port:
        leave(database, "ada@example.org")
        assert step(database, relay(port, host="127.0.0.2"))
    assert inbox.letters == [] and len(waiting(database)) == 1


@pytest.mark.parametrize(
    ("url", "sender", "said"),
    [
        ("http://h", SENDER, "smtp_url: smtp://USER"),
        ("smtp://", SENDER, "smtp_url: smtp://USER"),
        ("smtp://u:secret@h:x", SENDER, "smtp_url: smtp://USER"),
        ("smtp://u:secret@h:99999", SENDER, "smtp_url: smtp://USER"),
        ("smtp://u:secret@h/path", SENDER, "smtp_url: smtp://USER"),
        ("smtp://h", "", "mail_from: an address as name@host"),
        ("smtp://h", "@", "mail_from: an address as name@host"),
    ],
)
def test_settings_that_send_no_mail_are_refused(url: str, sender: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as raised:
        read_relay(url, sender)
    assert "secret" not in raised.value.message and raised.value.received in (None, sender)


def test_ports_are_the_usual_ones_where_none_is_named() -> None:
    assert (read_relay("smtp://h", SENDER).port, read_relay("smtps://h", SENDER).port) == (587, 465)
    assert read_relay("smtp://a%40b:c%3Ad@h:25", SENDER) == Relay("h", 25, False, "a@b", "c:d", SENDER)


# The sender.


class Held:
    """A mail server that takes its time."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def deliver(self, letter: RowMapping) -> tuple[Outcome, str]:
        self.begun.set()
        assert self.go.wait(30)
        return "sent", ""


def running(work: Callable[[MailSender, "asyncio.Task[None]"], Any], database: Database, transport: Any) -> Any:
    async def begun() -> Any:
        sender = MailSender(database, transport, "server_1", lambda: NOW, asyncio.Event())
        task = asyncio.create_task(sender.run())
        try:
            return await work(sender, task)
        finally:
            task.cancel()
            await asyncio.wait((task,))

    return run(begun())


def test_a_letter_on_its_way_is_waited_for(database: Database) -> None:
    leave(database, "ada@example.org")
    slow = Held()

    async def work(sender: MailSender, task: "asyncio.Task[None]") -> None:
        await asyncio.to_thread(slow.begun.wait, 30)
        task.cancel()
        assert not (await asyncio.wait((task,), timeout=0))[0]
        slow.go.set()
        await asyncio.wait((task,))
        assert task.cancelled()

    running(work, database, slow)
    assert waiting(database) == []


def test_who_left_a_letter_tells_the_sender(database: Database, inbox: Inbox, port: int) -> None:
    async def work(sender: MailSender, task: "asyncio.Task[None]") -> None:
        for count in (1, 2):
            await asyncio.to_thread(leave, database, f"user{count}@example.org")
            sender.work.set()
            async with asyncio.timeout(4):  # less than it looks by itself
                while len(inbox.letters) < count:
                    await asyncio.sleep(0.01)

    running(work, database, relay(port))


@pytest.mark.parametrize("ticks", range(4))
def test_an_end_that_comes_with_a_letter_is_the_end(database: Database, ticks: int) -> None:
    async def work(sender: MailSender, task: "asyncio.Task[None]") -> None:
        async with asyncio.timeout(20):
            while not sender.work._waiters:
                await asyncio.sleep(0)
        sender.work.set()
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        assert (await asyncio.wait((task,), timeout=20))[0] == {task} and task.cancelled()

    running(work, database, Held())


def test_a_database_that_is_away_for_a_moment_ends_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    async def away(_work: Any) -> Any:
        calls.append(1)
        raise DatabaseUnavailable("away", retry_after=1.0)

    monkeypatch.setattr(database, "run", away)

    async def work(sender: MailSender, task: "asyncio.Task[None]") -> None:
        async with asyncio.timeout(4):
            while len(calls) < 2:
                sender.work.set()
                await asyncio.sleep(0.01)
        assert not task.done()

    running(work, database, Held())


def test_a_defect_ends_no_sender(
    database: Database, inbox: Inbox, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave(database, "ada@example.org")
    claim, failed = repository.claim, threading.Event()

    def broken(*arguments: Any) -> Any:
        if failed.is_set():
            return claim(*arguments)
        failed.set()
        raise KeyError("a text that nobody may read")

    monkeypatch.setattr(repository, "claim", broken)

    async def work(sender: MailSender, task: "asyncio.Task[None]") -> None:
        async with asyncio.timeout(20):
            while not inbox.letters:
                sender.work.set()
                await asyncio.sleep(0.01)
        assert not task.done()

    running(work, database, relay(port))
    assert "mail failed, at KeyError at test_mail.py" in caplog.text and "nobody" not in caplog.text


def test_a_server_sends_what_it_finds_in_its_outbox(
    database: Database, database_url: str, tmp_path: Path, inbox: Inbox, port: int
) -> None:
    leave(database, "ada@example.org", life_s=10**9)
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
    mail = {"smtp_url": f"smtp://127.0.0.1:{port}", "mail_from": SENDER}

    async def work() -> None:
        app = create_app(Settings(**{**{name: getattr(settings, name) for name in Settings.__slots__}, **mail}), FakeBackend())
        async with app.router.lifespan_context(app), asyncio.timeout(20):
            while waiting(database):
                await asyncio.sleep(0.02)

    run(work())
    assert inbox.to("ada@example.org") == ["Grüße\n"]
