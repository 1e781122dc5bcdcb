"""Known vulnerabilities among the installed packages, as pip-audit finds them.

Says so where it could not look: without pip-audit, or without its database, nothing was audited, and nothing passes for
audited. Exit status 1 means that a package has a known vulnerability; 0 that none was found, or that nobody looked.
"""

import importlib.util
import json
import subprocess
import sys
from typing import Any

_TIMEOUT_S = 300


def verdict(report: dict[str, Any]) -> tuple[int, list[str]]:
    """(exit status, lines) of a report of `pip-audit --format json`. A package that it could not look up has a skip_reason."""
    packages = report["dependencies"]
    looked_up = [package for package in packages if "skip_reason" not in package]
    found = [_line(package, hole) for package in looked_up for hole in package["vulns"]]
    if found:
        return 1, found
    if not looked_up:
        return 0, [f"skipped: none of {len(packages)} packages could be looked up in the advisory database"]
    missing = [package["name"] for package in packages if "skip_reason" in package]
    return 0, [
        f"{len(looked_up)} packages without a known vulnerability",
        *([f"not looked up: {', '.join(missing)}"] if missing else []),
    ]


def _line(package: dict[str, Any], hole: dict[str, Any]) -> str:
    fixed = ", ".join(hole.get("fix_versions") or ["no version yet"])
    return f"{package['name']} {package['version']}: {hole['id']}, fixed in {fixed}"


def main() -> int:
    if importlib.util.find_spec("pip_audit") is None:
        print("skipped: pip-audit is not installed")
        return 0
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--format",
        "json",
        "--progress-spinner",
        "off",
        "--skip-editable",
        "--timeout",
        "15",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        print(f"skipped: pip-audit had not looked everything up after {_TIMEOUT_S} s")
        return 0
    if not done.stdout.strip():
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"skipped: pip-audit could not look anything up: {reason[:200]}")
        return 0
    status, lines = verdict(json.loads(done.stdout))
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
