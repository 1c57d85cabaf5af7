"""Checkpoints: safetensors and JSON under any fsspec URL, no pickle, so that loading a stranger's is safe.

    <run>/step-00001200/model.safetensors       weights
                        optimiser.safetensors   moments of the optimiser
                        checkpoint.json         everything else, and the digests of the two; written last

A folder without a readable checkpoint.json is no checkpoint: a run that dies while writing leaves nothing that
could be taken for one, and a file that changed afterwards is refused by its digest.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from schemas import files
from schemas.documents import validate
from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec
from schemas.training import FitRecipe
from trainers.metrics import Tally
from trainers.position import Position
from trainers.task import Task
from trainers.tasks import make_task

log = logging.getLogger(__name__)
_FORMAT = 1
_JSON = "checkpoint.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run at one moment: enough to go on with it, to evaluate it and to predict."""

    recipe: FitRecipe
    described: dict[str, Any]
    """What the task says of itself."""
    skeleton: SkeletonSpec | None
    dataset_ids: tuple[str, ...]
    order: dict[str, Any]
    """`Position.order` of the training stream; with epoch and step, its whole state."""
    epoch: int
    step: int
    """Steps of this epoch that are done."""
    total_steps: int
    """Steps of all epochs that are done."""
    metrics: dict[str, float]
    """Of the validation split, {} where none was made yet."""
    summary: Tally
    """Of the train split; the baselines are made from it."""
    weights: dict[str, Tensor]
    optimiser: dict[str, Any] | None = None
    """The optimiser's state_dict."""
    url: str = ""
    """Where it was loaded from."""

    @property
    def position(self) -> Position:
        """Returns where the training stream goes on."""
        return Position(order=self.order, epoch=self.epoch, step=self.step)


def save(run: str, checkpoint: Checkpoint) -> str:
    """Writes a checkpoint under a run's URL and returns its own URL."""
    url = f"{run.rstrip('/')}/step-{checkpoint.total_steps:08d}"
    tensors, groups = _flatten(checkpoint.optimiser)
    blobs = {
        "model.safetensors": _pack(checkpoint.weights),
        "optimiser.safetensors": _pack(tensors),
    }
    document = {
        "format": _FORMAT,
        "task": checkpoint.recipe.task.kind,
        "recipe": checkpoint.recipe.model_dump(mode="json"),
        "described": checkpoint.described,
        "skeleton": json.loads(checkpoint.skeleton.to_json()) if checkpoint.skeleton else None,
        "fingerprint": checkpoint.skeleton.fingerprint if checkpoint.skeleton else None,
        "dataset_ids": checkpoint.dataset_ids,
        "stream": {
            "order": checkpoint.order,
            "epoch": checkpoint.epoch,
            "step": checkpoint.step,
        },
        "total_steps": checkpoint.total_steps,
        # NaN is no JSON; a metric that nothing was counted for is null.
        "metrics": {k: v if np.isfinite(v) else None for k, v in checkpoint.metrics.items()},
        "summary": {k: np.asarray(v).tolist() for k, v in checkpoint.summary.sums.items()},
        "optimiser": groups,
        "digests": {name: files.digest(data) for name, data in blobs.items()},
    }
    try:
        fs, path = fsspec.core.url_to_fs(url)
        fs.makedirs(path, exist_ok=True)
        if fs.exists(f"{path}/{_JSON}"):
            fs.rm_file(f"{path}/{_JSON}")
        for name, data in blobs.items():
            fs.pipe_file(f"{path}/{name}", data)
        text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False)
        fs.pipe_file(f"{path}/{_JSON}", text.encode())
    except (OSError, ImportError) as error:
        raise InputError(
            url,
            f"the checkpoint cannot be written ({error})",
            "Check the URL, the credentials and the free space, then run the same command again",
        ) from error
    return url


def load(url: str) -> Checkpoint:
    """Loads a checkpoint; a run's URL means its newest one.

    Raises:
        InputError: there is none, or it is damaged or of another format.
    """
    own = url.rstrip("/")
    if not _exists(f"{own}/{_JSON}"):
        found = complete(own)
        if not found:
            raise InputError(url, "holds no whole checkpoint", "Name a run or one of its steps")
        own = found[-1]
    document = _document(own)
    if document is None or document.get("format") != _FORMAT:
        raise InputError(own, f"is no checkpoint of format {_FORMAT}", "Train again")
    try:
        return _read(own, document)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            own, f"holds a damaged {_JSON} ({error!r})", "Use another step of this run"
        ) from error


