"""Builds the network of a header, filled with the tensors of a file."""

from collections.abc import Callable

from torch import Tensor, nn

from prunectl.checkpoints.build import build, built_aside, built_on_meta, is_complete
from prunectl.checkpoints.header import Header
from prunectl.errors import BuilderFailed, CheckpointError, PrunectlError
from prunectl.structure.surgery import resize
from prunectl.structure.surgery.cut import cut_unstored_
from prunectl.structure.surgery.plan import Plan


def network(
    head: Header, state: dict[str, Tensor], where: str, builder: Callable[[], nn.Module] | None = None
) -> nn.Module:
    """Build the dense network of a header, apply the edits of its shrinks, and fill it with a file's tensors.

    `builder` builds the dense network instead of the name in the header.

    Raises:
        CheckpointError: options, edits or tensors that do not make a network.
    """

    def dense_network() -> nn.Module:
        return build(head.model) if builder is None else builder()

    def fitted(model: nn.Module) -> nn.Module:
        plan.apply_(model)
        resize.check_tensors(model, state, plan.kept)
        return model

    try:
        plan = Plan.of(head.edits)
        empty = built_on_meta(dense_network)
        model = None if empty is None else fitted(empty)  # refuses what does not fit before it takes memory
        if model is None or not is_complete(model):
            model = fitted(built_aside(dense_network))
    except BuilderFailed as error:
        raise _damaged(head, where, error.__cause__ or error) from error
    except PrunectlError as error:
        raise type(error)(f"{where}: {error}") from error
    except Exception as error:  # the network's own code may raise anything
        raise _damaged(head, where, error) from error
    resize.load_state_(model, state, where)
    try:
        cut_unstored_(model, plan.kept)
        return plan.finish_(model, built_aside(dense_network), head.model.input) if plan.graph else model
    except (IndexError, RuntimeError, KeyError, ValueError) as error:
        raise _damaged(head, where, error) from error


def _damaged(head: Header, where: str, error: BaseException) -> CheckpointError:
    what = str(error).partition("\n")[0]
    return CheckpointError(f"{where}: network {head.model.name} cannot be built from its header ({what})")
