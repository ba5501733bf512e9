"""How much memory a process that does tasks may take, so that one model cannot take everybody's."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

#: What is left of the free memory for the others, where nothing else is said.
_SHARE = 0.9
_LEAST = 1 << 30
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_bytes() -> int | None:
    """The share of the memory that is free here which a process may take; None where that is not known."""
    found = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(int(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))) << 10)
    for most, used in _CGROUPS:
        with suppress(OSError, ValueError):
            lines = Path(used).with_name("memory.stat").read_text().splitlines()
            stated = dict(line.split() for line in lines)
            files = stated.get("total_inactive_file", stated.get("inactive_file", "0"))  # which give way
            found.append(int(Path(most).read_text()) - int(Path(used).read_text()) + int(files))
    return max(int(_SHARE * min(found)), _LEAST) if found else None


def hold(more: int) -> None:
    """Let this process have so many bytes more than it has now; on Linux alone. What fails then says so."""
    if sys.platform == "linux":
        import resource

        data_pages = int(Path("/proc/self/statm").read_text().split()[5])
        soft = data_pages * os.sysconf("SC_PAGE_SIZE") + more
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
