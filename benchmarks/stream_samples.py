"""The samples that `benchmarks.stream` writes into every format, and the one decoder that every loader calls.

Imported by the peers' interpreter too: NumPy, torch and simplejpeg only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

HEIGHT, WIDTH, JOINTS, BATCH = 256, 192, 17, 64
_GRID = 16
"""Every 16th pixel is summed, so that proving what came costs about 1 us per sample, the same for all."""


class Ready(NamedTuple):
    """A ready-to-train batch of n samples."""

    ids: torch.Tensor
    """(n,) int64."""
    images: torch.Tensor
    """(n, HEIGHT, WIDTH, 3) uint8, RGB."""
    keypoints: torch.Tensor
    """(n, 17, 3) float32: x, y in px, and whether labelled."""
    box: torch.Tensor
    """(n, 4) float32."""


class Row(NamedTuple):
    """One sample as it is stored; the arrays as their raw bytes, the cheapest form that every format carries."""

    number: int
    jpeg: bytes
    keypoints: bytes
    box: bytes


@dataclass(frozen=True, kw_only=True)
class Samples:
    """All samples, in a folder of flat files."""

    jpegs: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    keypoints: NDArray[np.float32]
    box: NDArray[np.float32]

    @classmethod
    def load(cls, folder: Path) -> "Samples":
        """Reads what `save` wrote."""
        return cls(**{name: np.load(folder / f"{name}.npy") for name in cls.__dataclass_fields__})

    def save(self, folder: Path) -> None:
        """Writes one file per array."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.__dataclass_fields__:
            np.save(folder / f"{name}.npy", getattr(self, name))

    def __len__(self) -> int:
        return len(self.box)

    def jpeg(self, number: int) -> bytes:
        """Returns one picture's file."""
        return self.jpegs[self.offsets[number] : self.offsets[number + 1]].tobytes()

    def rows(self) -> Iterator[Row]:
        """Yields every sample in its stored order."""
        for i in range(len(self)):
            yield Row(i, self.jpeg(i), self.keypoints[i].tobytes(), self.box[i].tobytes())


def decode(jpegs: Sequence[Any], out: NDArray[np.uint8]) -> None:
    """Decodes pictures of one size straight into a batch (n, HEIGHT, WIDTH, 3)."""
    for jpeg, place in zip(jpegs, out, strict=True):
        simplejpeg.decode_jpeg(jpeg, "RGB", buffer=place)


def ready(rows: Sequence[Row]) -> Ready:
    """Turns stored rows into a batch: what a peer's collation does."""
    out = np.empty((len(rows), HEIGHT, WIDTH, 3), np.uint8)
    decode([row.jpeg for row in rows], out)
    return Ready(
        ids=torch.tensor([row.number for row in rows], dtype=torch.int64),
        images=torch.from_numpy(out),
        keypoints=_floats([row.keypoints for row in rows]).view(-1, JOINTS, 3),
        box=_floats([row.box for row in rows]).view(-1, 4),
    )


def _floats(parts: Sequence[bytes]) -> torch.Tensor:
    return torch.frombuffer(bytearray(b"".join(parts)), dtype=torch.float32)


@dataclass(kw_only=True)
class Proof:
    """What an epoch delivered: each picture and target tied to its id, so that a swap shows as well as a loss."""

    ids: list[torch.Tensor]
    total: int = 0

    def add(self, batch: Ready) -> None:
        """Counts a batch in; refuses one that is not as asked."""
        n = len(batch.ids)
        shapes = (batch.images.shape, batch.keypoints.shape, batch.box.shape)
        if shapes != ((n, HEIGHT, WIDTH, 3), (n, JOINTS, 3), (n, 4)):
            raise RuntimeError(f"a batch of {shapes}")
        if batch.images.dtype != torch.uint8 or n > BATCH:
            raise RuntimeError(f"a batch of {n}, {batch.images.dtype}")
        self.ids.append(batch.ids)
        pixels = batch.images[:, ::_GRID, ::_GRID].flatten(1).sum(1, dtype=torch.int64)
        places = batch.keypoints.flatten(1).sum(1, dtype=torch.float64).mul(64).to(torch.int64)
        boxes = batch.box.sum(1, dtype=torch.float64).mul(64).to(torch.int64)
        self.total += int(((batch.ids + 1) * (pixels + places + boxes)).sum())

    def check(self, count: int, total: int) -> None:
        """Refuses an epoch that did not deliver each of `count` samples exactly once, as it is."""
        ids = torch.cat(self.ids).sort().values
        if not torch.equal(ids, torch.arange(count)):
            raise RuntimeError(
                f"{len(ids)} samples came, {len(set(ids.tolist()))} of {count} different"
            )
        if self.total != total:
            raise RuntimeError(f"the samples' checksum is {self.total} and not {total}")


def expected(samples: Samples) -> int:
    """Returns the checksum of an epoch."""
    proof = Proof(ids=[])
    rows = list(samples.rows())
    for i in range(0, len(rows), BATCH):
        proof.add(ready(rows[i : i + BATCH]))
    return proof.total
