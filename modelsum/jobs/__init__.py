"""Pieces of work that do not depend on each other, shared out to processes of this machine."""

from modelsum.jobs.sharing import as_finished, cores, results
from modelsum.jobs.worker import Ended

__all__ = ["Ended", "as_finished", "cores", "results"]
