"""Checks, before the first step, that a criterion can prune during a training."""

from collections.abc import Sequence

from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.criteria.base.callback import Callback
from prunectl.criteria.base.criterion import Criterion
from prunectl.criteria.base.pattern import pattern_of
from prunectl.errors import OptionError
from prunectl.pruning.rules import SelectionRules
from prunectl.training.round_times import RoundTimes


def check_criterion(during: GradualPruning, method: Criterion, how: SelectionRules, when: RoundTimes) -> None:
    """Refuse a scope or criterion that does not prune between steps.

    Raises:
        OptionError: it names the option.
    """
    name, scope = during.criterion, how.scope
    if pattern_of(scope) is not None and method.callback is None:
        raise OptionError(f"`scope` {scope} is reached in one round; prune after the training, or use sr-ste")
    if method.regrow_value == "original":
        raise OptionError(
            f"{name} regrows weights with their initial values; use it with prunectl prune, before the training"
        )
    if how.holds_layers and scope != method.scope:
        raise OptionError(f"{name} keeps the number of weights of every layer; leave out `scope`")
    if when.by_step and works_by_epoch(method):
        raise OptionError(f"{name} alternates by epoch; use epochs for `prune_every` and `prune_delay`")


def check_exploring(during: GradualPruning, method: Criterion) -> None:
    """Refuse targets and schedules for a method that drops and grows at one sparsity.

    Raises:
        OptionError: it names the option.
    """
    if during.sparsity is None:
        raise OptionError(f"{during.criterion} keeps one sparsity; use `sparsity` and no other target")
    if during.schedule not in (None, method.schedule):
        raise OptionError(f"{during.criterion} keeps one sparsity; leave out `schedule`")


def rounds_before(until: float, during: GradualPruning, when: RoundTimes) -> int:
    """The number of rounds before this share of the training is over.

    Raises:
        OptionError: none does.
    """
    rounds = when.before(until)
    if not rounds:
        raise OptionError(
            f"no round of {during.criterion} falls in the first {until:g} of {when.steps} steps; use more `epochs`, or "
            "a smaller `prune_every` or `prune_delay`"
        )
    return rounds


def works_by_epoch(method: Criterion) -> bool:
    """Whether a criterion changes the training at the beginning of an epoch, so rounds cannot come within one."""
    return method.callback is not None and method.callback.on_epoch_start is not Callback.on_epoch_start


def check_times(during: GradualPruning, method: Criterion, times: Sequence[int], when: RoundTimes) -> None:
    """Refuse a training that is too short for its rounds, and a rewind to an epoch after the first one.

    Raises:
        OptionError: says what is needed.
    """
    to = during.rewind_to
    if when.steps <= times[-1]:
        chosen = during.prune_delay is not None or during.prune_every is not None or when.by_step
        raise OptionError(_late(times, when) if chosen else _too_many(len(times), when))
    if to is not None and not method.rewinds:
        raise OptionError(f"`rewind_to` is for criteria that rewind, such as imp; {during.criterion} does not")
    if method.rewinds and (to or 0) * when.steps_per_epoch >= times[0]:
        raise OptionError(
            f"`rewind_to` must come before the first round of pruning, after {when.named(times[0])}, got {to}"
        )


def _late(times: Sequence[int], when: RoundTimes) -> str:
    """The message for a last round that comes after the end, with the user's intervals."""
    epochs = times[-1] // max(when.steps_per_epoch, 1) + 1
    return (
        f"the last of {len(times)} rounds of pruning comes after {when.named(times[-1])}, which needs "
        f"`epochs` {epochs} or more, got {when.epochs}; or use a smaller `prune_delay`, `prune_every` or `steps`"
    )


def _too_many(rounds: int, when: RoundTimes) -> str:
    """The message if not even one round after each epoch fits."""
    return (
        f"{rounds} round{'s' * (rounds > 1)} of pruning, one after each epoch, {'need' if rounds > 1 else 'needs'} "
        f"`epochs` {rounds + 1} or more, got {when.epochs}; or use fewer `steps`"
    )
