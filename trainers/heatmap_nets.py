"""Nets from pictures to heat maps of a quarter of their size."""

from torch import Tensor, nn
from torch.nn import functional as F

from schemas.training import Pose2d
from trainers.backbones import make_backbone
from trainers.parallel import BatchNorm2d

_WIDTH = 256


def _deconvolution(n_in: int) -> nn.Sequential:
    conv = nn.ConvTranspose2d(n_in, _WIDTH, 4, 2, 1, bias=False)
    nn.init.normal_(conv.weight, std=0.001)
    return nn.Sequential(conv, BatchNorm2d(_WIDTH), nn.ReLU(inplace=True))


def _head(joints: int) -> nn.Conv2d:
    head = nn.Conv2d(_WIDTH, joints, 1)
    nn.init.normal_(head.weight, std=0.001)
    return head


class DeconvNet(nn.Module):
    """Backbone and three deconvolutions: SimpleBaseline (Xiao et al., ECCV 2018)."""

    def __init__(self, config: Pose2d, joints: int) -> None:
        super().__init__()
        self.backbone = make_backbone(config.backbone, config.weights)
        inputs = (self.backbone.channels[3], _WIDTH, _WIDTH)
        self.up = nn.Sequential(*(_deconvolution(c) for c in inputs))
        self.head = _head(joints)

    def forward(self, image: Tensor) -> Tensor:
        """Maps pictures (n, 3, h, w) to heat maps (n, joints, h / 4, w / 4)."""
        maps: Tensor = self.head(self.up(self.backbone(image)))
        return maps


class FpnNet(nn.Module):
    """c3, c4 and c5 brought to c3's grid and summed, then one deconvolution."""

    def __init__(self, config: Pose2d, joints: int) -> None:
        super().__init__()
        self.backbone = make_backbone(config.backbone, config.weights)
        self.lateral = nn.ModuleList(nn.Conv2d(c, _WIDTH, 1) for c in self.backbone.channels[1:])
        self.up = _deconvolution(_WIDTH)
        self.head = _head(joints)

    def forward(self, image: Tensor) -> Tensor:
        """Maps pictures (n, 3, h, w) to heat maps (n, joints, h / 4, w / 4)."""
        levels = [
            lateral(c)
            for lateral, c in zip(self.lateral, self.backbone.features(image)[1:], strict=True)
        ]
        total = levels[0]
        for level in levels[1:]:
            total = total + F.interpolate(
                level, size=total.shape[2:], mode="bilinear", align_corners=False
            )
        maps: Tensor = self.head(self.up(F.relu(total)))
        return maps
