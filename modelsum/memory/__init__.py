"""From a log of tensor lifetimes to figures: peaks and what they are made of, optimizers, the allocator.

Plain Python without torch: `modelsum.trace` records the lifetimes, this package counts them.
"""

from modelsum.memory.options import MemoryOptions
from modelsum.memory_values import Memory, ModuleMemory, Peak, Point

__all__ = ["Memory", "MemoryOptions", "ModuleMemory", "Peak", "Point"]
