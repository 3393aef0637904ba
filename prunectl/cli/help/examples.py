"""Examples at the end of the help: command lines to copy, each of at most 76 columns, with what they do."""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        (
            "prunectl train --model resnet18 --data cifar10 --download",
            "Train a network on CIFAR-10; stdout is the path of its checkpoint.",
        ),
        (
            "prunectl prune resnet18-cifar10.train.safetensors -c auto --flops 2x",
            "Halve its FLOPs, by whichever criterion keeps the most accuracy.",
        ),
        (
            "prunectl shrink NAME.prune.safetensors | prunectl eval",
            "Remove pruned nodes, prove that the outputs are unchanged, and measure.",
        ),
    ),
    "train": (
        (
            "prunectl train --model resnet18 --data cifar10 --download --epochs 30",
            "Train a new network.",
        ),
        (
            "prunectl train --model vgg16 --data cifar10 -c snapit-during -s 0.8",
            "Prune nodes while it trains.",
        ),
        (
            "prunectl train NAME.prune.safetensors --lr 1e-4 --epochs 5",
            "Fine-tune a pruned network; pruned weights stay at zero.",
        ),
    ),
    "prune": (
        (
            "prunectl prune --model resnet18 --data cifar10 -c snip -s 0.9",
            "Prune 90 % of the weights of a new network, before training.",
        ),
        (
            "prunectl prune NAME.safetensors -c depgraph --flops 2x --repair",
            "Prune nodes of a trained network to half of its FLOPs, and repair it.",
        ),
        (
            "prunectl prune NAME.safetensors -c auto --min-accuracy 0.9",
            "Find the smallest network with at least 90 % accuracy.",
        ),
    ),
    "repair": (
        (
            "prunectl repair NAME.prune.safetensors",
            "Refit the kept weights; the dense network is found by its hash.",
        ),
        (
            "prunectl repair NAME.prune.safetensors --method bn -n 512",
            "Estimate BatchNorm statistics again, on 512 images.",
        ),
    ),
    "shrink": (
        ("prunectl shrink NAME.prune.safetensors", "Write NAME.prune.shrink.safetensors."),
        (
            "prunectl prune NAME.safetensors -c snap -s 0.5 | prunectl shrink",
            "Prune nodes and remove them.",
        ),
    ),
    "eval": (
        ("prunectl eval NAME.safetensors", "Measure on the test images."),
        (
            "prunectl eval NAME.safetensors --min-accuracy 0.9 --no-latency",
            "Exit with code 3 if the accuracy is below 90 %.",
        ),
        ("prunectl eval small.onnx --against dense.onnx", "Compare accuracy and latency of two networks, in turns."),
    ),
    "attack": (
        ("prunectl attack NAME.safetensors -n 500", "PGD on 500 test images."),
        (
            "prunectl attack NAME.safetensors -a standard --eps 4/255,8/255",
            "Five attacks in cascade, at two sizes.",
        ),
        (
            "prunectl attack NAME.safetensors --corruptions all",
            "Accuracy under noise, blur, brightness, contrast and JPEG.",
        ),
    ),
    "predict": (
        ("prunectl predict NAME.safetensors photos/", "Classify all images of a folder."),
        ("prunectl predict NAME.onnx cat.jpg --top 3 --json", "Classify with an exported network."),
    ),
    "report": (
        ("prunectl report runs/", "Print a table of all checkpoints in a folder."),
        ("prunectl report runs/ --layers --csv", "Print what each method keeps of every layer."),
        (
            "prunectl report NAME.safetensors --parents -o report.html",
            "Write a page about a network and those it came from.",
        ),
    ),
    "sweep": (
        ("prunectl sweep plan.toml -o runs --dry-run", "Print the commands of a plan."),
        ("prunectl sweep plan.toml -o runs -j 4", "Run them, four at a time."),
    ),
    "log": (
        ("prunectl log NAME.safetensors", "Show the history of a checkpoint."),
        ("prunectl log NAME.safetensors --json", "Print it with whole command lines."),
    ),
    "diff": (
        ("prunectl diff a.safetensors b.safetensors", "Compare two checkpoints."),
        ("prunectl diff a.safetensors b.safetensors --json", "Print the comparison as JSON."),
    ),
    "rerun": (
        ("prunectl rerun NAME.safetensors", "Check that the history reproduces the file."),
        ("prunectl rerun NAME.safetensors -o again", "Keep the reproduced files in the folder again/."),
    ),
    "inspect": (
        ("prunectl inspect NAME.safetensors", "Print header, history and layers."),
        ("prunectl inspect NAME.safetensors --json", "Print them as JSON."),
    ),
    "explain": (
        ("prunectl explain NAME.safetensors", "List the groups of nodes of a checkpoint."),
        (
            "prunectl explain --model torchvision/resnet50 --input 3x224x224",
            "List those of an untrained network.",
        ),
    ),
    "import": (
        (
            "prunectl import weights.pt --model torchvision/resnet18",
            "Import a state dict of torchvision's ResNet-18.",
        ),
        (
            "prunectl import weights.pt --model net.py:build --input 3x32x32 --classes 10",
            "Import a network of your own.",
        ),
        (
            "prunectl import --pretrained --model timm/resnet18.a1_in1k",
            "Download published weights.",
        ),
    ),
    "export": (
        ("prunectl export NAME.safetensors -o NAME.onnx --pixels", "Write ONNX with the normalisation inside."),
        ("prunectl export NAME.safetensors -o NAME.pt2", "Write a torch.export program."),
        ("prunectl export NAME.safetensors -o hub/", "Write a folder for the Hugging Face hub."),
    ),
    "criteria": (
        ("prunectl criteria", "List all criteria."),
        ("prunectl criteria snapit", "Show options, source and use of one."),
    ),
    "models": (
        ("prunectl models", "List prunectl's own networks."),
        ("prunectl models timm/resnet", "List timm's networks whose names begin with resnet."),
    ),
    "datasets": (
        ("prunectl datasets", "List all datasets."),
        ("prunectl datasets imagefolder", "Show the layout of a folder of your own images."),
    ),
    "attacks": (
        ("prunectl attacks", "List all attacks."),
        ("prunectl attacks apgd-ce", "Show the norm and options of one."),
    ),
    "guide": (
        ("prunectl guide", "List the pages of the guide."),
        ("prunectl guide after", "Read how to prune a trained network."),
    ),
    "help": (
        ("prunectl help", "List the commands."),
        ("prunectl help train", "The same as prunectl train --help."),
    ),
}
