"""What a net is trained for: the seam between the loop, which knows no task, and the tasks, which know no loop.

The loop draws a `Batch`, lets the task prepare it and run the net on it, and asks the task for the loss, the
prediction and the measurements. A task is immutable; everything that learns is in its net.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.metrics import Tally

Prepared = dict[str, Tensor]
"""Tensors of one batch on one device: "image" (n, 3, h, w) float32, and what the task's methods need."""
Prediction = dict[str, Tensor]
"""What a net says, in units that a person reads (pixels, metres, radians); first dim is the sample."""
Output = Any
"""Whatever the task's net returns: a tensor, or a dict of them."""
Baseline = Callable[[Prepared], Prediction]
"""A predictor that never looked at the picture."""
SecondStep = Callable[[Prediction, Prepared], Prediction]
"""A predictor that goes on from what the net says."""

UNIFORMS = 24
"""Random numbers that travel with every sample; `trainers.augment` names their columns."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples as they were stored, n of them; possibly none."""

    images: tuple[NDArray[np.uint8], ...]
    """Decoded crops (h, w, 3), RGB; the sizes may differ from sample to sample."""
    arrays: Mapping[str, NDArray[Any]]
    """The task's `arrays`, one row per sample, as `schemas.layout.ARRAYS` describes them."""
    uniforms: NDArray[np.float64]
    """(n, UNIFORMS) in [0, 1): the sample's own randomness, a function of (dataset, seed, epoch, step, position).

    An augmentation that draws from here alone is the same for any number of ranks and threads.
    """
    weights: NDArray[np.float32] | None = None
    """(n,): 1, or 0 for a sample that only fills the epoch's last batch; None: all 1."""

    def __len__(self) -> int:
        return len(self.images)


class Task(Protocol):
    """One kind of net with its targets, loss and metrics."""

    @property
    def name(self) -> str:
        """Returns the task's name in recipes and checkpoints."""
        ...

    @property
    def arrays(self) -> tuple[str, ...]:
        """Returns the names of the shard arrays it wants besides the image."""
        ...

    @property
    def skeleton(self) -> Any | None:
        """Returns the `SkeletonSpec` that its outputs are written in; None for 2D."""
        ...

    def make_net(self) -> nn.Module:
        """Makes a freshly initialised net; the caller seeds torch's global generator first."""
        ...

    def prepare(self, batch: Batch, training: bool, device: torch.device) -> Prepared:
        """Turns stored samples into input and targets; augments (only where `training`) and resamples.

        Called from several threads at once; must not touch shared state.
        """
        ...

    def run(self, net: nn.Module, prepared: Prepared) -> Output:
        """Calls the net with what it takes of `prepared`; mostly `net(prepared["image"])`."""
        ...

    def loss(self, output: Output, prepared: Prepared) -> dict[str, Tensor]:
        """Returns "loss" and its named parts, each (n,), one value per sample.

        The loop averages over the global batch; a value per sample keeps that exact for uneven ranks.
        """
        ...

    def predict(self, output: Output, prepared: Prepared) -> Prediction:
        """Decodes the net's output."""
        ...

    def measure(self, prediction: Prediction, prepared: Prepared) -> Tally:
        """Returns the batch's contribution to the metrics; contributions add up."""
        ...

    def finalise(self, tally: Tally) -> dict[str, float]:
        """Computes the metrics from the sum of all contributions."""
        ...

    def summarise(self, prepared: Prepared) -> Tally:
        """Returns the batch's contribution to what the baselines must know of the train split."""
        ...

    def baselines(self, summary: Tally) -> dict[str, Baseline]:
        """Makes the trivial predictors by name, from the summary of the train split."""
        ...

    def second_steps(self, summary: Tally) -> dict[str, SecondStep]:
        """Makes the predictors that go on from the net's prediction, by name; too slow for every validation."""
        ...

    def describe(self) -> dict[str, Any]:
        """Returns what, besides the recipe, a reader of the checkpoint must know; JSON values."""
        ...
