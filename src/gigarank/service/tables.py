"""The tables. Money is whole micro-dollars, time whole Unix seconds (UTC), an id a word with its kind before it.

Data, no queries. Invariants, which `gigarank admin check` looks after: an account's balance is the sum of its ledger and of
what is left of its grants; what is held is the sum of its reservations. Rows of the ledger are never changed nor deleted.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)

from gigarank.service import offer_tables

metadata = offer_tables.metadata
_ID = String(40)

accounts = Table(
    "accounts",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("email", String(320), nullable=False, unique=True),  # in lower case
    Column("role", String(16), nullable=False),  # user, operator
    Column("state", String(16), nullable=False),  # active, suspended
    Column("balance_micros", BigInteger, nullable=False),
    Column("held_micros", BigInteger, nullable=False),
    Column("requests_per_minute", Integer),  # null: the server's setting, here and below
    Column("tokens_per_minute", Integer),
    Column("concurrent_requests", Integer),
    Column("next_expiry", BigInteger),  # the earliest end of a grant with something left
    Column("created", BigInteger, nullable=False),
    Column("leaving", _ID),  # of a deleted one: the row of usage up to which nothing says who asked; null: no row does
    CheckConstraint("held_micros >= 0", name="accounts_held"),
    CheckConstraint("balance_micros >= held_micros", name="accounts_balance"),
    Index("accounts_leaving", "leaving"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("account_id", _ID, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("shown", String(16), nullable=False),  # how it begins
    Column("digest", String(64), nullable=False, unique=True),  # HMAC-SHA256, hexadecimal
    Column("secret_id", String(16), nullable=False),
    Column("scopes", String(100), nullable=False),  # with blanks between them
    Column("models", Text),  # a JSON array; null: all
    Column("disabled", Integer, nullable=False),
    Column("expires", BigInteger),
    Column("cap_micros", BigInteger),
    Column("cap_period", String(8), nullable=False),  # total, day, week, month
    Column("spent_micros", BigInteger, nullable=False),  # since `spent_from`
    Column("spent_from", BigInteger, nullable=False),
    Column("held_micros", BigInteger, nullable=False),
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    Column("concurrent_requests", Integer),
    Column("last_used", BigInteger),
    Column("deleted", BigInteger),  # its digest is its id then, which no text has
    Column("created", BigInteger, nullable=False),
    CheckConstraint("held_micros >= 0", name="keys_held"),
)

grants = Table(
    "grants",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("account_id", _ID, ForeignKey("accounts.id"), nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("left_micros", BigInteger, nullable=False),
    Column("priority", Integer, nullable=False),  # lower is spent first
    Column("expires", BigInteger),
    Column("reason", String(200), nullable=False),
    Column("created", BigInteger, nullable=False),
    CheckConstraint("amount_micros > 0", name="grants_amount"),
    CheckConstraint("left_micros >= 0 AND left_micros <= amount_micros", name="grants_left"),
    Index("grants_of", "account_id", "priority", "expires"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("account_id", _ID, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("grant_id", _ID, ForeignKey("grants.id"), nullable=False),
    Column("kind", String(16), nullable=False),  # grant, debit, expiry
    Column("amount_micros", BigInteger, nullable=False),  # into the account; a debit is below 0
    Column("usage_id", _ID),  # of a debit
    Column("created", BigInteger, nullable=False),
    Index("ledger_once", "usage_id", "grant_id", unique=True),
    Index("ledger_pages", "account_id", "id"),
)

prices = Table(
    "prices",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("model", String(200), nullable=False),  # "*": any model without a price of its own
    Column("tier", String(16), nullable=False),  # default, batch
    Column("unit", String(16), nullable=False),  # tokens: a million; documents: a thousand
    Column("micros", BigInteger, nullable=False),
    Column("valid_from", BigInteger, nullable=False),  # until the next one's
    CheckConstraint("micros >= 0", name="prices_micros"),
    Index("prices_of", "model", "tier", "valid_from", unique=True),
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("account_id", _ID, ForeignKey("accounts.id"), nullable=False),
    Column("key_id", _ID, ForeignKey("keys.id"), nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("owner", _ID, nullable=False),  # the process that renews it
    Column("expires", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("batch_id", _ID),  # null, here and in usage: a request of its own
    CheckConstraint("amount_micros >= 0", name="reservations_amount"),
    Index("reservations_of", "account_id", "key_id"),
    Index("reservations_expire", "expires"),
)

usage = Table(
    "usage",
    metadata,
    Column("id", _ID, primary_key=True),  # its reservation's
    Column("request_id", String(128), nullable=False),  # as the answer says it; a client may have chosen it
    Column("account_id", _ID, ForeignKey("accounts.id"), nullable=False),
    Column("key_id", _ID, ForeignKey("keys.id"), nullable=False),
    Column("model", String(200), nullable=False),
    Column("route", String(200), nullable=False),
    Column("tier", String(16), nullable=False),
    Column("documents", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("price_id", _ID, ForeignKey("prices.id"), nullable=False),
    Column("latency_ms", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("day", String(10), nullable=False),  # UTC, as 2026-11-26
    Column("batch_id", _ID),
    Index("usage_of", "account_id", "created"),
    Index("usage_days", "account_id", "day"),
    Index("usage_pages", "account_id", "id"),
)

repeats = Table(
    "repeats",
    metadata,
    Column("account_id", _ID, ForeignKey("accounts.id"), primary_key=True),
    Column("name", String(255), primary_key=True),  # the Idempotency-Key
    Column("digest", String(64), nullable=False),  # SHA-256 of method, path and body
    Column("holder", _ID, nullable=False),  # the request that works on it
    Column("held_until", BigInteger, nullable=False),
    Column("status", Integer),  # null: not answered yet, as the next two
    Column("content_type", String(100)),
    Column("body", LargeBinary),
    Column("expires", BigInteger, nullable=False),
    Index("repeats_expire", "expires"),
)

files = Table(
    "files",
    metadata,
    Column("id", _ID, primary_key=True),  # and its name in the store
    Column("account_id", _ID, ForeignKey("accounts.id"), nullable=False),
    Column("purpose", String(16), nullable=False),  # batch, batch_output
    Column("filename", String(255), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("state", String(8), nullable=False),  # pending: not in the store yet; ready; gone: not in the store for long
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("files_of", "account_id", "created"),
    Index("files_expire", "expires"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("account_id", _ID, ForeignKey("accounts.id"), nullable=False),
    Column("key_id", _ID, ForeignKey("keys.id"), nullable=False),  # which pays
    Column("models", Text),  # a JSON array of what it may ask; null: all
    Column("endpoint", String(64), nullable=False),
    Column("input_file_id", _ID, nullable=False),
    Column("metadata", Text),  # a JSON object
    Column("output_seconds", Integer),  # until its files expire
    Column("state", String(16), nullable=False),  # OpenAI's `status`
    Column("errors", Text),  # a JSON array, where the input is no batch
    Column("model", String(200)),
    Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("lines_done", Integer, nullable=False),  # of the input, blank ones among them
    Column("bytes_done", BigInteger, nullable=False),
    Column("output_file_id", _ID),
    Column("error_file_id", _ID),
    Column("created", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    *(Column(f"{event}_at", BigInteger) for event in ("in_progress", "finalizing", "completed", "failed", "expired")),
    *(Column(f"{event}_at", BigInteger) for event in ("cancelling", "cancelled")),
    Column("owner", _ID),  # the process that works on it, as long as
    Column("held_until", BigInteger, nullable=False),
    Column("turn", BigInteger, nullable=False),  # milliseconds; of several, the lowest is next
    Index("batches_of", "account_id", "created"),
    Index("batches_open", "state", "turn"),
)

batch_turns = Table(
    "batch_turns",
    metadata,
    Column("account_id", _ID, primary_key=True),  # no foreign key: who takes a batch waits for nobody that holds the account
    Column("turn", BigInteger, nullable=False),  # counts whenever a batch is taken; of several accounts, the lowest is next
)

batch_segments = Table(
    "batch_segments",
    metadata,
    Column("batch_id", _ID, ForeignKey("batches.id"), primary_key=True),
    Column("bytes_done", BigInteger, primary_key=True),  # of the input, at its end
    Column("output", String(100)),  # names in the store; null: nothing of the kind
    Column("errors", String(100)),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("recipient", String(320), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),  # not sent from then on
    Column("owner", _ID),  # the process that sends it, as long as
    Column("held_until", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Index("outbox_due", "next_try"),
)

people = Table(
    "people",
    metadata,
    Column("account_id", _ID, ForeignKey("accounts.id"), primary_key=True),
    Column("password", String(200)),  # Argon2id; null: none, they come from a provider
    Column("funded", Integer),  # 1: the balance was above low_balance_usd when it was looked at last
    Column("verified", BigInteger, nullable=False),  # when they had read what was sent to the address
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256 of the cookie's token
    Column("account_id", _ID, ForeignKey("accounts.id"), nullable=False),
    Column("agent", String(200), nullable=False),
    Column("address", String(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("sessions_of", "account_id"),
)

links = Table(
    "links",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the token
    Column("purpose", String(8), nullable=False),  # verify, reset, email
    Column("email", String(320), nullable=False),  # where it was sent
    Column("account_id", _ID, ForeignKey("accounts.id")),
    Column("password", String(200)),  # of a sign-up
    Column("expires", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Index("links_to", "email"),
)