def _read(url: str, document: dict[str, Any]) -> Checkpoint:
    """Makes a checkpoint of its JSON and the two files beside it."""
    recipe: FitRecipe = validate(FitRecipe, document["recipe"], f"{url}/{_JSON}")
    skeleton = document["skeleton"]
    stream, digests = document["stream"], document["digests"]
    return Checkpoint(
        recipe=recipe,
        described=document["described"],
        skeleton=SkeletonSpec.from_json(json.dumps(skeleton)) if skeleton else None,
        dataset_ids=tuple(document["dataset_ids"]),
        order=dict(stream["order"]),
        epoch=int(stream["epoch"]),
        step=int(stream["step"]),
        total_steps=int(document["total_steps"]),
        metrics={
            k: float("nan") if v is None else float(v) for k, v in document["metrics"].items()
        },
        summary=Tally(sums={k: np.asarray(v, float) for k, v in document["summary"].items()}),
        weights=_unpack(url, "model.safetensors", digests),
        optimiser=_unflatten(_unpack(url, "optimiser.safetensors", digests), document["optimiser"]),
        url=url,
    )


def complete(run: str) -> list[str]:
    """Lists the URLs of a run's whole checkpoints, oldest first; [] where there are none."""
    try:
        fs, path = fsspec.core.url_to_fs(run)
        fs.invalidate_cache()
        if not fs.isdir(path):
            return []
        names = sorted(str(p).rstrip("/").rsplit("/", 1)[-1] for p in fs.ls(path, detail=False))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            run, f"cannot be listed ({error})", "Check the URL and the credentials"
        ) from error
    steps = [f"{run.rstrip('/')}/{n}" for n in names if n.startswith("step-")]
    return [url for url in steps if _document(url) is not None]


def prune(run: str, keep: int) -> None:
    """Deletes all whole checkpoints but the newest `keep` and the one of the lowest validation loss."""
    urls = complete(run)
    losses = {url: ((_document(url) or {}).get("metrics") or {}).get("loss") for url in urls}
    known = {url: loss for url, loss in losses.items() if loss is not None}
    spared = {*urls[-keep:], *([min(known, key=lambda u: float(known[u]))] if known else [])}
    for url in urls:
        if url not in spared:
            fs, path = fsspec.core.url_to_fs(url)
            fs.rm_file(f"{path}/{_JSON}")
            fs.rm(path, recursive=True)


def best(run: str) -> str:
    """Returns the URL of a run's checkpoint of the lowest validation loss; the newest where none has one."""
    urls = complete(run)
    if not urls:
        raise InputError(run, "holds no whole checkpoint", "Name a run or one of its steps")
    losses = [((_document(u) or {}).get("metrics") or {}).get("loss") for u in urls]
    known = [(float(loss), -i) for i, loss in enumerate(losses) if loss is not None]
    return urls[-min(known)[1]] if known else urls[-1]


def restore(checkpoint: Checkpoint, device: torch.device) -> tuple[Task, nn.Module]:
    """Builds the task and the trained net, in evaluation mode.

    Raises:
        InputError: the weights do not fit the net that the recipe describes.
    """
    kind = checkpoint.recipe.task
    if kind.weights is not None:
        kind = kind.model_copy(update={"weights": None})
    task = make_task(checkpoint.recipe.model_copy(update={"task": kind}), checkpoint.skeleton)
    net = task.make_net()
    try:
        net.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise InputError(
            checkpoint.url or "checkpoint", f"does not fit its own recipe ({error})", "Train again"
        ) from error
    return task, net.to(device).eval()


def _pack(tensors: Mapping[str, Tensor]) -> bytes:
    plain = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
    data: bytes = safetensors.torch.save(plain)
    return data


def _unpack(url: str, name: str, digests: Mapping[str, str]) -> dict[str, Tensor]:
    data = files.read_bytes(f"{url}/{name}")
    if files.digest(data) != digests.get(name):
        raise InputError(
            f"{url}/{name}", "is damaged (another sha256)", "Use another step of this run"
        )
    try:
        return dict(safetensors.torch.load(data))
    except SafetensorError as error:
        raise InputError(f"{url}/{name}", f"is damaged ({error})", "Use another step") from error


def _flatten(state: dict[str, Any] | None) -> tuple[dict[str, Tensor], list[Any] | None]:
    """Splits an optimiser's state_dict into tensors by `index.name` and its JSON groups."""
    if state is None:
        return {}, None
    tensors = {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def _unflatten(tensors: Mapping[str, Tensor], groups: list[Any] | None) -> dict[str, Any] | None:
    if groups is None:
        return None
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": groups}


def _exists(url: str) -> bool:
    try:
        fs, path = fsspec.core.url_to_fs(url)
        return bool(fs.isfile(path))
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            url, f"cannot be reached ({error})", "Check the URL and the credentials"
        ) from error


def _document(url: str) -> dict[str, Any] | None:
    """Reads a checkpoint's JSON; None where it is missing or cut off."""
    if not _exists(f"{url}/{_JSON}"):
        return None
    try:
        document = json.loads(files.read_bytes(f"{url}/{_JSON}"))
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None  # pruned since
        # Not the same as none: a run that cannot see its checkpoints must not begin anew.
        raise
    except (ValueError, RecursionError) as error:
        log.warning("%s is no whole checkpoint: %s", url, error)
        return None
    return document if isinstance(document, dict) else None
