"""What libraries say of the use of their networks: taken where it is sure, asked for where it is not."""

import hashlib
import shutil

import pytest
import timm
import torch
from torchvision import models

import prunectl
from prunectl.checkpoints.checkpoint import read
from prunectl.checkpoints.header import Resize
from prunectl.errors import OptionError
from prunectl.exchange.usage import Usage, configuration_of
from tests.helpers.foreign import BUILDER, SHAPE, STD, USE, Net, images

MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_torchvisions_weights_agree_on_the_normalisation() -> None:
    usage, source = configuration_of("torchvision/resnet18", None, "0" * 64)
    assert (usage.input, usage.classes, usage.mean, usage.std) == ((3, 224, 224), 1000, MEAN, IMAGENET_STD)
    assert usage.resize == Resize(224, 0.875, "bilinear")
    assert usage.names[0] == "tench"
    assert source == "torchvision's weights of resnet18"


def test_where_they_differ_nothing_is_guessed() -> None:
    assert configuration_of("torchvision/resnet50", None, "0" * 64)[0].resize is None
    assert configuration_of("torchvision/vit_h_14", None, "0" * 64)[0].input is None


@pytest.mark.parametrize("name", ["IMAGENET1K_V2", "ResNet50_Weights.IMAGENET1K_V2"])
def test_weights_by_name(name) -> None:
    usage, source = configuration_of("torchvision/resnet50", name, "0" * 64)
    assert usage.resize == Resize(224, 224 / 232, "bilinear")
    assert source == "torchvision's ResNet50_Weights.IMAGENET1K_V2"


def test_published_files_are_known_by_their_hash() -> None:
    url = models.ResNet50_Weights.IMAGENET1K_V1.url
    digest = url.rpartition("-")[2].partition(".")[0] + "0" * 56
    assert configuration_of("torchvision/resnet50", None, digest)[1] == "torchvision's ResNet50_Weights.IMAGENET1K_V1"


def test_unknown_weights_are_one_line() -> None:
    with pytest.raises(OptionError, match="no weights V9; known: IMAGENET1K_V1, IMAGENET1K_V2"):
        configuration_of("torchvision/resnet50", "V9", "")
    with pytest.raises(OptionError, match="is for torchvision networks, got V1 for timm/resnet18"):
        configuration_of("timm/resnet18", "V1", "")


def test_the_tag_of_a_timm_name_chooses_its_configuration() -> None:
    usage, _ = configuration_of("timm/resnet18.a1_in1k", None, "")
    assert (usage.input, usage.classes, usage.mean) == ((3, 224, 224), 1000, MEAN)
    assert usage.resize == Resize(224, 0.95, "bicubic")
    assert usage.names[0] == "tench, Tinca tinca"
    assert configuration_of("timm/vit_base_patch16_384.augreg_in21k_ft_in1k", None, "")[0].input == (3, 384, 384)


def test_every_configuration_of_both_libraries_reads() -> None:
    for name in models.list_models(module=models):
        if not name.startswith("quantized"):
            assert configuration_of(f"torchvision/{name}", None, "")[0].mean is not None
    for name in timm.list_pretrained():
        usage, _ = configuration_of(f"timm/{name}", None, "")
        assert usage.mean is not None
        assert usage.names is None or len(usage.names) == usage.classes


def test_names_of_another_number_of_classes_are_left_out() -> None:
    known = Usage((3, 8, 8), 2, MEAN, STD, ("a", "b"), Resize(8))
    assert Usage(classes=3).over(known) == Usage((3, 8, 8), 3, MEAN, STD, None, Resize(8))
    assert Usage(input=(3, 9, 9)).over(known).resize is None
    assert Usage(mean=(0.5,)).over(known) == Usage((3, 8, 8), 2, (0.5,), STD, ("a", "b"), Resize(8))


def test_a_network_of_torchvision_needs_no_word(tmp_path, cli) -> None:
    torch.manual_seed(0)
    net = models.squeezenet1_1().eval()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    cli("import", "net.pth", "--model", "torchvision/squeezenet1_1", "-o", "net.safetensors")
    found = prunectl.load(tmp_path / "net.safetensors")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(found(x), net(x))


@pytest.mark.long
def test_names_that_torchvision_had_before_are_converted(tmp_path) -> None:
    """The published files of its vision transformers are of that time."""
    net = models.vit_b_32(image_size=32, num_classes=3).eval()
    state = {
        name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): t
        for name, t in net.state_dict().items()
    }
    found = prunectl.from_state_dict(
        state, "torchvision/vit_b_32", input=(3, 32, 32), classes=3, mean=MEAN, std=IMAGENET_STD
    )
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(found.model.eval()(x), net(x))


@pytest.mark.parametrize(
    ("left_out", "line"),
    [
        ("--input --classes --mean --std", "the file does not state the input, classes, mean, std of "),
        ("--mean", "the file does not state the mean of tests.helpers.foreign:built; pass --mean R,G,B"),
        ("--classes", "the file does not state the classes of tests.helpers.foreign:built; pass --classes N"),
    ],
)
def test_what_nobody_says_is_asked_for_in_one_line(left_out, line, tmp_path, refused) -> None:
    torch.save(Net().state_dict(), tmp_path / "net.pt")
    use = {"--input": "3x16x16", "--classes": "4", "--mean": "0.5,0.5,0.5", "--std": "0.2,0.2,0.2"}
    words = [word for flag, value in use.items() if flag not in left_out.split() for word in (flag, value)]
    assert line in refused("import", "net.pt", "--model", BUILDER, *words)


