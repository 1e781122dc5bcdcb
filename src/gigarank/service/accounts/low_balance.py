"""Who is told that credit is running out: once each time that it does. A part of one transaction.

Invariant: whoever was told is told again only after the balance was seen at or above the bound.
"""

from sqlalchemy import Connection, select, update

from gigarank.service.accounts import letters
from gigarank.service.mail.service import Post
from gigarank.service.tables import accounts, people


def tell(connection: Connection, post: Post, least_micros: int, now: int) -> int:
    """Gives how many were told. `least_micros` 0: nobody is."""
    if not least_micros:
        return 0
    low = accounts.c.balance_micros < least_micros
    joined = select(accounts.c.id, accounts.c.email, accounts.c.balance_micros, low.label("low")).join(people)
    changed = (low & (people.c.funded == 1)) | (~low & (people.c.funded.is_distinct_from(1)))
    rows = connection.execute(joined.where(changed, accounts.c.state == "active").order_by(accounts.c.id)).mappings().all()
    told = 0
    for row in rows:
        was, funded = (1, 0) if row["low"] else (0, 1)
        mine = update(people).where(people.c.account_id == row["id"], people.c.funded.is_distinct_from(funded))
        if connection.execute(mine.values(funded=funded)).rowcount and was:
            post.leave(connection, letters.low_balance(post.site, row["email"], row["balance_micros"]), now)
            told += 1
    return told
