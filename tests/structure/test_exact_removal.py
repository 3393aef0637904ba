"""A network without some of its nodes computes what the masked one does: toys, and the libraries' networks."""

from collections.abc import Iterator

import pytest
import torch._dynamo.config
from torch import nn

from prunectl.structure.surgery.build import built, made, zero_out
from prunectl.structure.surgery.cut import kept_indices
from prunectl.structure.surgery.plan import Plan
from prunectl.structure.surgery.proof import Reference, difference
from prunectl.structure.trace import analyse
from tests.benchmarks.zoo import BATCHES, SETS, TOLERANCES, apart, checked, differences, exact, removal, trains
from tests.helpers import library_networks, shallow
from tests.helpers.marks import one_in, quick
from tests.helpers.randomise import randomise_
from tests.helpers.toys import TOYS

WITHOUT_NODES = {"eca", "spatial-attention", "gru-cell"}
SIDE = {"inception_v3": 75}
"""Of images that a network of torchvision takes, where it is not 64."""
GRAPHS = {"maxvit", "swin_transformer"}
"""The families of torchvision that cannot run what is left by their own modules."""
QUICK = ("alexnet", "densenet", "efficientnet", "resnet", "shufflenetv2", "vision_transformer")
"""The families of torchvision that the default run takes."""
SLOW = [
    *(("torchvision", sparsity) for sparsity in (0.3, 0.5)),
    *(("timm", sparsity) for sparsity in (0.3, 0.5)),
    *((kind, 0.5) for kind in ("segmentation", "video", "backbones")),
]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of torch's recurrent layers, and of timm


@pytest.fixture
def uncached() -> Iterator[None]:
    """Trace without torch's cache of shapes, which costs more than it saves in the smallest networks."""
    with torch._dynamo.config.patch(fake_tensor_cache_enabled=False):
        yield


@pytest.mark.usefixtures("uncached")
@pytest.mark.parametrize("name", one_in(9, [name for name in TOYS if name not in WITHOUT_NODES]))
def test_a_toy_is_exact_by_its_modules_and_by_its_graph(name: str) -> None:
    build, shape = TOYS[name]
    model = randomise_(build(), 0, shape).eval().double()
    analysis = analyse(model, shape)
    removed = removal(analysis.structure, 0.4)
    assert removed.any()
    masked = Reference(zero_out(model, analysis, removed), shape, BATCHES)
    small = built(masked, masked.network, analysis, removed, TOLERANCES["diff64"])
    graph = Plan(kept_indices(analysis.structure, removed), graph=True)
    rewritten = None if small.plan.graph else made(masked.network, graph, shape)
    diff64 = None if rewritten is None else masked.difference(rewritten)
    found = differences(masked, small)
    assert exact(found), found
    assert trains(found["small"], shape) == []
    if rewritten is not None:
        single = masked.of(masked.network.float())
        found = {"diff64": diff64, "diff32": single.difference(rewritten.float())}
        assert exact(found), found
        assert trains(rewritten, shape) == []


@pytest.mark.parametrize("name", sorted(WITHOUT_NODES))
def test_toys_without_nodes(name: str) -> None:
    build, shape = TOYS[name]
    assert analyse(build(), shape).structure.nodes == 0


@pytest.mark.parametrize("family", quick(library_networks.TORCHVISION_SMALLEST, QUICK[::2]))
def test_one_of_each_family_is_exact(family: str) -> None:
    """With few layers where the family's own class can be built so, else the network with the fewest parameters."""
    if family in shallow.SHALLOW:
        model, shape = shallow.SHALLOW[family](), shallow.SHAPE
    else:
        name = library_networks.TORCHVISION_SMALLEST[family]
        (model, _), side = library_networks.build_torchvision(name), SIDE.get(name, 64)
        shape = (3, side, side)
    assert_exact(family, model, shape)


def assert_exact(family: str, model: nn.Module, shape: library_networks.Shape) -> None:
    found = checked(randomise_(model, 0, shape), shape, 0.5)
    assert exact(found), found
    assert found["runs"] == ("graph" if family in GRAPHS else "modules")
    assert found["share"] > 0.99
    assert 0.2 < found["kept"] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "sparsity", "name"), [(kind, sparsity, name) for kind, sparsity in SLOW for name in SETS[kind][0]]
)
def test_every_network_is_exact(kind: str, sparsity: float, name: str) -> None:
    found = apart(kind, name, sparsity)
    assert exact(found), found


def test_a_wrong_removal_shows() -> None:
    build, shape = TOYS["residual"]
    model = randomise_(build(), 0, shape).eval().double()
    analysis = analyse(model, shape)
    removed = removal(analysis.structure, 0.4)
    masked, kept = zero_out(model, analysis, removed), kept_indices(analysis.structure, removed)
    for (name, axis), left in kept.items():
        if name.endswith("weight") and axis == 1:
            size = masked.get_parameter(name).shape[axis]
            shifted = {**kept, (name, axis): ((left + 1) % size).sort().values}
            assert difference(masked, made(masked, Plan(shifted), shape), shape) > 1e-4, name
