"""Memory that the process did not have before."""

import mmap


def fresh_memory(mebibytes: int) -> mmap.mmap:
    """So many MiB of new pages, all touched. Not by an allocator: a long-lived process has freed memory that it would reuse,
    and the resident size would not grow."""
    size = mebibytes << 20
    held = mmap.mmap(-1, size)
    for start in range(0, size, 1 << 20):
        held[start : start + (1 << 20)] = b"\x01" * (1 << 20)
    return held
