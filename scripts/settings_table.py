"""Writes the table of settings anew into docs/operations.md, from the table that the program itself uses."""

import re
from pathlib import Path

from gigarank.service.configuration import table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operations.md"
MARKED = re.compile(r"(<!-- settings -->\n).*?(\n<!-- /settings -->)", re.DOTALL)


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARKED.sub(lambda found: f"{found[1]}{table()}{found[2]}", page), encoding="utf-8")


if __name__ == "__main__":
    main()
