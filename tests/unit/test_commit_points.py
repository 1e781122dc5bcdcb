"""The check that only db.py commits: what it sees, and that the source passes."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMITS = [
    "connection.commit()",
    "engine.begin()",
    "session.begin_nested()",
    "connection.rollback()",
    "Session(engine)",
    "connection.execute(text('COMMIT'))",
    "run('begin immediate')",
    "run('ROLLBACK TO first')",
]
OTHERS = ["committed()", "'begin with a word'", "commit = 1", "text('SELECT 1')", "a.release()"]


def check(root: Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "commit_points.py", root], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_every_way_to_commit_is_seen_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "src" / "gigarank" / "service"
    folder.mkdir(parents=True)
    (folder / "db.py").write_text("connection.commit()\n")
    (folder / "fine.py").write_text("\n".join(OTHERS) + "\n")
    assert check(tmp_path) == (0, ["2 modules, one commit point"])
    (folder / "other.py").write_text("\n".join(COMMITS) + "\n")
    status, told = check(tmp_path)
    assert status == 1
    places = {line.split(": ")[0] for line in told[:-1]}
    assert places == {f"src/gigarank/service/other.py:{number}" for number in range(1, len(COMMITS) + 1)}


def test_the_source_has_one() -> None:
    assert check(ROOT)[0] == 0
