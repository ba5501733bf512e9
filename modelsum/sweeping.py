"""`sweep`: the points of grids, on all cores or a cluster -> rows as they come, and a Sweep."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from modelsum import jobs as processes
from modelsum.baselines.configuration import defaults
from modelsum.baselines.quantity import parse_amount
from modelsum.errors import UsageError
from modelsum.plain import plain
from modelsum.sweeps import files, grid, keys
from modelsum.sweeps.answering import Answer, Marks, Task
from modelsum.sweeps.conditions import parse_condition, parse_orders
from modelsum.sweeps.engines import local
from modelsum.sweeps.engines.local import Limits
from modelsum.sweeps.files import Output
from modelsum.sweeps.plan import Plan, Point
from modelsum.sweeps.reading import Sweep
from modelsum.sweeps.rows import ERROR, Row, axes_of
from modelsum.sweeps.search import Search, Wanted, quiet

#: What does tasks: those that it is given, as it asks for them -> each with its answer, as they are done.
Engine: TypeAlias = Callable[[Iterable[Task]], Generator[tuple[Task, Answer], None, None]]


def sweep(
    grid: str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
    *,
    points: Iterable[Mapping[str, Any]] = (),
    output: str | Path | None = None,
    where: str | Sequence[str] = (),
    pareto: str | None = None,
    sort: str | None = None,
    top: int | None = None,
    sample: int | None = None,
    search: int | None = None,
    storage: str | None = None,
    seed: int = 0,
    shard: tuple[int, int] | None = None,
    retry: bool = False,
    jobs: int | None = None,
    timeout: float | None = None,
    memory_limit: int | str | None = None,
    dask: str | None = None,
) -> Sweep:
    """Say what every point of a grid costs.

        >>> sweep({"model": ["resnet18", "resnet50"], "batch": [1, 32]}, output="rows.csv")  # doctest: +SKIP

    Args:
        grid: a TOML file of [[grid]] tables, one such table or several: each key a value or a list of them,
            as in a check of a project's configuration; `args` or "args.KEY" for constructor arguments.
        points: points by themselves, with the same keys; a list is a value here.
        output: the file that rows are added to as they come (.csv, .jsonl, .parquet). What it has already,
            and still holds, is not done again.
        where, pareto, sort, top: which rows the result shows, as on the command line.
        sample: so many points, drawn at random with the seed.
        search: so many points that Optuna asks for, to find the front of `pareto` within `where`; its study
            is kept in `storage`, by default SQLite beside the output.
        shard: (3, 8) is the third eighth of the points.
        retry: do points again that have no figures.
        jobs: processes of this machine; None for a process a core.
        timeout: seconds that a point may take.
        memory_limit: bytes that a point may take, or "8 GiB"; None for most of what is free.
        dask: the address of a Dask scheduler, whose workers do the points.

    Raises:
        UsageError: the words are wrong. A point that cannot be built or run is a row and no exception.
    """
    plan = plan_of(_grids(grid, points), defaults.of_project(Path.cwd()).values, sample, seed, shard)
    limits = Limits(timeout, None if memory_limit is None else parse_amount(memory_limit, is_bytes=True))
    engine = on_dask(dask, limits) if dask else on_this_machine(limits, jobs)
    conditions = [where] if isinstance(where, str) else where
    wanted = wanted_by(search, pareto, conditions, seed, storage)
    ran = run(plan, engine, Path(output) if output is not None else None, search=wanted, retry=retry)
    return shown(ran.sweep(), conditions, pareto, sort, top)


def _grids(given: Any, points: Iterable[Mapping[str, Any]]) -> list[grid.Grid]:
    if isinstance(given, (str, Path)):
        found = list(grid.read(Path(given)))
    else:
        found = list(map(grid.of_mapping, [given] if isinstance(given, Mapping) else given))
    return [*found, *map(grid.of_point, points)]


def plan_of(
    grids: Sequence[grid.Grid],
    defaults: Mapping[str, str],
    sample: int | None = None,
    seed: int = 0,
    shard: tuple[int, int] | None = None,
) -> Plan:
    """The points that are meant, their words known to be right. Raises UsageError."""
    if not grids:
        raise UsageError("there is no grid", 'Name a file, or axes: model=["resnet18", "resnet50"].')
    plan = Plan(grids, defaults)
    plan.check()
    if sample is not None:
        plan = plan.sample(sample, seed)
    if shard is not None:
        number, of = shard
        if not 1 <= number <= of:
            raise UsageError(f"shard {number}/{of}: there is no such share", f"Write 1/{of} to {of}/{of}.")
        plan = plan.shard(number, of)
    return plan


def on_this_machine(limits: Limits, most: int | None = None) -> Engine:
    """The processes of this machine."""
    if most is not None and most < 1:
        raise UsageError(f"jobs {most} is not a positive whole number", "Write 1 or more.")
    return partial(local.answers, most=most or processes.cores(), allowed=limits)


def on_dask(
    address: str, limits: Limits, say: Callable[[str], object] = lambda text: print(text, file=sys.stderr)
) -> Engine:
    """The workers of a Dask cluster; `say` is told which are refused."""
    from modelsum.sweeps.engines import dask  # which most do without

    return partial(dask.answers, address=address, limits=limits, say=say)


def wanted_by(
    trials: int | None, pareto: str | None, where: Iterable[str], seed: int = 0, storage: str | None = None
) -> Wanted | None:
    """The search that is asked for, if one is. Raises UsageError where it looks for nothing."""
    if trials is None:
        return None
    if pareto is None:
        what = "Give pareto: figures that shall be small, like macs,training_peak; -batch for large."
        raise UsageError("search is given, and nothing to search for", what)
    return Wanted(trials, pareto, tuple(map(parse_condition, where)), seed, storage)


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        points: how many there are to be done in all.
        before: of those, done by earlier runs.
        done: by this one.
    """

    points: int
    before: int = 0
    done: int = 0


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run has done.

    Attributes:
        plan: its points.
        file: where the rows are; None where they are here.
        rows: those that are here.
        statuses: how many points have which.
    """

    plan: Plan
    file: Output | None
    rows: Sequence[Row]
    statuses: Mapping[str, int]

    def sweep(self) -> Sweep:
        """The rows of the plan, in the order of its points."""
        rows, file = self.rows, self.file
        if file is not None:
            rows = [row for row in files.read(file.path) if row.question in file.done]
        return Sweep(self.plan.axes, tuple(sorted(rows, key=self._place)), notices=self.notices)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader of the rows should know."""
        said, file = [], self.file
        if file is not None and file.others:
            said.append(f"{file.path.name} also has {file.others:,} rows of other points")
        if file is not None and file.stale:
            kept = f"{file.path.name}.before"
            said.append(f"{file.stale:,} rows did not hold and were done again; {kept} is the file before")
        of_project = {key: word for key, word in self.plan.defaults.items() if key not in self.plan.axes}
        if of_project:
            words = ", ".join(f"{key} = {word}" for key, word in of_project.items())
            said.append(f"from the project's configuration: {words}")
        return tuple(said)

    def _place(self, row: Row) -> int:
        point = self.plan.find(row.point)
        return point.number if point is not None else 0


