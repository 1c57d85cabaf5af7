"""Our ResNets are torchvision's: the same names, shapes and counts, so that its weights load."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from schemas.errors import InputError
from trainers.backbones import PLANS, ResNet, make_backbone

COUNTS = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
}
SHAPES = {
    "resnet18": {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "bn1.num_batches_tracked": (),
        "layer1.0.conv1.weight": (64, 64, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer2.0.downsample.1.bias": (128,),
        "layer4.1.bn2.weight": (512,),
        "fc.weight": (1000, 512),
    },
    "resnet50": {
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.2.conv3.weight": (256, 64, 1, 1),
        "layer3.5.conv2.weight": (256, 256, 3, 3),
        "fc.bias": (1000,),
    },
    "resnext50_32x4d": {
        "layer1.0.conv1.weight": (128, 64, 1, 1),
        "layer1.0.conv2.weight": (128, 4, 3, 3),
        "layer4.2.conv3.weight": (2048, 1024, 1, 1),
    },
    "resnext101_32x8d": {
        "layer1.0.conv2.weight": (256, 8, 3, 3),
        "layer3.22.bn3.running_var": (1024,),
    },
}


@pytest.mark.parametrize("name", sorted(PLANS))
def test_names_shapes_and_counts_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        net = ResNet(PLANS[name], classes=1000)
    state = net.state_dict()
    assert sum(p.numel() for p in net.parameters()) == COUNTS[name]
    for key, shape in SHAPES[name].items():
        assert tuple(state[key].shape) == shape, key
    depth = sum(PLANS[name].layers) * (2 if PLANS[name].block == "basic" else 3)
    # Each convolution has its normalisation's five entries; four shortcuts (three in ResNet-18); fc.
    convolutions = 1 + depth + (3 if PLANS[name].block == "basic" else 4)
    assert len(state) == 6 * convolutions + 2


def test_features_halve_the_picture_from_level_to_level() -> None:
    net = make_backbone("resnet18", None).eval()
    levels = net.features(torch.zeros(1, 3, 64, 96))
    assert [tuple(c.shape) for c in levels] == [
        (1, 64, 16, 24),
        (1, 128, 8, 12),
        (1, 256, 4, 6),
        (1, 512, 2, 3),
    ]


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_load_by_url_without_their_classifier(suffix: str, tmp_path: Path) -> None:
    donor = ResNet(PLANS["resnet18"], classes=10)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(donor.state_dict(), path)
    else:
        safetensors.torch.save_file(donor.state_dict(), path)
    net = make_backbone("resnet18", f"file://{path}")
    torch.testing.assert_close(net.conv1.weight, donor.conv1.weight)
    assert net.fc is None


def test_weights_of_another_net_and_no_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(ResNet(PLANS["resnet18"]).state_dict(), path)
    with pytest.raises(InputError, match="does not fit resnet50"):
        make_backbone("resnet50", str(path))
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="holds no weights"):
        make_backbone("resnet18", str(path))


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    path = tmp_path / "trap.pth"
    torch.save({"conv1.weight": Trap()}, path)
    with pytest.raises(InputError, match="holds no weights"):
        make_backbone("resnet18", str(path))
    assert not (tmp_path / "sprung").exists()
