"""`import --data` prints the accuracy, so that a wrong normalisation shows at once."""

from pathlib import Path

import torch

from prunectl.checkpoints.checkpoint import read


def test_the_accuracy_is_that_of_the_images_or_a_warning(raw, net: Path) -> None:
    known = read(net)
    torch.save(known.model.state_dict(), net.with_name("weights.pt"))
    mean, std = known.preprocessing.mean[0], known.preprocessing.std[0]
    line = f"import weights.pt --model lenet300 --input 1x28x28 --classes 10 --mean {mean} --std {std}".split()
    ran = raw(*line, "--data", "digits", "-o", "digits.safetensors")
    measured = raw("eval", "digits.safetensors", "--no-latency").err.split("accuracy ")[1].split(",")[0]
    assert f"accuracy {measured} on 355 test images of digits\n" in ran.err
    named = [*line, "--class-names", "a,b,c,d,e,f,g,h,i,j", "-o", "named.safetensors"]
    ran = raw(*named, "--data", "mnist:nowhere")
    assert ran.code == 0
    assert "warning: the accuracy was not measured: no mnist in nowhere" in ran.err
