"""The peer of the skeletal benchmark: forward kinematics one joint at a time, as D3KE's layer is described to do it.

Written anew from the published description: one module per joint, visited in breadth-first order; in each, per
sample, a Rodrigues matrix for each of three axes as 4x4 homogeneous products, the offset frames as X-Y-Z products,
`torch.inverse` of the child's offset (once for the body, once for its markers), the parent looked up by name, joint
centres and markers appended by a growing `torch.cat`. Units m and rad, ground frame, float32 by default.
"""

from collections import deque

import torch
from torch import Tensor, nn

from benchmarks.body58 import MARKERS, ROOT_TRANSLATIONS, Row, Tie, rows, ties
from schemas.skeleton import GROUND, SkeletonSpec


def rodrigues(axis: Tensor, angle: Tensor) -> Tensor:
    """Returns the turns (n, 4, 4) by `angle` (n) about unit vectors `axis` (n, 3)."""
    x, y, z = axis.unbind(1)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rest, zero = 1.0 - cos, torch.zeros_like(angle)
    turn = [
        torch.stack([cos + x * x * rest, x * y * rest - z * sin, x * z * rest + y * sin, zero], 1),
        torch.stack([y * x * rest + z * sin, cos + y * y * rest, y * z * rest - x * sin, zero], 1),
        torch.stack([z * x * rest - y * sin, z * y * rest + x * sin, cos + z * z * rest, zero], 1),
        torch.stack([zero, zero, zero, torch.ones_like(angle)], 1),
    ]
    return torch.stack(turn, dim=1)


def turned_frame(orientation: tuple[float, float, float]) -> Tensor:
    """Returns the frame (4, 4) turned by body-fixed X-Y-Z angles: the constant part of an offset."""
    turns = [
        rodrigues(torch.eye(3)[i : i + 1], torch.tensor([orientation[i]]))[0] for i in range(3)
    ]
    return turns[0] @ turns[1] @ turns[2]


def offset_transform(translation: Tensor, turned: Tensor) -> Tensor:
    """Returns the frames (n, 4, 4) at `translation` (n, 3), turned as `turned` (4, 4)."""
    moved = torch.eye(4, dtype=turned.dtype, device=turned.device).repeat(len(translation), 1, 1)
    moved[:, :3, 3] = translation
    return torch.matmul(moved, turned)


