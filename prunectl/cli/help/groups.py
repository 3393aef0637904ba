"""The group of every option in the help, by the name of its parameter; the order here is the order there."""

GROUPS: dict[str, tuple[str, ...]] = {
    "Input": (
        *("model", "model_options", "pretrained", "input_shape", "classes", "mean", "std", "class_names"),
        *("data", "data_dir", "download", "image_size", "tuning", "split", "subset", "random_labels"),
        *("weights", "key", "allow_missing", "method", "n", "target", "reference", "transfer_from", "calibration"),
        *("parents", "inside", "run"),
    ),
    "Training": (
        *("epochs", "batch_size", "opt", "lr", "wd", "momentum", "sched", "warmup", "augment", "mixup"),
        *("label_smoothing", "clip", "noise", "ema", "recalibrate", "reg", "reg_weight"),
        *("teacher", "teacher_weight", "temperature", "max_minutes", "resume"),
    ),
    "Pruning": (
        *("criterion", "sparsity", "params", "flops", "size", "latency", "runtime", "min_accuracy", "threshold"),
        *("plugin_options", "unit", "scope", "schedule", "steps", "prune_delay", "prune_every", "rewind_to"),
        *("keep", "multiple_of", "min_nodes", "max_pruned", "normalize", "outer_layers", "refill", "repair"),
        *("balanced", "shuffle_layerwise", "reinit", "norm"),
    ),
    "Robustness": (*("attack", "eps", "corruptions", "adv_eps", "adv_steps", "adv_loss", "adv_beta"),),
    "Output": (
        *("output_path", "out", "folder", "force", "layers", "as_json", "as_csv", "as_markdown", "as_latex", "top"),
        *("save_examples", "scores_out", "pixels", "softmax", "fuse", "fp16", "int8"),
        *("tensorboard", "tensorboard_dir", "dry_run", "quiet", "verbose"),
    ),
    "Advanced": (*("device", "seed", "amp", "compile", "jobs", "engine", "gpus", "trust", "config", "help"),),
}
ELSEWHERE: dict[str, dict[str, tuple[str, ...]]] = {
    "repair": {"Pruning": ("method", "n", "reference", "calibration")},
    "attack": {
        "Robustness": (
            *("attack", "eps", "norm", "plugin_options", "n", "target", "reference", "transfer_from", "corruptions"),
            *("resume",),
        ),
        "Advanced": ("batch_size",),
    },
    "eval": {"Advanced": ("batch_size",), "Output": ("latency", "runtime", "against", "min_accuracy")},
    "predict": {"Advanced": ("batch_size",)},
    "prune": {"Advanced": ("batch_size", "balanced", "shuffle_layerwise", "reinit")},
}
"""Where one command has an option in another group than the others."""


def group_of(command: str, parameter: str) -> tuple[str, int] | None:
    """The group of an option and its place there, None where it has none."""
    for table in (ELSEWHERE.get(command, {}), GROUPS):
        for group, names in table.items():
            if parameter in names:
                return group, names.index(parameter)
    return None


def in_groups(command: str, parameters: list[str]) -> dict[str, list[str]]:
    """The parameters of a command by group, in order; those without a group are advanced."""
    found: dict[str, list[tuple[int, str]]] = {group: [] for group in GROUPS}
    for name in parameters:
        group, place = group_of(command, name) or ("Advanced", 0)
        found[group].append((place, name))
    return {group: [name for _, name in sorted(places)] for group, places in found.items() if places}
