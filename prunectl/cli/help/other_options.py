"""Options as other tools call them, by our option; of several, the order here is the order of a suggestion."""

_CALLED = {
    # of the network and its images
    "--model": "net network architecture backbone arch model-name -m",
    "--input": "input-shape input-size example-inputs example-input",
    "--image-size": "input-size img-size imgsz resolution resize",
    "--classes": "num-classes n-classes nb-classes",
    "--class-names": "labels label-names class-list names class-map",
    "--mean": "normalize normalise",
    "--pixels": "uint8 preprocess preprocessing normalize normalise mean std",
    "--data": "data-set dataset use-data calib-data calibration-data train-data images image-dir image-folder -d",
    "--data-dir": "data-path data-root dataset-dir root",
    "--split": "val-split valid-split validation-split test-size",
    "--tuning": "val validation",
    "--subset": "limit num-samples n-samples nsamples samples max-samples max-train-samples limit-train-batches "
    "fast-dev-run",
    "--n": "limit num-samples n-samples nsamples samples max-samples subset max-images num-images images "
    "calibration-samples batches num-batches",
    # of training
    "--epochs": "num-epochs n-epochs max-epochs num-train-epochs nb-epochs iterations max-steps -e",
    "--batch-size": "bs batch batchsize train-batch-size per-device-train-batch-size",
    "--opt": "adam adamw sgd rmsprop optim",
    "--lr": "learningrate lr0 base-lr -l",
    "--wd": "l2 l2-reg decay weight-decay-rate",
    "--sched": "scheduler lr-scheduler lr-scheduler-type lr-schedule learning-rate-schedule cosine cos-lr lr-decay "
    "decay-rate decay-epochs gamma lr-gamma milestones lr-step-size step-size lrf min-lr",
    "--warmup": "warmup-epochs warmup-steps warmup-ratio",
    "--augment": "augmentation augmentations transform transforms auto-augment autoaugment aa randaugment rand-augment "
    "trivial-augment cutmix reprob random-erasing color-jitter hflip",
    "--label-smoothing": "smoothing",
    "--clip": "grad-clip clip-grad clip-grad-norm max-grad-norm gradient-clip-val gradient-clip",
    "--noise": "grad-noise",
    "--ema": "ema-decay model-ema model-ema-decay",
    "--reg": "regularizer regulariser regularization l1 l1-reg bn-l1 sparsity-training",
    "--reg-weight": "lambda l1-lambda reg-lambda",
    "--teacher": "kd distill distillation knowledge-distillation teacher-model teacher-path student",
    "--teacher-weight": "alpha kd-alpha kd-weight distillation-alpha",
    "--mixup": "alpha",
    "--temperature": "kd-temperature kd-t",
    "--max-minutes": "max-training-minutes max-time time-limit timeout",
    "--resume": "resume-from resume-path resume-from-checkpoint start-epoch continue",
    "--random-labels": "random-shuffle-labels",
    "--compile": "torch-compile torchcompile torchscript jit jit-compile",
    "--tensorboard": "wandb logger log-to",
    "--tensorboard-dir": "logdir log-dir logging-dir",
    # of pruning
    "--criterion": "method pruner algorithm importance prune-criterion prune-method pruning-method prune magnitude "
    "random snip taylor",
    "--sparsity": "ratio rate percent percentage prune-ratio pruning-ratio prune-rate pruning-rate prune-percent "
    "prune-percentage density pruning-limit sparse keep-ratio final-sparsity -r -p",
    "--schedule": "initial-sparsity",
    "--steps": "iterations iterative iterative-steps n-iter n-steps num-steps snip-steps pruning-epochs prune-epochs",
    "--prune-every": "prune-freq prune-frequency prune-interval pruning-frequency",
    "--prune-delay": "begin-step begin-epoch start-step prune-start",
    "--unit": "granularity structured structured-pruning channels channel filters filter nodes neurons dim",
    "--scope": "global global-pruning local layerwise isomorphic unstructured pattern n:m nm 2:4 semi-structured "
    "layer-sparsity layer-ratios pruning-ratio-dict",
    "--flops": "speedup speed-up speedup-ratio macs",
    "--latency": "speedup speed-up speedup-ratio",
    "--params": "compression compression-ratio",
    "--size": "compression compression-ratio",
    "--min-accuracy": "max-accuracy-drop accuracy-drop acc-drop target-accuracy acc accuracy-threshold",
    "--keep": "ignore ignored-layers ignored-modules ignore-layers exclude exclude-layers exclude-modules skip "
    "skip-layers layers-to-skip layers modules target-modules include",
    "--multiple-of": "round-to round divisor",
    "--max-pruned": "max-pruning-ratio max-ratio",
    "--normalize": "normalise normalizer norm reduction",
    "--outer-layers": "outer-layer-pruning",
    "--scores-out": "importance-scores save-scores",
    "--against": "baseline compare compare-to compare-with versus vs dense original reference",
    "--reference": "dense original teacher baseline compare",
    "--method": "bn bn-only recalibrate",
    "--norm": "linf l2 l1 l0 alive norm-type",
    # of attacks
    "--attack": "method attacks attack-type aa autoattack auto-attack",
    "--eps": "epsilon epsilons -e",
    "--adv-eps": "epsilon eps",
    "--adv-loss": "adversarial adversarial-training trades",
    "--corruptions": "corruption corrupt severity",
    "--transfer-from": "surrogate source source-model",
    # of files and formats
    "CHECKPOINT": "from-checkpoint checkpoint ckpt load weights state-dict path input model model-path "
    "pretrained-path initial-checkpoint resume-from-checkpoint",
    "FILE": "checkpoint ckpt load state-dict path file input model-path hf hub repo repo-id",
    "IMAGE...": "image images folder dir path file input source",
    "CHECKPOINT...": "checkpoint checkpoints path folder dir file input runs",
    "PLAN.TOML": "plan grid config config-file file",
    "PAGE": "page topic",
    "NAME": "name filter",
    "--allow-missing": "strict no-strict non-strict not-strict ignore-missing partial",
    "--parents": "baseline dense ancestors history",
    "--csv": "format tsv excel xlsx",
    "--markdown": "md",
    "--latex": "tex",
    "--output": "save save-path save-dir save-model out out-dir output-dir output-file output-path checkpoint-dir name "
    "exp experiment run-name format type html page plot plots figures onnx pt2 -f",
    "--out": "save save-path out-dir output output-dir output-path results dir",
    "--json": "csv dot mermaid script jsonl",
    "--force": "overwrite exist-ok yes -f -y",
    "--config": "yaml config-file cfg",
    "--quiet": "silent",
    "--verbose": "debug tensors keys profile profiler",
    # of machines
    "--device": "gpu gpus cuda no-cuda cpu use-cuda accelerator map-location",
    "--amp": "fp16 half precision mixed-precision dtype bf16 bfloat16 autocast",
    "--fp16": "half half-precision precision dtype",
    "--int8": "quantize quantise quant quantization quantisation dynamic-quantization",
    "--fuse": "simplify onnxsim optimize fold",
    "--softmax": "probs probabilities",
    "--seed": "random-seed manual-seed random-state seed-everything",
    "--jobs": "workers num-workers n-jobs parallel processes max-workers cpus",
    "--runtime": "backend onnx",
    "--engine": "cluster slurm",
    "--top": "k topk top-k n -n",
}


def _others() -> dict[str, tuple[str, ...]]:
    """Our options by each name that others have for them."""
    found: dict[str, tuple[str, ...]] = {}
    for ours, names in _CALLED.items():
        for name in names.split():
            other = name if name.startswith("-") else f"--{name}"
            found[other] = (*found.get(other, ()), ours)
    return found


OTHERS = _others()
"""What others call it: our options, of which the command has one."""
