"""The highest resident memory of this process over a stretch of work.

Linux keeps the highest value itself and lets a process reset it; where that is not possible a thread samples. Resident memory
counts memory-mapped files too, as far as their pages have been read. Invariant: `peak_bytes` covers the stretch between
entering and leaving, and nothing before it.
"""

import re
import threading
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_SAMPLE_SECONDS = 0.01


class Watch(Protocol):
    """What can tell the peak: the kernel's count, or a sampling thread."""

    @property
    def method(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> int: ...


class KernelPeak:
    """VmHWM, reset through clear_refs."""

    method = "VmHWM of the process, reset before"

    def start(self) -> None:
        _RESET.write_text("5", encoding="ascii")  # 5: reset the peak resident set size, and nothing else

    def stop(self) -> int:
        found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0


class SampledPeak:
    """The highest of many samples; it can miss a peak shorter than the step between them."""

    method = f"resident size of the process, sampled every {_SAMPLE_SECONDS * 1000:.0f} ms"

    def __init__(self) -> None:
        self._process: Any = import_module("psutil").Process()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._highest = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return max(self._highest, self._now())

    def _now(self) -> int:
        return int(self._process.memory_info().rss)

    def _sample(self) -> None:
        while True:
            self._highest = max(self._highest, self._now())
            if self._done.wait(_SAMPLE_SECONDS):
                return


class PeakMemory:
    """`with PeakMemory() as peak: work()`, then `peak.peak_bytes` and, in words, `peak.method`."""

    def __init__(self) -> None:
        self._watch: Watch = KernelPeak() if _resettable() else SampledPeak()
        self.method = self._watch.method
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.peak_bytes = self._watch.stop()


def _resettable() -> bool:
    try:
        KernelPeak().start()
    except OSError:
        return False
    return True