WRONG = {
    "--input": ("3x16", "takes channels, height and width"),
    "--mean": ("0.5,0.5", "--mean takes 1 number or 3, one per channel; got 2"),
    "--std": ("0,1,1", "--std takes numbers above 0"),
    "--class-names": ("a,b", "expected 4 --class-names, one per class, got 2"),
    "--key": ("ema", "net.pt has no tensors under --key ema"),
    "-M": ("depth=3", "has no option 'depth'"),
}


@pytest.mark.parametrize("flag", WRONG)
def test_a_value_that_cannot_work_is_one_line(flag, tmp_path, refused) -> None:
    torch.save(Net().state_dict(), tmp_path / "net.pt")
    use = {"--input": "3x16x16", "--classes": "4", "--mean": "0.5", "--std": "0.2", flag: WRONG[flag][0]}
    words = [word for pair in use.items() for word in pair]
    assert WRONG[flag][1] in refused("import", "net.pt", "--model", BUILDER, *words)


@pytest.mark.parametrize("text", ["nan,0,0", "a,b,c", ""])
def test_a_mean_is_a_list_of_numbers(text, tmp_path, refused) -> None:
    torch.save(Net().state_dict(), tmp_path / "net.pt")
    assert "--mean takes numbers such as 0.5,0.5,0.5" in refused(
        "import", "net.pt", "--model", BUILDER, "--mean", text, "--std", "1"
    )


def test_class_names_come_from_a_file_or_a_list_and_say_their_number(tmp_path, cli, refused) -> None:
    torch.save(Net().state_dict(), tmp_path / "net.pt")
    (tmp_path / "names.txt").write_text("ant\nbee\n\ncat\ndog\n")
    use = ("import", "net.pt", "--model", BUILDER, "--input", "3x16x16", "--mean", "0.5", "--std", "1")
    cli(*use, "--class-names", "names.txt", "-o", "a.safetensors")
    cli(*use, "--class-names", "ant, bee,cat,dog", "-o", "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert "no such file" in refused(*use, "--class-names", "absent.txt")


def test_the_hash_is_that_of_the_file(tmp_path) -> None:
    torch.save(Net().state_dict(), tmp_path / "net.pt")
    found = prunectl.from_state_dict(
        tmp_path / "net.pt", BUILDER, input=SHAPE, classes=4, mean=(0.5,), std=(0.5,), names="abcd"
    )
    assert found.history[0].options["sha256"] == hashlib.sha256((tmp_path / "net.pt").read_bytes()).hexdigest()
    assert found.names == ("a", "b", "c", "d")


@pytest.mark.long
def test_published_weights_of_googlenet_renormalise_their_input() -> None:
    theirs = models.googlenet(init_weights=False, transform_input=True).eval()
    how = {"weights": "IMAGENET1K_V1", "input": (3, 64, 64)}
    found = prunectl.from_state_dict(theirs.state_dict(), "torchvision/googlenet", **how)
    assert found.history[0].result["unused"][0].startswith("aux1.")
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(found.model.eval()(x), theirs(x))
    del how["weights"]
    with pytest.raises(
        OptionError,
        match=r"whether torchvision/googlenet renormalises its input; pass -M transform_input=true",
    ):
        prunectl.from_state_dict(theirs.state_dict(), "torchvision/googlenet", **how)
    plain = prunectl.from_state_dict(
        theirs.state_dict(), "torchvision/googlenet", options={"transform_input": False}, **how
    )
    assert not torch.allclose(plain.model.eval()(x), theirs(x))


@pytest.mark.long
def test_a_network_that_asks_for_its_version_needs_none_in_the_file() -> None:
    net = models.mnasnet0_5().eval()
    state = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    found = prunectl.from_state_dict(state, "torchvision/mnasnet0_5", input=(3, 64, 64))
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(found.model.eval()(x), net(x))


def test_classes_without_names_take_those_of_their_images(tmp_path, cli, refused, monkeypatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    images(tmp_path, count=2)
    torch.save(Net().state_dict(), tmp_path / "net.pt")
    how = ("import", "net.pt", "--model", BUILDER, *USE)
    cli(*how, "--data", "imagefolder:images", "-o", "net.safetensors")
    assert read(tmp_path / "net.safetensors").names == tuple("abcd")
    cli(*how, "--data", "imagefolder:images", "--class-names", "1,2,3,4", "-o", "own.safetensors")
    assert read(tmp_path / "own.safetensors").names == tuple("1234")
    for part in ("train", "test"):
        shutil.rmtree(tmp_path / "images" / part / "a")
    line = refused(*how, "--data", "imagefolder:images", "-o", "new.safetensors")
    assert "takes 3x16x16 images of 4 classes, images has 3x16x16 of 3" in line


def test_a_network_without_names_takes_them_when_images_reach_it(tmp_path, cli, monkeypatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    images(tmp_path, count=2)
    torch.save(Net().state_dict(), tmp_path / "net.pt")
    cli("import", "net.pt", "--model", BUILDER, *USE, "-o", "net.safetensors")
    thin = ("prune", "net.safetensors", "-c", "snap", "-s", "0.5", "-O", "batches=1", "--data")
    cli(*thin, "imagefolder:images", "-o", "named.safetensors")
    assert read(tmp_path / "named.safetensors").names == tuple("abcd")
