"""The networks of torchvision and timm that tests and benchmarks go through, and how to build them without weights."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

CLASSES = 10
Shape = tuple[int, ...]

# family (the module in torchvision.models) -> its classifiers, the one with the fewest parameters first
TORCHVISION: dict[str, tuple[str, ...]] = {
    "alexnet": ("alexnet",),
    "convnext": (
        "convnext_tiny",
        "convnext_base",
        "convnext_large",
        "convnext_small",
    ),
    "densenet": (
        "densenet121",
        "densenet161",
        "densenet169",
        "densenet201",
    ),
    "efficientnet": (
        "efficientnet_b0",
        "efficientnet_b1",
        "efficientnet_b2",
        "efficientnet_b3",
        "efficientnet_b4",
        "efficientnet_b5",
        "efficientnet_b6",
        "efficientnet_b7",
        "efficientnet_v2_l",
        "efficientnet_v2_m",
        "efficientnet_v2_s",
    ),
    "googlenet": ("googlenet",),
    "inception": ("inception_v3",),
    "maxvit": ("maxvit_t",),
    "mnasnet": (
        "mnasnet0_5",
        "mnasnet0_75",
        "mnasnet1_0",
        "mnasnet1_3",
    ),
    "mobilenetv2": ("mobilenet_v2",),
    "mobilenetv3": (
        "mobilenet_v3_small",
        "mobilenet_v3_large",
    ),
    "regnet": (
        "regnet_y_400mf",
        "regnet_x_16gf",
        "regnet_x_1_6gf",
        "regnet_x_32gf",
        "regnet_x_3_2gf",
        "regnet_x_400mf",
        "regnet_x_800mf",
        "regnet_x_8gf",
        "regnet_y_128gf",
        "regnet_y_16gf",
        "regnet_y_1_6gf",
        "regnet_y_32gf",
        "regnet_y_3_2gf",
        "regnet_y_800mf",
        "regnet_y_8gf",
    ),
    "resnet": (
        "resnet18",
        "resnet101",
        "resnet152",
        "resnet34",
        "resnet50",
        "resnext101_32x8d",
        "resnext101_64x4d",
        "resnext50_32x4d",
        "wide_resnet101_2",
        "wide_resnet50_2",
    ),
    "shufflenetv2": (
        "shufflenet_v2_x0_5",
        "shufflenet_v2_x1_0",
        "shufflenet_v2_x1_5",
        "shufflenet_v2_x2_0",
    ),
    "squeezenet": (
        "squeezenet1_1",
        "squeezenet1_0",
    ),
    "swin_transformer": (
        "swin_t",
        "swin_b",
        "swin_s",
        "swin_v2_b",
        "swin_v2_s",
        "swin_v2_t",
    ),
    "vgg": (
        "vgg11",
        "vgg11_bn",
        "vgg13",
        "vgg13_bn",
        "vgg16",
        "vgg16_bn",
        "vgg19",
        "vgg19_bn",
    ),
    "vision_transformer": (
        "vit_b_16",
        "vit_b_32",
        "vit_h_14",
        "vit_l_16",
        "vit_l_32",
    ),
}
TORCHVISION_SMALLEST = {family: members[0] for family, members in TORCHVISION.items()}

# module of timm 1.0.31 -> its network with the fewest parameters, and the side of images that it is quick on
TIMM: dict[str, tuple[str, int]] = {
    "beit": ("beit_base_patch16_224", 224),
    "byoanet": ("halonet_h1", 256),
    "byobnet": ("test_byobnet", 96),
    "cait": ("cait_xxs24_224", 224),
    "coat": ("coat_tiny", 224),
    "convit": ("convit_tiny", 224),
    "convmixer": ("convmixer_768_32", 96),
    "convnext": ("test_convnext", 96),
    "cpubone": ("cpubone_nano", 96),
    "crossvit": ("crossvit_tiny_240", 240),
    "csatv2": ("csatv2", 96),
    "cspnet": ("cs3darknet_focus_s", 96),
    "cspnext": ("cspnext_tiny", 96),
    "davit": ("davit_tiny", 96),
    "deepseek_vit": ("deepseek_vit_412m", 126),
    "deit": ("deit_tiny_patch16_224", 224),
    "densenet": ("densenet121", 96),
    "dla": ("dla46x_c", 96),
    "dpn": ("dpn48b", 96),
    "edgenext": ("edgenext_xx_small", 96),
    "efficientformer": ("efficientformer_l1", 224),
    "efficientformer_v2": ("efficientformerv2_s0", 224),
    "efficientnet": ("test_efficientnet", 96),
    "efficientvim": ("efficientvim_m1", 96),
    "efficientvit_mit": ("efficientvit_b0", 96),
    "efficientvit_msra": ("efficientvit_m0", 224),
    "eva": ("vit_tiny_patch16_dinov3_qkvb", 256),
    "fasternet": ("fasternet_t0", 96),
    "fastvit": ("fastvit_t8", 96),
    "focalnet": ("focalnet_tiny_srf", 96),
    "gcvit": ("gcvit_xxtiny", 224),
    "gemma4_vit": ("gemma4_vit_167m", 96),
    "ghostnet": ("ghostnet_050", 96),
    "hardcorenas": ("hardcorenas_b", 96),
    "hgnet": ("hgnetv2_b0", 96),
    "hiera": ("hiera_tiny_224", 224),
    "hieradet_sam2": ("sam2_hiera_tiny", 96),
    "hrnet": ("hrnet_w18_small", 96),
    "iformer": ("iformer_t", 96),
    "inception_next": ("inception_next_atto", 96),
    "inception_resnet_v2": ("inception_resnet_v2", 96),
    "inception_v3": ("inception_v3", 96),
    "inception_v4": ("inception_v4", 96),
    "lcnetv2": ("lcnetv2_small", 96),
    "levit": ("levit_128s", 224),
    "lowformer": ("lowformer_b0", 96),
    "mambaout": ("test_mambaout", 96),
    "maxxvit": ("test_coatnet", 160),
    "metaformer": ("poolformerv2_s12", 96),
    "mlp_mixer": ("gmlp_ti16_224", 224),
    "mobilenetv3": ("mobilenetv3_small_050", 96),
    "mobilenetv5": ("mobilenetv5_base", 96),
    "mobilevit": ("mobilevit_xxs", 96),
    "mvitv2": ("mvitv2_tiny", 224),
    "naflexvit": ("naflexvit_base_patch16_parfac_gap", 96),
    "nasnet": ("nasnetalarge", 96),
    "nest": ("nest_tiny", 224),
    "nextvit": ("nextvit_small", 96),
    "nfnet": ("test_nfnet", 96),
    "pit": ("pit_ti_224", 224),
    "pnasnet": ("pnasnet5large", 96),
    "pvt_v2": ("pvt_v2_b0", 96),
    "qwen3_vit": ("qwen3_vit_88m", 96),
    "rdnet": ("rdnet_tiny", 96),
    "regnet": ("regnetx_002", 96),
    "repghost": ("repghostnet_050", 96),
    "repvit": ("repvit_m1", 96),
    "res2net": ("res2next50", 96),
    "resnest": ("resnest14d", 96),
    "resnet": ("test_resnet", 96),
    "resnetv2": ("resnetv2_18", 96),
    "rexnet": ("rexnet_100", 96),
    "selecsls": ("selecsls42", 96),
    "senet": ("legacy_seresnet18", 96),
    "sequencer": ("sequencer2d_s", 224),
    "shvit": ("shvit_s1", 96),
    "sknet": ("skresnet18", 96),
    "starnet": ("starnet_s050", 96),
    "swiftformer": ("swiftformer_xs", 224),
    "swin_transformer": ("swin_tiny_patch4_window7_224", 224),
    "swin_transformer_v2": ("swinv2_tiny_window16_256", 256),
    "swin_transformer_v2_cr": ("swinv2_cr_tiny_224", 224),
    "tiny_vit": ("tiny_vit_5m_224", 96),
    "tnt": ("tnt_s_legacy_patch16_224", 224),
    "tresnet": ("tresnet_m", 96),
    "twins": ("twins_svt_small", 224),
    "vgg": ("vgg11", 96),
    "visformer": ("visformer_tiny", 224),
    "vision_transformer": ("test_vit", 160),
    "vision_transformer_hybrid": ("vit_tiny_r_s16_p8_224", 224),
    "vision_transformer_relpos": ("test_vit_relpos", 160),
    "vision_transformer_sam": ("samvit_base_patch16_224", 224),
    "vitamin": ("vitamin_small_224", 224),
    "volo": ("volo_d1_224", 224),
    "vovnet": ("ese_vovnet19b_slim_dw", 96),
    "xception": ("legacy_xception", 96),
    "xception_aligned": ("xception41p", 96),
    "xcit": ("xcit_nano_12_p8_224", 224),
}

# more of timm, for what the smallest do not have
TIMM_MORE: dict[str, int] = {
    "resnet10t": 96,
    "resnet26d": 96,  # average pooling in the shortcut
    "ecaresnet26t": 96,  # a convolution over channels
    "resnetblur18": 96,
    "resnetv2_50x1_bit": 96,  # weight standardisation, GroupNorm
    "eca_nfnet_l0": 96,
    "convnext_atto": 96,
    "convnextv2_atto": 96,  # global response norm
    "mobileone_s0": 96,
    "mobilevitv2_050": 96,
    "efficientnet_b0_gn": 96,
    "efficientvit_b0": 96,
    "mixnet_s": 96,
    "eva02_tiny_patch14_224": 224,  # rotary embedding, gated MLP
    "vit_relpos_small_patch16_224": 224,
    "maxvit_rmlp_pico_rw_256": 256,
    "caformer_s18": 224,
    "mixer_s32_224": 224,
    "resmlp_12_224": 224,
    "densenetblur121d": 96,
}

SEGMENTATION = (
    "deeplabv3_mobilenet_v3_large",
    "deeplabv3_resnet101",
    "deeplabv3_resnet50",
    "fcn_resnet101",
    "fcn_resnet50",
    "lraspp_mobilenet_v3_large",
)
VIDEO: dict[str, Shape] = {
    "mc3_18": (3, 8, 56, 56),
    "mvit_v1_b": (3, 16, 224, 224),
    "mvit_v2_s": (3, 16, 224, 224),
    "r2plus1d_18": (3, 8, 56, 56),
    "r3d_18": (3, 8, 56, 56),
    "s3d": (3, 16, 224, 224),
    "swin3d_b": (3, 8, 64, 64),
    "swin3d_s": (3, 8, 64, 64),
    "swin3d_t": (3, 8, 64, 64),
}
DETECTION = (
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
)


class Joined(nn.Module):
    """A network that returns named maps, made to return a tensor: each map's mean over space, side by side."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        found = self.network(x)
        maps = found.values() if isinstance(found, dict) else found
        return torch.cat([each.mean((2, 3)) for each in maps], 1)