class Node(nn.Module):
    """One joint, the body it carries, and the markers on that body."""

    def __init__(self, row: Row, axes: Tensor, markers: Tensor) -> None:
        super().__init__()
        self.row = row
        self.at: Tensor
        self.turned: Tensor
        self.inside: Tensor
        self.axes: Tensor
        self.markers: Tensor
        self.register_buffer("at", torch.tensor(row.at))
        self.register_buffer("turned", turned_frame(row.turned))
        self.register_buffer("inside", torch.tensor(row.inside))
        self.register_buffer("axes", axes)
        self.register_buffer("markers", markers)

    def motion(self, angles: list[Tensor]) -> Tensor:
        """Returns R3 · R2 · R1 (n, 4, 4), each about its axis as the turns before have carried it."""
        count = len(angles[0])
        first, second, third = (axis.expand(count, 3)[:, :, None] for axis in self.axes)
        one = rodrigues(first[:, :, 0], angles[0])
        two = rodrigues(torch.matmul(one[:, :3, :3], second)[:, :, 0], angles[1])
        both = torch.matmul(two, one)
        three = rodrigues(torch.matmul(both[:, :3, :3], third)[:, :, 0], angles[2])
        return torch.matmul(three, both)

    def child_inverse(self, ratio: Tensor) -> Tensor:
        """Returns T_joint_from_body (n, 4, 4)."""
        return torch.inverse(offset_transform(self.inside * ratio, self.turned))

    def forward(
        self,
        T_ground_from_parent: Tensor,
        parent_ratio: Tensor,
        ratio: Tensor,
        angles: list[Tensor],
        translation: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns T_ground_from_body (n, 4, 4), the joint centre (n, 1, 3), the markers (n, m, 3)."""
        outer = offset_transform(self.at * parent_ratio, self.turned)
        joint = torch.matmul(torch.matmul(T_ground_from_parent, outer), self.motion(angles))
        if translation is not None:
            joint = torch.cat([joint[:, :, :3], joint[:, :, 3:] + translation[:, :, None]], dim=2)
        body = torch.matmul(joint, self.child_inverse(ratio))
        return body, joint[:, None, :3, 3], self.place_markers(joint, ratio)

    def place_markers(self, joint: Tensor, ratio: Tensor) -> Tensor:
        """Returns the body's markers (n, m, 3)."""
        if not len(self.markers):
            return joint.new_zeros(len(joint), 0, 3)
        offsets = self.markers[None] * ratio[:, None, :]
        homogeneous = torch.cat([offsets, torch.ones_like(offsets[:, :, :1])], dim=2)
        placed = torch.matmul(joint, self.child_inverse(ratio))
        return torch.matmul(placed, homogeneous.transpose(1, 2)).transpose(1, 2)[:, :, :3]


def breadth_first(table: list[Row]) -> list[Row]:
    """Sorts the joints by their depth below ground."""
    found, waiting = [], deque([GROUND])
    while waiting:
        parent = waiting.popleft()
        children = [row for row in table if row.parent == parent]
        found += children
        waiting.extend(row.body for row in children)
    return found


class NodeByNode(nn.Module):
    """All joints of `body58`, one after the other."""

    def __init__(self, spec: SkeletonSpec) -> None:
        super().__init__()
        table = breadth_first(rows())
        index = {name: i for i, name in enumerate(spec.joint_names)}
        nodes = []
        for row in table:
            joint = spec.joints[index[row.joint]]
            own = [m.location for m in spec.markers if m.body == row.body]
            axes = torch.tensor([axis.direction for axis in joint.axes[:3]])
            nodes.append(Node(row, axes, torch.tensor(own).reshape(-1, 3)))
        self.nodes = nn.ModuleList(nodes)
        self.coordinates = {name: i for i, name in enumerate(spec.coordinate_names)}
        self.bodies = {name: i for i, name in enumerate(spec.body_names)}
        self.ties: dict[str, Tie] = {tie.dependent: tie for tie in ties()}
        self.joint_names = [row.joint for row in table]
        self.marker_names = [f"{r.body}_{i}" for r in table for i in range(MARKERS.get(r.body, 0))]

    def value(self, name: str, q: Tensor) -> Tensor:
        """Returns a coordinate (n), through the first two knots of its coupler where it has one."""
        tie = self.ties.get(name)
        if tie is None:
            return q[:, self.coordinates[name]]
        (x0, y0), (x1, y1) = tie.start, tie.end
        return y0 + (self.value(tie.independent, q) - x0) * (y1 - y0) / (x1 - x0)

    def forward(self, q: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Poses q (n, c) with body scales (n, b, 3); returns joint centres and markers in visiting order."""
        eye = torch.eye(4, dtype=q.dtype, device=q.device).repeat(len(q), 1, 1)
        placed, ratios = {GROUND: eye}, {GROUND: torch.ones_like(scale[:, 0])}
        centres = markers = torch.zeros(len(q), 0, 3, dtype=q.dtype, device=q.device)
        for node in self.nodes:
            assert isinstance(node, Node)
            row = node.row
            ratios[row.body] = scale[:, self.bodies[row.body]]
            angles = [torch.zeros_like(q[:, 0])] * 3
            for i, turn in enumerate(row.turns):
                angles[i] = turn.sign * self.value(turn.coordinate, q)
            root = row.parent == GROUND
            translation = self.root_translation(q) if root else None
            body, centre, own = node(
                placed[row.parent], ratios[row.parent], ratios[row.body], angles, translation
            )
            placed[row.body] = body
            centres = torch.cat([centres, centre], dim=1)
            markers = torch.cat([markers, own], dim=1)
        return centres, markers

    def root_translation(self, q: Tensor) -> Tensor:
        """Returns the root's place (n, 4), last entry 0."""
        moved = [self.value(name, q) for name in ROOT_TRANSLATIONS]
        return torch.stack([*moved, torch.zeros_like(moved[0])], dim=1)