def run(
    plan: Plan,
    engine: Engine,
    output: Path | None = None,
    *,
    search: Wanted | None = None,
    retry: bool = False,
    ready: Callable[[], None] = lambda: None,
    progress: Callable[[Progress], None] = lambda state: None,
) -> Ran:
    """Do the points of a plan that are not done yet, or those that a search asks for.

    Args:
        output: the file that has rows of earlier runs, and gets those of this one as they come.
        search: what Optuna looks for among the points.
        retry: points without figures are done again.
        ready: called before the first point is done, if one is left.
        progress: told of every row.

    Raises UsageError.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_opened(output, plan, retry)) if output is not None else None
        done = set(file.done) if file is not None else set()
        points: Plan | Search = plan
        state = Progress(0 if search else len(plan), before=len(done))
        if search is not None:
            stack.enter_context(quiet())
            known = files.read(file.lines) if file is not None else ()
            points = Search(plan, search, [row for row in known if row.question in done], output)
            state = Progress(points.left)
        progress(state)
        rows = []
        for row in _rows(points, engine, done, ready, state, progress, file):
            if isinstance(points, Search):
                points.tell(row)
            if file is None:
                rows.append(row)
    return Ran(plan, file, rows, file.statuses if file is not None else Counter(row.status for row in rows))


@contextlib.contextmanager
def _opened(output: Path, plan: Plan, retry: bool) -> Iterator[Output]:
    """The file of a plan's rows, with what it has of them that still holds."""

    def asked(values: Mapping[str, Any]) -> str | None:
        point = plan.find(values)
        return point.question if point is not None else None

    with Output(output).open() as file:
        file.settle(plan.axes, asked, retry=retry)
        yield file


def _rows(
    points: Iterable[Point],
    engine: Engine,
    done: set[str],
    ready: Callable[[], None],
    state: Progress,
    progress: Callable[[Progress], None],
    file: Output | None = None,
) -> Iterator[Row]:
    """The rows of points whose questions are not done, written to a file as they come."""
    under_way: dict[int, tuple[Point, str]] = {}
    unasked: deque[Row] = deque()  # whose values cannot stand together

    def tasks() -> Iterator[Task]:
        for point in points:
            question = point.question
            if question in done:
                continue
            done.add(question)
            if point.request is None:
                unasked.append(Row(plain(point.values), ERROR, question, reason=point.error))
                continue
            if not state.done and not under_way:
                ready()
            under_way[point.number] = point, question
            yield Task(point.number, point.request, keys.kind(point.request), file is not None)

    def noted(row: Row, marks: Marks | None = None) -> Row:
        if file is not None:
            file.add(row, marks)
        state.done += 1
        progress(state)
        return row

    with contextlib.closing(engine(tasks())) as answers:
        for task, answer in answers:
            point, question = under_way.pop(task.number)
            key = f"{question}-{answer.evidence}" if answer.evidence else question
            found = (answer.status, key, answer.figures, answer.memory_bound, answer.reason)
            yield noted(Row(plain(point.values), *found), answer.marks)
            while unasked:
                yield noted(unasked.popleft())
    while unasked:
        yield noted(unasked.popleft())


def read(path: Path) -> Sweep:
    """The rows of a file, in their order there. Raises UsageError."""
    rows = tuple(files.read(path))
    return Sweep(axes_of(rows), rows)


def shown(
    found: Sweep,
    where: Iterable[str] = (),
    pareto: str | None = None,
    sort: str | None = None,
    top: int | None = None,
) -> Sweep:
    """What a reader asks for of rows. Raises UsageError for figures and axes that there are none of."""
    conditions = [parse_condition(text) for text in where]
    found = found.where(*conditions) if conditions else found
    found = found.pareto(*parse_orders(pareto, found.axes)) if pareto is not None else found
    found = found.sorted(*parse_orders(sort, found.axes)) if sort is not None else found
    return found.top(top) if top is not None else found
