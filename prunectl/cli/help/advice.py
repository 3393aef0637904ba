"""What to do where a command has no such option, by command; those of "" are for all, after other suggestions."""

from collections.abc import Mapping

_SIZES = "dynamic dynamic-axes dynamic-batch dynamic-shapes batch batch-size max-batch-size"
_TOLERANCES = "tolerance tol atol rtol"
_CHECKS = "verify no-verify check no-check skip-check validate"
_LIST = "filter search grep unit nodes when type norm"
_ALL = "list all"
_TEXTS: Mapping[str, Mapping[str, str]] = {
    "": {
        "Run prunectl train on the result.": "fine-tune finetune finetune-epochs retrain train",
        "Run prunectl eval on the result.": "evaluate eval validate test-only benchmark",
        "Run prunectl shrink on the result.": "shrink remove remove-zeros permanent make-permanent compress inplace",
        "Test images are the default; --tuning holds out training images instead.": "test",
        "Start it with torchrun; `prunectl guide machines` shows how.": "ddp distributed strategy num-gpus num-nodes "
        "nproc nproc-per-node local-rank world-size dist-url dist-backend sync-bn multi-gpu",
        "shrink and export always check the outputs.": _CHECKS,
        "Options of a network are set by -M KEY=VALUE.": "model-args model-kwargs net-args hidden depth width stem "
        "dropout drop-rate drop-path drop-path-rate",
        "--json prints JSON.": "format",
    },
    "train": {
        "A training runs all of its --epochs, or ends after --max-minutes.": "early-stopping early-stop patience "
        "monitor",
        "Write the checkpoint as CHECKPOINT; training continues from its weights.": "fine-tune finetune",
        "NAME.log.jsonl has every step, and the evaluation after every epoch.": "log-every log-interval "
        "log-every-n-steps print-freq logging-steps val-every eval-every eval-interval check-val-every-n-epoch",
        "prunectl starts as many data loaders as it needs.": "workers num-workers pin-memory persistent-workers",
        "Training images are always shuffled, by --seed.": "shuffle no-shuffle",
        "Gradients are not accumulated; use a smaller -b.": "gradient-accumulation-steps grad-accum accumulate "
        "grad-accum-steps accumulate-grad-batches",
        "sgd uses Nesterov's momentum, set by --momentum.": "nesterov",
        "prunectl chooses the memory layout.": "channels-last",
        "On a CPU, the same seed writes the same bytes.": "deterministic benchmark cudnn-benchmark",
        "The loss is cross-entropy; see --label-smoothing, --teacher and --reg.": "loss loss-fn",
    },
    "prune": {
        "-c magnitude prunes weights by size; -c efficient-convnets prunes nodes by their L1 norm.": "l1 l2 p",
        "Criteria that need images take -O batches=N.": "batches num-batches calibration-samples "
        "num-calibration-batches",
        "prune writes a new file and leaves its source as it is.": "unprune undo revert",
        "Rewinding is for training: prunectl train -c imp --rewind-to EPOCH.": "rewind rewind-to lottery-ticket",
        "A mask is read from NAME.mask.safetensors, beside its checkpoint.": "mask masks",
    },
    "shrink": {
        "shrink writes a new file and leaves its source as it is.": "inplace",
        "The tolerance is 1e-10 in float64 and 1e-5 in float32.": _TOLERANCES,
        "shrink needs no images; the checkpoint holds their shape.": "data dataset input-shape input-size "
        "example-input example-inputs image-size",
        "Run prunectl export on the result.": "onnx half fp16 int8 quantize fuse",
        "What goes is chosen by prune.": "keep criterion sparsity",
    },
    "import": {
        "Prefixes such as module. are removed without it.": "prefix strip-prefix remove-prefix",
        "Write hf-hub:OWNER/NAME as FILE.": "hf hub repo repo-id",
        "No code in FILE runs; a file that needs Python's full unpickler is refused.": "unsafe pickle trust "
        "weights-only",
        "Masks of torch.nn.utils.prune are read from FILE.": "mask masks",
    },
    "export": {
        "ONNX files have opset 20; onnx.version_converter writes others.": "opset opset-version target-opset",
        "Exported networks take batches of any size.": _SIZES,
        "The input is `input` (--pixels: `pixels`), the output `logits` (--softmax: `probabilities`).": "input-names "
        "output-names input-name output-name",
        "Write NAME.onnx or NAME.pt2, and convert that.": "tensorrt trt openvino tflite coreml torchscript jit ncnn",
        "--int8 calibrates on 256 training images.": "calibration calibration-samples calibration-data "
        "calibration-size",
        "Exported files run on any device.": "device cuda gpu cpu",
        "The tolerance is 1e-4 for ONNX (--fp16: 0.02) and 1e-5 for .pt2.": _TOLERANCES,
        "float32 is the default.": "fp32 float",
        "-o FOLDER/ writes a Hugging Face folder; `hf upload` uploads it.": "hf hub push push-to-hub hf-repo",
        "The file holds the class names of its checkpoint.": "labels class-names names",
        "The file takes images of the network's own size.": "input-shape input-size image-size imgsz img-size resize",
    },
    "eval": {
        "eval measures all test images.": "subset n limit num-samples max-samples samples",
        "The record has it: add --json, or run prunectl report.": "top1 top5 topk top-k metric metrics confusion "
        "confusion-matrix per-class flops macs params parameters memory profile nodes size csv markdown md output save "
        "output-path out save-path",
        "Latency is the median of alternating runs, on one CPU thread.": "runs repeats num-runs iterations warmup "
        "threads num-threads",
        "Run prunectl attack.": "adversarial corrupted robust",
        "It measures on the test images, or on those of --tuning.": "test-only validate evaluate",
    },
    "attack": {
        "Attacks take -O steps=N.": "iters steps iterations num-steps n-iter max-iter nb-iter",
        "pgd takes -O rel_stepsize=X, in units of eps.": "alpha step-size stepsize lr",
        "apgd-ce, apgd-dlr and apgd-t take -O restarts=N.": "restarts num-restarts",
        "fgsm and pgd take -O random_start=True or False.": "random-start rand-init random-init",
        "The attack sets the loss: apgd-ce, apgd-dlr.": "loss loss-fn",
        "All severities from 1 to 5 are measured.": "severities",
        "The record goes to NAME.results.jsonl; prunectl report prints it.": "output out save-path output-path "
        "csv markdown",
    },
    "predict": {
        "Write NAME.onnx as CHECKPOINT.": "onnx runtime",
        "Redirect stdout: > FILE.": "out output output-file output-path save save-path",
        "Folders are searched with all folders below them.": "recursive",
        "Images are resized as the checkpoint says.": "size image-size imgsz img-size resize input-size",
        "Class names are in the file; import sets them by --class-names.": "labels class-names names",
        "Each line has the probabilities of the --top classes.": "confidence conf threshold probs softmax",
    },
    "report": {
        "Name several checkpoints to compare them; prunectl diff compares two.": "compare versus",
        "Name the dense checkpoint among the others, or add --parents.": "baseline dense",
        "-o NAME.html writes a page; print it from a browser.": "pdf png svg open browser serve port show",
        "Sort and filter the rows of --csv or --json; the page has filters.": "sort sort-by group-by columns filter "
        "metric best only where",
        "Folders are searched without it.": "recursive",
    },
    "sweep": {
        "A sweep runs the whole grid; write fewer values into the plan.": "n-trials trials samples search random "
        "optuna",
        "The same command runs only what is not finished.": "resume continue",
        "Files are kept; for a fresh run, choose another --out.": "force overwrite",
        "A failed stage does not stop the others.": "keep-going fail-fast",
        "Seeds are a value of the plan, such as seed = [0, 1, 2].": "seed seeds",
        "Set PRUNECTL_DATA_DIR; a sweep reads it.": "data-dir data-path",
        "The page is written to DIR/report.html.": "report html page",
        "`prunectl guide machines` shows a job array of Slurm.": "slurm",
    },
    "rerun": {
        "rerun compares bit for bit.": f"{_TOLERANCES} {_CHECKS}",
        "prunectl log lists the commands.": "dry-run list",
        "Each command runs with the options of the history.": "device batch-size seed epochs",
        "-o needs a new or an empty folder.": "force overwrite",
    },
    "diff": {"--json lists all differences.": "all full long layers", "diff compares bit for bit.": _TOLERANCES},
    "criteria": {"Filter the list: prunectl criteria | grep nodes.": _LIST, "Without NAME, all are listed.": _ALL},
    "models": {
        "Write a library as NAME: prunectl models timm.": "timm torchvision library",
        "Write a prefix as NAME: prunectl models timm/resnet.": _LIST,
        "Without NAME, prunectl's own are listed.": _ALL,
    },
    "datasets": {
        "prunectl train --download downloads the dataset that it trains on.": "download",
        "Without NAME, all are listed.": _ALL,
    },
    "attacks": {"Filter the list: prunectl attacks | grep l2.": _LIST, "Without NAME, all are listed.": _ALL},
    "guide": {
        "Search a page: prunectl guide PAGE | grep WORD.": "search grep find",
        "Without PAGE, all pages are listed.": _ALL,
    },
}


def advice(command: str, wrong: str) -> str | None:
    """What to do in place of an option that the command does not have, or None."""
    texts = _TEXTS.get(command, {})
    return next((text for text, names in texts.items() if wrong.removeprefix("--") in names.split()), None)
