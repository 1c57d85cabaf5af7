"""Few bytes that claim to be many are refused before they are: each is set off in a process whose memory is watched."""

import io
import json
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_crops
from strangers import (
    MAX_SIDE,
    edit,
    forge_manifest,
    jpeg_of,
    parquet,
    put,
    raw_frame,
    read,
    receipts,
    shard_of,
    stream,
    zstd_zeros,
)

from pipeline import history, recipes, verify
from schemas import manifest
from schemas.errors import InputError, SampleRejected
from schemas.manifest import commit_path
from schemas.receipts import SCHEMA, records
from schemas.recipes import Scene
from trainers import backbones
from workers import images, osim, photos

BOMB_MB = 1000
ARCHIVED_MB = 400
GROWTH_MB = 250


def _huge_commit(folder: Path, url: str) -> None:
    with Path(url, commit_path(0)).open("r+b") as file:
        file.truncate(BOMB_MB * 2**20)


def _huge_label(folder: Path, url: str) -> None:
    with Path(url, "shards", shard_of(url), "keypoints/c/0/0/0").open("r+b") as file:
        file.truncate(BOMB_MB * 2**20)


def _zstd(announced: int | None) -> Callable[[Path, str], None]:
    def lay(folder: Path, url: str) -> None:
        data = zstd_zeros(BOMB_MB * 2**20, announced)
        put(url, f"shards/{shard_of(url)}/keypoints/c/0/0/0", data)

    return lay


def _absurd_rows(folder: Path, url: str) -> None:
    rows = 2**20
    grid = {"name": "regular", "configuration": {"chunk_shape": [rows, 17, 3]}}
    edit(url, "keypoints_cam", shape=[rows, 17, 3], chunk_grid=grid)
    size = rows * 17 * 3 * 4
    put(url, f"shards/{shard_of(url)}/keypoints_cam/c/0/0/0", zstd_zeros(size, size))
    edit(url, "image_offset", shape=[2**62])


def _parquet_zeros(folder: Path, url: str) -> None:
    """Ordinary pages that unpack a thousandfold."""
    document = receipts(url)[0]
    document["key"]["members"] = [0] * 2_000_000
    forge_manifest(url, parquet([json.dumps(document)] * 100))


def _parquet_dictionary(folder: Path, url: str) -> None:
    """One long text, named a hundred times by its number."""
    document = receipts(url)[0]
    document["quarantine"] = [{"sample": "s", "reason": "x" * 10 * 2**20, "detail": ""}]
    forge_manifest(url, parquet([json.dumps(document)] * 100, use_dictionary=True))


def _parquet_prefixes(folder: Path, url: str) -> None:
    """One long text, of which every other repeats the beginning."""
    document = receipts(url)[0]
    document["quarantine"] = [{"sample": "s", "reason": "x" * 10 * 2**20, "detail": ""}]
    data = parquet([json.dumps(document)] * 100, column_encoding={"receipt": "DELTA_BYTE_ARRAY"})
    forge_manifest(url, data)


def _parquet_columns(name: str, nested: bool) -> Callable[[Path, str], None]:
    """A column beside the receipts: one long text, named a hundred times by its number."""

    def lay(folder: Path, url: str) -> None:
        texts = pa.array(["x" * 10 * 2**20]).dictionary_encode()
        long = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), texts.dictionary)
        columns: dict[str, Any] = {n: [""] * 100 for n in ("action_key", "split", "digest")}
        columns |= {"skeleton": [""] * 100, "receipt": [json.dumps(receipts(url)[0])] * 100}
        data = pa.table(columns | {name: long})
        if nested:
            dataset = manifest.open_dataset(url)
            rows = pa.Table.from_pylist(records(dataset.shards), SCHEMA)
            held = pa.ListArray.from_arrays(pa.array([0, 100], pa.int32()), long)
            data = rows.append_column(name, held)
        sink = io.BytesIO()
        keep = [f"{name}.list.element"] if nested else [name]
        pq.write_table(data, sink, compression="zstd", use_dictionary=keep)
        if nested:
            put(url, manifest.manifest_path(dataset.dataset_id), sink.getvalue())
        else:
            forge_manifest(url, sink.getvalue())

    return lay


def _json_members(folder: Path, url: str) -> None:
    document = receipts(url)[0]
    document["key"]["members"] = list(range(3_000_000))
    forge_manifest(url, parquet([json.dumps(document)]))


def _jpeg(folder: Path, url: str) -> None:
    data = jpeg_of(MAX_SIDE, MAX_SIDE)
    flat = data * 3
    grid = {"name": "regular", "configuration": {"chunk_shape": [len(flat)]}}
    edit(url, "image", shape=[len(flat)], chunk_grid=grid)
    base = f"shards/{shard_of(url)}"
    put(url, f"{base}/image/c/0", flat)
    offsets = np.arange(4, dtype="<u4") * len(data)
    put(url, f"{base}/image_offset/c/0", raw_frame(offsets.tobytes()))


def _archive(name: str, megabytes: int) -> Callable[[Path, str], None]:
    def lay(folder: Path, url: str) -> None:
        with (
            zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(name, "w", force_zip64=True) as member,
        ):
            for _ in range(megabytes):
                member.write(bytes(2**20))

    return lay


def _aliases(folder: Path, url: str) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    (folder / "r.yaml").write_text("\n".join(lines))


def _safetensors(header: bytes) -> Callable[[Path, str], None]:
    def lay(folder: Path, url: str) -> None:
        (folder / "w.safetensors").write_bytes(header)

    return lay


def _with_length(document: dict[str, Any]) -> bytes:
    text = json.dumps(document).encode()
    return len(text).to_bytes(8, "little") + text


