"""What the optimizers of torch.optim allocate, as closed forms: state that stays, and temporaries.

Running a real optimizer would cost 1.2 s for the first step (it imports torch._dynamo). Each form here
follows the statements of torch/optim/{sgd,adam,_adafactor}.py (2.14.1), of Lion those of timm's
optim/lion.py, with their default settings, allocation by allocation; the tests compare it with the real
step through the same log. Temporaries of a for-loop are bound to names and live until the name is bound
again in the next round, so that two or three buffers of the largest parameter are alive at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod

from modelsum.memory.log import OPTIMIZER_STATE, Log

# torch keeps the count of steps as a float32 scalar of its own for every parameter. It is on the CPU
# unless the optimizer is fused, whatever the device of the parameters.
_STEP_BYTES = 4


@dataclass(frozen=True, slots=True)
class Trained:
    """A parameter with a gradient: its shape, and the bytes of an element."""

    shape: tuple[int, ...]
    element_bytes: int

    @property
    def elements(self) -> int:
        """Its elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the parameter, and of every buffer like it."""
        return self.elements * self.element_bytes


def step(
    log: Log,
    trained: Sequence[Trained],
    optimizer: str,
    implementation: str,
    *,
    first: bool,
    counts_on_device: bool,
    weight_decay: bool = False,
) -> None:
    """Log one optimizer step.

    Args:
        log: takes the events; state gets the category of optimizer state and stays.
        trained: the parameters that have gradients.
        optimizer: one in closed form of `modelsum.memory.options.OPTIMIZERS`.
        implementation: "for-loop", "foreach" or "fused".
        first: the state does not exist yet and is made.
        counts_on_device: the scalars that count steps are on the device of the parameters: always on the
            CPU, elsewhere with a fused optimizer.
        weight_decay: there is one. SGD and Adam add it to the gradients; a fused step does that inside.
    """
    if optimizer == "none" or not trained:
        return
    names = _Names(log)
    counts = _STEP_BYTES if counts_on_device else 0
    decays = weight_decay and implementation != "fused"
    _FORMS[optimizer](names, trained, _How(implementation, first, counts, decays))
    names.end()


@dataclass(frozen=True, slots=True)
class _How:
    """What else a form goes by; `counts` are the bytes on the device of a count of steps."""

    implementation: str
    first: bool
    counts: int
    decays: bool


class _Names:
    """The local variables of an optimizer's step: a buffer lives until its name stands for another one."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._held: dict[str, list[int]] = {}

    def state(self, nbytes: int) -> None:
        """A buffer that stays."""
        if nbytes:
            self.log.allocate(nbytes, OPTIMIZER_STATE)

    def bind(self, name: str, *sizes: int) -> None:
        """Allocate buffers for the name, and give back what it stood for before."""
        new = [self.log.allocate(nbytes) for nbytes in sizes]
        self.drop(name)
        self._held[name] = new

    def rename(self, name: str, new_name: str) -> None:
        """The value gets another name; what that stood for before is given back."""
        value = self._held.pop(name)
        self.drop(new_name)
        self._held[new_name] = value

    def drop(self, name: str) -> None:
        """The name stands for nothing any more."""
        for number in self._held.pop(name, ()):
            self.log.release(number)

    def end(self) -> None:
        """The function returns."""
        for name in list(self._held):
            self.drop(name)


def _sgd(names: _Names, trained: Sequence[Trained], how: _How) -> None:
    """p += -lr * g, in place; with weight decay g = g.add(p, alpha=weight_decay)."""
    if how.decays:
        for group in _at_once(trained, how):
            names.bind("grad", *(p.nbytes for p in group))
            names.drop("grad")  # in a loop the name stands for the next gradient first


def _momentum(names: _Names, trained: Sequence[Trained], how: _How) -> None:
    """State: one buffer a parameter, at first a copy of its gradient, which is then used in its place."""
    for group in _at_once(trained, how):
        if how.decays:
            names.bind("grad", *(p.nbytes for p in group))
        if how.first:
            for p in group:
                names.state(p.nbytes)
        names.drop("grad")


def _adam(names: _Names, trained: Sequence[Trained], how: _How) -> None:
    """State: exp_avg and exp_avg_sq. Temporaries: denom = (exp_avg_sq.sqrt() / correction).add_(eps).

    With weight decay g = g.add(p, alpha=weight_decay); AdamW has none: its decay is in place.
    """
    if how.first:
        for p in trained:
            names.state(how.counts)
            names.state(p.nbytes)
            names.state(p.nbytes)
    if how.implementation == "for-loop":
        for p in trained:
            if how.decays:
                names.drop("grad")
                names.bind("grad", p.nbytes)
            names.bind("root", p.nbytes)
            names.bind("quotient", p.nbytes)
            names.drop("root")
            names.rename("quotient", "denom")
    elif how.implementation == "foreach":
        if how.decays:
            names.bind("grad", *(p.nbytes for p in trained))
            names.drop("grad")
        names.bind("exp_avg_sq_sqrt", *(p.nbytes for p in trained))


def _adamw(names: _Names, trained: Sequence[Trained], how: _How) -> None:
    """As Adam; its weight decay is in place."""
    _adam(names, trained, replace(how, decays=False))


