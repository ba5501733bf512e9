"""A guided search by Optuna: each axis is a parameter, figures are objectives, conditions are constraints.

Its study is kept in a storage, by default SQLite beside the rows, and gone on with. A trial is a point; one
that was asked before is answered with its row.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelsum.errors import UsageError
from modelsum.sweeps.conditions import Condition, parse_orders
from modelsum.sweeps.files.forms import written
from modelsum.sweeps.plan import Plan, Point
from modelsum.sweeps.rows import OK, Row

if TYPE_CHECKING:
    import optuna

_NAME = "modelsum"
_GRID = "grid"  # the parameter that says which of several grids a point is of
_ENDED = "modelsum"  # the attribute of a trial that ended, with or without figures


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is searched for.

    Attributes:
        trials: how many points are asked for, those of earlier runs with the same storage among them.
        objectives: figures and axes, as `parse_orders` reads them, whose front is wanted.
        conditions: what points shall keep to.
        seed: of the first trials, which are drawn at random.
        storage: where the study is kept, as Optuna writes it; None for beside the output.
    """

    trials: int
    objectives: str
    conditions: tuple[Condition, ...] = ()
    seed: int = 0
    storage: str | None = None


class Search:
    """Points that a study asks for, until it has had so many trials.

    Attributes:
        left: how many trials are left.
    """

    def __init__(self, plan: Plan, wanted: Wanted, known: Iterable[Row], output: Path | None) -> None:
        """Find the study, or begin it. Raises UsageError where it is one of other objectives.

        Args:
            known: rows that are there already.
            output: the file of the rows, if there is one.
        """
        self._plan = plan
        self._objectives = parse_orders(wanted.objectives, plan.axes)
        self._conditions = wanted.conditions
        self._known = {row.question: row for row in known}
        self._under_way: dict[str, list[optuna.Trial]] = defaultdict(list)
        self._optuna = _library()
        beside = f"sqlite:///{output}.study.db" if output is not None else None
        self._study = self._found(wanted.seed, wanted.storage or beside)
        ended = sum(_ENDED in trial.user_attrs for trial in self._study.get_trials(deepcopy=False))
        self.left = max(wanted.trials - ended, 0)

    def __iter__(self) -> Iterator[Point]:
        while self.left > 0:
            self.left -= 1
            trial = self._study.ask()
            point = self._point(trial)
            if point is None:
                self._end(trial, None)
                continue
            key = point.question
            if key in self._known:
                self._end(trial, self._known[key])
                continue
            is_under_way = key in self._under_way
            self._under_way[key].append(trial)
            if not is_under_way:
                yield point

    def tell(self, row: Row) -> None:
        """What became of a point that was asked for."""
        self._known[row.question] = row
        for trial in self._under_way.pop(row.question, ()):
            self._end(trial, row)

    def _found(self, seed: int, storage: str | None) -> optuna.Study:
        library = self._optuna
        directions = ["maximize" if order.descending else "minimize" for order in self._objectives]
        try:
            study: optuna.Study = library.create_study(
                storage=storage, study_name=_NAME, directions=directions, load_if_exists=True
            )
            begun = len(study.get_trials(deepcopy=False))
        except Exception as error:  # those of the database and its driver are of many kinds
            raise UsageError(f"the storage {storage!r} cannot be used: {error}") from error
        said = ",".join(map(str, self._objectives))
        before = study.user_attrs.get("objectives", said)
        if before != said:
            raise UsageError(
                f"the study in {storage} is of {before}, not of {said}",
                "Name another --storage, or the same figures.",
            )
        study.set_user_attr("objectives", said)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constraints are called experimental
            constraints = _constraints if self._conditions else None
            study.sampler = library.samplers.TPESampler(seed=seed + begun, constraints_func=constraints)
        for trial in study.get_trials(deepcopy=False, states=[library.trial.TrialState.RUNNING]):
            study.tell(trial.number, state=library.trial.TrialState.FAIL)  # it was stopped in the middle
        return study

    def _point(self, trial: optuna.Trial) -> Point | None:
        """The point of a trial; None where it is excluded."""
        grids = self._plan.grids
        several = len(grids) > 1
        place: int = self._suggested(trial, _GRID, range(len(grids))) if several else 0
        number = 0
        for name, values in grids[place].axes.items():
            choices = list(map(_choice, values))
            choice = self._suggested(trial, f"{place}.{name}" if several else name, choices)
            number = number * len(values) + choices.index(choice)
        return self._plan.point_of(place, number)

    def _suggested(self, trial: optuna.Trial, name: str, choices: Sequence[Any]) -> Any:
        try:
            return trial.suggest_categorical(name, choices)
        except ValueError as error:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            raise UsageError(f"the study is of another grid: {error}", "Name another --storage.") from error

    def _end(self, trial: optuna.Trial, row: Row | None) -> None:
        """Tell the study what it asked for: a trial without those figures has failed."""
        trial.set_user_attr(_ENDED, row.key if row else "excluded")
        values = [] if row is None else [o.value(row) for o in self._objectives if not o.is_bound(row)]
        known = [value for value in values if value is not None]
        if row is None or row.status != OK or len(known) < len(self._objectives):
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            return
        trial.set_user_attr("constraints", [condition.excess(row) for condition in self._conditions])
        self._study.tell(trial, known)


def _constraints(trial: optuna.trial.FrozenTrial) -> Sequence[float]:
    found: Sequence[float] = trial.user_attrs.get("constraints", ())
    return found


def _choice(value: Any) -> str | int | float | bool:
    return value if isinstance(value, (str, int, float)) else written(value)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Optuna says nothing of its trials meanwhile. Raises UsageError where it is not there."""
    optuna = _library()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _library() -> Any:
    try:
        import optuna
    except ImportError:
        raise UsageError("--search needs optuna", "pip install 'modelsum[optuna]'") from None
    return optuna
