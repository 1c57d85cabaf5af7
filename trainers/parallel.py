"""The few exchanges between ranks; without torch.distributed each is the identity.

Two things make W processes train exactly as one: gradients are summed, as each rank divides its loss by the
global batch; and batch normalisation uses the statistics of the global batch.
"""

from collections.abc import Iterable
from typing import Any

import torch

# Before a group exists: the defaults of its functions hold the group of the moment of import, which then outlives
# `destroy_process_group`, and its threads abort the process at exit now and then (PyTorch 2.13).
import torch.distributed.nn
from torch import Tensor, distributed, nn


def rank() -> int:
    """Returns this process's number, 0 when alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """Returns the number of processes, 1 when alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def add_up(value: Tensor) -> Tensor:
    """Sums a tensor over all ranks, in place."""
    if world() > 1:
        distributed.all_reduce(value)
    return value


def gather(value: Any) -> list[Any]:
    """Returns every rank's value, in rank order."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    distributed.all_gather_object(values, value)
    return values


def wait_for_all() -> None:
    """Returns when every rank is here."""
    if world() > 1:
        distributed.barrier()


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces every gradient by its sum over ranks, in one exchange."""
    if world() == 1:
        return
    owners = [p for p in parameters if p.requires_grad]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in owners]
    flat = add_up(torch.cat([g.reshape(-1) for g in grads]))
    parts = torch.split(flat, [g.numel() for g in grads])
    for owner, part in zip(owners, parts, strict=True):
        owner.grad = part.view_as(owner)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the global batch; alone, or in evaluation, exactly `nn.BatchNorm2d`.

    `nn.SyncBatchNorm` refuses CPU tensors. Ranks may hold different numbers of samples, also none.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalises (n, c, h, w)."""
        if not self.training or world() == 1:
            return super().forward(x)
        mean, var, count = _global_moments(x.detach())
        with torch.no_grad():
            momentum = self.momentum if self.momentum is not None else 0.1
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            if self.running_mean is not None and self.running_var is not None:
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(var * (count / (count - 1).clamp_min(1)), momentum)
        inverse = (var + self.eps).rsqrt()
        result: Tensor = _Normalise.apply(x, mean, inverse, count)  # type: ignore[no-untyped-call]
        return result * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def _global_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns mean (c,), biased variance (c,) and element count () over all ranks' (n, c, h, w)."""
    count = x.new_tensor(float(x.numel() // x.shape[1]))
    total = x.sum((0, 2, 3))
    sums = add_up(torch.cat([total, count[None]]))
    mean = sums[:-1] / sums[-1]
    # A second exchange, as E[x²] - E[x]² loses all digits where the mean is large.
    squares = add_up(((x - mean.view(1, -1, 1, 1)) ** 2).sum((0, 2, 3)))
    return mean, squares / sums[-1], sums[-1]


class _Normalise(torch.autograd.Function):
    """x -> (x - mean) / deviation, where mean and deviation depend on every rank's x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, inverse: Tensor, count: Tensor) -> Tensor:
        normal = (x - mean.view(1, -1, 1, 1)) * inverse.view(1, -1, 1, 1)
        ctx.save_for_backward(normal, inverse, count)
        return normal

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = grads
        normal, inverse, count = ctx.saved_tensors
        sums = add_up(torch.stack([grad.sum((0, 2, 3)), (grad * normal).sum((0, 2, 3))])) / count
        centred = grad - sums[0].view(1, -1, 1, 1) - normal * sums[1].view(1, -1, 1, 1)
        return centred * inverse.view(1, -1, 1, 1), None, None, None
