"""A second host on this one: a network namespace behind a pair of interfaces, whose packets can be dropped both ways.

Needs root and the kernel's leave to make namespaces; `Impossible` says what is missing. Invariant: what was made is gone at the
end, whatever happened meanwhile.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_INSTALL = "apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"


class Impossible(Exception):  # noqa: N818 - no error: this machine cannot do the drill
    pass


def provide(program: str, package: str) -> None:
    """Installs Debian's package where the program is missing; one process after another."""
    with Path("/tmp/gigarank-packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if shutil.which(program) is None and os.geteuid() == 0 and shutil.which("apt-get"):
            subprocess.run(["sh", "-c", f"{_INSTALL} {package}"], capture_output=True, check=False)
    if shutil.which(program) is None:
        raise Impossible(f"no {program} here: install the package {package}")


def _do(*words: str, given: str = "") -> str:
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Impossible(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Island:
    name: str
    address: str

    def inside(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *words]

    def cut(self) -> None:
        """Nothing gets in or out, and nobody is told."""
        ways = (("input", "iifname"), ("output", "oifname"))
        rules = [
            f'chain {hook} {{ type filter hook {hook} priority 0; {interface} != "lo" drop; }}' for hook, interface in ways
        ]
        _do(*self.inside("nft", "-f", "-"), given="\n".join(["table inet cut {", *rules, "}"]) + "\n")

    def mend(self) -> None:
        _do(*self.inside("nft", "delete", "table", "inet", "cut"))


@contextmanager
def island() -> Iterator[Island]:
    """10.213.N.2, which this host reaches as 10.213.N.1."""
    if os.geteuid():
        raise Impossible("network namespaces need root")
    provide("ip", "iproute2")
    provide("nft", "nftables")
    number = os.getpid() % 251
    made = Island(f"gigarank{os.getpid()}", f"10.213.{number}.2")
    near, far = f"gr{os.getpid()}a", f"gr{os.getpid()}b"
    _do("ip", "netns", "add", made.name)
    try:
        _do("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", made.name)
        _do("ip", "addr", "add", f"10.213.{number}.1/30", "dev", near)
        _do("ip", "link", "set", near, "up")
        for words in (
            ("addr", "add", f"{made.address}/30", "dev", far),
            ("link", "set", far, "up"),
            ("link", "set", "lo", "up"),
        ):
            _do("ip", "-n", made.name, *words)
        made.cut()  # whether that can be done at all
        made.mend()
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.name], capture_output=True, check=False)