def _at_once(trained: Sequence[Trained], how: _How) -> Iterable[Sequence[Trained]]:
    """The parameters that are stepped together: all of them with foreach, one after the other in a loop."""
    return [trained] if how.implementation == "foreach" else [[p] for p in trained]


def _adafactor(names: _Names, trained: Sequence[Trained], how: _How) -> None:
    """State: a row and a column of variances for a matrix (the last two dimensions), else a variance."""
    if how.first:
        for p in trained:
            names.state(how.counts)
            if len(p.shape) > 1:
                names.state(_row(p))
                names.state(_column(p))
            else:
                names.state(p.nbytes)
    if how.implementation == "for-loop":
        _adafactor_for_loop(names, trained)
    else:
        matrices = [p for p in trained if len(p.shape) > 1]
        vectors = [p for p in trained if len(p.shape) <= 1]
        first_matrix = bool(trained) and len(trained[0].shape) > 1
        for group in (matrices, vectors) if first_matrix else (vectors, matrices):
            _adafactor_foreach(names, group)


def _row(p: Trained) -> int:
    return p.nbytes // max(p.shape[-1], 1)


def _column(p: Trained) -> int:
    return p.nbytes // max(p.shape[-2], 1)


def _corner(p: Trained) -> int:
    return p.nbytes // max(p.shape[-1] * p.shape[-2], 1)


def _adafactor_for_loop(names: _Names, trained: Sequence[Trained]) -> None:
    for p in trained:
        _norm(names, p)
        if len(p.shape) > 1:
            names.bind("row_mean", _row(p))
            names.bind("col_mean", _column(p))
            names.bind("var_estimate", p.nbytes)
            names.bind("mean", _corner(p))
            names.drop("mean")
        else:
            names.bind("grad_squared", p.nbytes)
            names.bind("var_estimate", p.nbytes)
        # `update` is var_estimate itself, changed in place: both names hold it until both are bound again.
        names.drop("update")
        _norm(names, p)
        names.rename("var_estimate", "update")


def _norm(names: _Names, p: Trained) -> None:
    names.bind("norm", p.element_bytes)
    names.drop("norm")


def _adafactor_foreach(names: _Names, group: Sequence[Trained]) -> None:
    if not group:
        return
    if len(group[0].shape) > 1:
        names.bind("row_means", *map(_row, group))
        names.drop("row_means")
        names.bind("col_means", *map(_column, group))
        names.drop("col_means")
        names.bind("var_estimates", *(p.nbytes for p in group))
        names.bind("row_var_means", *map(_corner, group))
        names.drop("row_var_means")
    else:
        names.bind("grads_squared", *(p.nbytes for p in group))
        names.drop("grads_squared")
        names.bind("var_estimates", *(p.nbytes for p in group))
    names.drop("updates")
    names.rename("var_estimates", "updates")


def _lion(names: _Names, trained: Sequence[Trained], how: _How) -> None:
    """State: exp_avg. Temporaries: update = exp_avg.lerp(grad, 1 - beta1).sign_()."""
    if how.first:
        for p in trained:
            names.state(p.nbytes)
    if how.implementation == "for-loop":
        for p in trained:
            names.bind("update", p.nbytes)
    else:
        names.bind("updates", *(p.nbytes for p in trained))


_SMALLEST_IN_8_BIT = 4096  # elements: smaller states stay as they were
_IN_A_BLOCK = 256  # elements that share a scale, a float32
_CODES = 256  # numbers, in float32, that the codes of 8 bits stand for


def _bnb_8bit(names: _Names, trained: Sequence[Trained], how: _How) -> None:
    """bitsandbytes 0.50.2, optim/optimizer.py: codes and scales of both states; their tables once for all.

    The step is one kernel a parameter, in place. States in 32 bits are float32, whatever the parameter.
    """
    if not how.first:
        return
    if any(p.elements >= _SMALLEST_IN_8_BIT for p in trained):
        for _ in range(2):
            names.state(4 * _CODES)
    for p in trained:
        for _ in range(2):
            if p.elements < _SMALLEST_IN_8_BIT:
                names.state(4 * p.elements)
            else:
                names.state(p.elements)
                names.state(4 * -(-p.elements // _IN_A_BLOCK))


def _torchao_8bit(names: _Names, trained: Sequence[Trained], how: _How) -> None:
    """torchao 0.18, optim/adam.py: codes, scales and a table for each state of each parameter.

    A parameter whose elements do not fill its blocks has plain states. The step is compiled: what it
    allocates is not known.
    """
    for p in trained if how.first else ():
        for _ in range(2):
            if p.elements < _SMALLEST_IN_8_BIT or p.elements % _IN_A_BLOCK:
                names.state(p.nbytes)
            else:
                names.state(p.elements)
                names.state(4 * p.elements // _IN_A_BLOCK)
                names.state(4 * _CODES)


_Form = Callable[[_Names, Sequence[Trained], _How], None]
_FORMS: dict[str, _Form] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "adam": _adam,
    "adamw": _adamw,
    "adafactor": _adafactor,
    "lion": _lion,
    "bnb-adamw8bit": _bnb_8bit,
    "torchao-adamw8bit": _torchao_8bit,
}
