"""The peak of a stretch of work, by both ways of measuring it."""

import time
from collections.abc import Callable

import pytest

from fresh_memory import fresh_memory
from gigarank.bench.memory import KernelPeak, PeakMemory, SampledPeak, Watch

MEBIBYTE = 1 << 20


def fill(mebibytes: int) -> None:
    with fresh_memory(mebibytes) as held:
        time.sleep(0.05)
        assert held[-1] == 1


@pytest.mark.parametrize("kind", [KernelPeak, SampledPeak])
def test_what_was_held_for_a_moment_counts(kind: Callable[[], Watch]) -> None:
    idle = kind()
    idle.start()
    before = idle.stop()
    watch = kind()
    watch.start()
    fill(200)
    assert 190 * MEBIBYTE < watch.stop() - before < 260 * MEBIBYTE


def test_what_was_held_before_does_not_count() -> None:
    with PeakMemory() as large:
        fill(300)
    with PeakMemory() as small:
        pass
    assert large.peak_bytes - small.peak_bytes > 250 * MEBIBYTE
    assert small.peak_bytes > MEBIBYTE


def test_the_method_is_stated() -> None:
    assert PeakMemory().method in (KernelPeak.method, SampledPeak.method)
    assert "sampled every 10 ms" in SampledPeak.method


def test_a_sampling_thread_ends_with_its_watch() -> None:
    watch = SampledPeak()
    watch.start()
    watch.stop()
    assert not watch._thread.is_alive()