def build_torchvision(name: str, classes: int = CLASSES, **options: int) -> tuple[nn.Module, Shape]:
    """A classifier of torchvision in eval mode, and the shape of an image that it is quick on."""
    from torchvision import models

    auxiliary = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = models.get_model(name, weights=None, num_classes=classes, **auxiliary, **options)
    side = 224 if name.startswith(("vit", "maxvit")) else 96
    return model.eval(), (3, side, side)


def build_timm(name: str, classes: int = CLASSES) -> tuple[nn.Module, Shape]:
    """A classifier of timm in eval mode, and the shape of an image that it is quick on (else its own)."""
    import timm

    make = partial(timm.create_model, name, pretrained=False, num_classes=classes)
    own = timm.get_pretrained_cfg(name.partition(".")[0]).input_size[-1]
    side = {**dict(TIMM.values()), **TIMM_MORE}.get(name, own)
    model = make() if side == own else _sized(make, side)
    return model.eval(), (3, side, side)


def _sized(make: Callable[..., nn.Module], side: int) -> nn.Module:
    """Pass the size to a network that needs it."""
    try:
        return make(img_size=side)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        return make()


def build_segmentation(name: str, classes: int = CLASSES) -> tuple[nn.Module, Shape]:
    """A network of torchvision that labels pixels, its maps averaged, and an input's shape."""
    from torchvision import models

    model = models.get_model(name, weights=None, weights_backbone=None, num_classes=classes)
    return Joined(model).eval(), (3, 96, 96)


def build_video(name: str, classes: int = CLASSES) -> tuple[nn.Module, Shape]:
    """A classifier of clips, and the shape of a clip (C, T, H, W)."""
    from torchvision import models

    return models.get_model(name, weights=None, num_classes=classes).eval(), VIDEO[name]


def build_backbone(name: str) -> tuple[nn.Module, Shape]:
    """The backbone of a detector of torchvision, its maps averaged, and an input's shape."""
    from torchvision import models

    model = models.get_model(name, weights=None, weights_backbone=None)
    side = 300 if name.startswith("ssd3") else 96
    return Joined(model.backbone).eval(), (3, side, side)