def _open(folder: Path, url: str) -> None:
    manifest.open_dataset(url)


def _history(folder: Path, url: str) -> None:
    history.history(url)


def _verify(folder: Path, url: str) -> None:
    for fault in verify.verify(url):
        raise InputError(fault.path, fault.problem, fault.remedy)


def _read(folder: Path, url: str) -> None:
    read(url, "image_offset", "keypoints")


def _read_rows(folder: Path, url: str) -> None:
    read(url, "image_offset", "keypoints_cam")


def _stream(folder: Path, url: str) -> None:
    stream(url)


def _recipe(folder: Path, url: str) -> None:
    recipes.load(str(folder / "r.yaml"), [])


def _recipe_in_archive(folder: Path, url: str) -> None:
    recipes.load(f"zip://r.yaml::{folder}/a.zip", [])


def _model_in_archive(folder: Path, url: str) -> None:
    osim.read_model(f"zip://m.osim::{folder}/a.zip")


def _picture_in_archive(folder: Path, url: str) -> None:
    try:
        images.Folder(f"zip://::{folder}/a.zip").read("p.jpg")
    except SampleRejected as error:
        raise InputError(error.reason, error.detail, "") from error


def _weights(folder: Path, url: str) -> None:
    backbones.make_backbone("resnet18", str(folder / "w.safetensors"))


def _photo(folder: Path, url: str) -> None:
    photos.sample_photo(Scene(), str(folder / "photos"), np.random.default_rng(0))


def _lay_photo(folder: Path, url: str) -> None:
    (folder / "photos").mkdir()
    (folder / "photos" / "a.jpg").write_bytes(jpeg_of(MAX_SIDE, MAX_SIDE))


_FLOAT = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
BOMBS: dict[str, tuple[Callable[[Path, str], None], Callable[[Path, str], None], str]] = {
    "commit of 1 GB": (_huge_commit, _open, "more than the"),
    "labels of 1 GB": (_huge_label, _read, "more than the"),
    "zstd that says so": (_zstd(BOMB_MB * 2**20), _read, "would unpack to"),
    "zstd that does not": (_zstd(None), _read, "would unpack to None"),
    "zstd that lies": (_zstd(3 * 17 * 2 * 4), _read, "cannot be unpacked"),
    "rows": (_absurd_rows, _read_rows, "absurd shape"),
    "parquet, zeros": (_parquet_zeros, _open, "that would unpack to"),
    "parquet, dictionary": (_parquet_dictionary, _open, "not stored plainly"),
    "parquet, prefixes": (_parquet_prefixes, _open, "not stored plainly"),
    "parquet, names": (_parquet_columns("split", nested=False), _history, "not stored plainly"),
    "parquet, further column": (_parquet_columns("more", nested=True), _verify, "contradicts"),
    "members": (_json_members, _open, "JSON of"),
    "jpeg": (_jpeg, _stream, "65500 x 65500"),
    "photo": (_lay_photo, _photo, "none of its 1"),
    "yaml aliases": (_aliases, _recipe, "fewer aliases"),
    "recipe in an archive": (_archive("r.yaml", ARCHIVED_MB), _recipe_in_archive, "is larger than"),
    "model in an archive": (_archive("m.osim", ARCHIVED_MB), _model_in_archive, "is larger than"),
    "picture in an archive": (_archive("p.jpg", ARCHIVED_MB), _picture_in_archive, "has more than"),
    "weights' header": (_safetensors((2**60).to_bytes(8, "little")), _weights, "holds no weights"),
    "weights' shape": (_safetensors(_with_length({"a": _FLOAT})), _weights, "holds no weights"),
}


def _memory_mb(field: str) -> float:
    """Returns VmRSS, or VmHWM, its peak; getrusage would count the parent's at the fork, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1000


def set_off(folder: str) -> None:
    """Runs in a process of its own: prints each refusal and by how many MB memory grew for it at its peak."""
    images.decode(images.encode(np.zeros((8, 8, 3), np.uint8), 50))
    # Should a guard be missing, the machine that runs the tests survives it.
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    found = {}
    for number, (name, (_, open_it, _)) in enumerate(BOMBS.items()):
        refusal = "accepted"
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew, see proc(5)
        before = _memory_mb("VmRSS")
        try:
            open_it(Path(folder, str(number)), f"{folder}/{number}/set")
        except InputError as error:
            refusal = str(error)
        except Exception as error:  # noqa: BLE001 whatever came instead of the refusal is what the test shows
            refusal = f"not refused: {error!r}"
        grown = _memory_mb("VmHWM") - before
        found[name] = (refusal, grown)
    sys.stdout.write(json.dumps(found))


@pytest.fixture(scope="module")
def explosions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float]]:
    """Returns what each bomb was answered, and what it cost in MB."""
    folder = tmp_path_factory.mktemp("bombs")
    for number, (lay, _, _) in enumerate(BOMBS.values()):
        (folder / str(number)).mkdir()
        place = f"{folder}/{number}/set"
        tiny_crops.publish(place, {"train": [3]})
        lay(folder / str(number), place)
    program = (
        "import sys; sys.path[:0] = ['.', 'tests'];"
        f"import test_bombs; test_bombs.set_off({str(folder)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        # A machine of many cores would spend the allowance on the stacks of idle threads.
        env=os.environ | {"OMP_NUM_THREADS": "2"},
    )
    assert done.stdout, done.stderr
    found: dict[str, tuple[str, float]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_memory(
    name: str, explosions: dict[str, tuple[str, float]]
) -> None:
    refusal, grown = explosions[name]
    assert BOMBS[name][2] in refusal
    assert grown < GROWTH_MB
