"""What comes from a stranger's URL never runs, never leads out of the dataset, is refused before it is allocated."""

import io
import json
import resource
import struct
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

from pipeline import recipes
from schemas import manifest, untrusted
from schemas.errors import InputError, SampleRejected
from schemas.manifest import commit_path, manifest_path
from schemas.store import Store
from schemas.training import Streaming
from trainers import backbones
from trainers.corpus import open_corpus
from trainers.data import SampleStream
from workers import images, osim, photos

HEX = "f" * 64
BOMB_MB = 1000
ARCHIVED_MB = 400
MAX_SIDE = 65500
"""Of a picture, in libjpeg."""
GROWTH_MB = 200
DEEP = b'{"a":' * 100_000


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Returns a small published dataset."""
    place = str(tmp_path / "set")
    tiny_crops.publish(place, {"train": [3]})
    return place


def shard_of(url: str) -> str:
    return sorted(Store(url).action_keys())[0]


def read(url: str, *names: str) -> None:
    Store(url).read_arrays(shard_of(url), names or ("image", "image_offset", "keypoints"))


def edit(url: str, array: str, **changes: Any) -> None:
    """Rewrites what a shard's metadata say of one array."""
    path = f"shards/{shard_of(url)}/zarr.json"
    root = json.loads(Store(url).get_bytes(path))
    root["consolidated_metadata"]["metadata"][array] |= changes
    Store(url).put_bytes(path, json.dumps(root).encode())


def put(url: str, path: str, data: bytes) -> None:
    """Writes past the guards, as whoever owns the server can."""
    place = Path(url, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def forge_commit(url: str, **changes: Any) -> None:
    document = json.loads(Store(url).get_bytes(commit_path(0)))
    put(url, commit_path(0), json.dumps(document | changes).encode())


def forge_manifest(url: str, data: bytes) -> None:
    forge_commit(url, dataset_id=HEX)
    put(url, manifest_path(HEX), data)


def receipts(url: str) -> list[dict[str, Any]]:
    return [manifest.receipt_to_json(r) for r in manifest.open_dataset(url).shards]


def parquet(texts: list[str], **options: Any) -> bytes:
    sink = io.BytesIO()
    settings = {"compression": "zstd", "use_dictionary": False} | options
    pq.write_table(pa.table({"receipt": pa.array(texts, pa.string())}), sink, **settings)
    return sink.getvalue()


def zstd_zeros(size: int, announced: int | None) -> bytes:
    """Makes a frame of zeros by hand, 4 bytes for each 128 kB (RFC 8878: blocks of type RLE)."""
    head = b"\x28\xb5\x2f\xfd"
    head += b"\x00\x38" if announced is None else b"\xc0\x38" + announced.to_bytes(8, "little")
    blocks, step = [], 2**17
    for start in range(0, size, step):
        count = min(step, size - start)
        word = count << 3 | 1 << 1 | int(start + count == size)
        blocks.append(word.to_bytes(3, "little") + b"\x00")
    return head + b"".join(blocks)


def jpeg_of(width: int, height: int) -> bytes:
    """Makes a JPEG of a few hundred bytes whose header announces that size."""
    data = bytearray(images.encode(np.zeros((16, 16, 3), np.uint8), 50))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def stream(url: str) -> None:
    """Reads every sample as training does."""
    corpus = open_corpus([manifest.open_dataset(url)], "train")
    options = Streaming(threads=1)
    batches = SampleStream(corpus=corpus, arrays=("box",), batch=1, seed=0, options=options)
    for _ in batches.batches(0, lambda batch: batch):
        pass


# Bombs: each is laid out here and set off in a process of its own, whose memory is watched.


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


def raw_frame(data: bytes) -> bytes:
    """Makes a zstd frame of one uncompressed block (RFC 8878)."""
    head = b"\x28\xb5\x2f\xfd\xe0" + len(data).to_bytes(8, "little")
    return head + (len(data) << 3 | 1).to_bytes(3, "little") + data


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
    photos.sample_photo(str(folder / "photos"), np.random.default_rng(0))


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


def _peak_mb() -> float:
    """Returns this process' largest resident memory; getrusage would count its parent's at the fork, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def set_off(folder: str) -> None:
    """Runs in a process of its own: prints each refusal and by how many MB all so far let the peak of memory grow."""
    images.decode(images.encode(np.zeros((8, 8, 3), np.uint8), 50))
    # Should a guard be missing, the machine that runs the tests survives it.
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    found, before = {}, _peak_mb()
    for number, (name, (_, open_it, _)) in enumerate(BOMBS.items()):
        refusal = "accepted"
        try:
            open_it(Path(folder, str(number)), f"{folder}/{number}/set")
        except InputError as error:
            refusal = str(error)
        except Exception as error:  # noqa: BLE001 whatever came instead of the refusal is what the test shows
            refusal = f"not refused: {error!r}"
        grown = _peak_mb() - before
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
        f"import test_trust; test_trust.set_off({str(folder)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
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


# What would run code, or lead out of the dataset.


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system"])
def test_a_recipe_runs_nothing(tmp_path: Path, tag: str) -> None:
    victim = tmp_path / "made"
    (tmp_path / "r.yaml").write_text(f"kind: synth\nname: {tag} ['touch {victim}']\n")
    with pytest.raises(InputError, match="is not YAML"):
        recipes.load(str(tmp_path / "r.yaml"), [])
    assert not victim.exists()


@pytest.mark.parametrize("name", ["..", "../../x", "squat_small/../../x"])
def test_a_recipes_name_does_not_climb(name: str) -> None:
    with pytest.raises(InputError, match=r"no shipped recipe|no such file"):
        recipes.load(name, [])


def test_a_deep_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("a: " + "[" * 5000 + "]" * 5000)
    with pytest.raises(InputError, match="is not YAML"):
        recipes.load(str(tmp_path / "r.yaml"), [])


@pytest.mark.parametrize(
    "path", ["../x", "shards/../../x", "/tmp/x", "a//b", "a\\..\\x", "a\0b", ""]
)
@pytest.mark.parametrize("kind", ["file", "memory"])
def test_no_name_leads_out_of_a_dataset(tmp_path: Path, path: str, kind: str) -> None:
    (tmp_path / "x").write_text("mine")
    objects = Store(f"memory://{tmp_path}" if kind == "memory" else str(tmp_path / "set")).objects
    for operation in (
        lambda: objects.get(path),
        lambda: objects.put(path, b"theirs"),
        lambda: objects.create(path, b"theirs"),
        lambda: objects.delete(path),
    ):
        with pytest.raises(InputError, match="no name inside a dataset"):
            operation()
    assert (tmp_path / "x").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"action_key": "../../x"}, "is no digest"),
        ({"action_key": ["a"]}, "is no digest"),
        ({"skeleton": "../../../etc/passwd"}, "is no digest"),
        ({"key": {"source": "synth", "lot": "l", "split": "../x", "members": [0]}}, "is no split"),
        ({"rows": 10**12}, "a shard of"),
        ({"rows": -1}, "a shard of"),
    ],
)
def test_a_forged_receipt_is_refused(url: str, changes: dict[str, Any], reason: str) -> None:
    forge_manifest(url, parquet([json.dumps(receipts(url)[0] | changes)]))
    with pytest.raises(InputError, match=reason):
        manifest.open_dataset(url)


def test_a_column_that_lies_outside_the_file_is_refused(url: str) -> None:
    data = bytearray(parquet([json.dumps(receipts(url)[0])]))
    data[4:40] = b"\xff" * 36  # the first page's header
    forge_manifest(url, bytes(data))
    with pytest.raises(InputError, match=r"page header|stored plainly|no size"):
        manifest.open_dataset(url)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 7},
        {"dataset_id": "../../x"},
        {"complete": False, "last_complete": "../../x"},
        {"shards": "many"},
    ],
)
def test_a_forged_commit_is_refused(url: str, changes: dict[str, Any]) -> None:
    forge_commit(url, **changes)
    with pytest.raises(InputError, match="cannot be read"):
        manifest.open_dataset(url)


@pytest.mark.parametrize("data", [b"[]", b'{"number": "../x"}', b'{"number": []}', DEEP, b""])
def test_a_forged_tag_is_refused(url: str, data: bytes) -> None:
    put(url, "tags/best.json", data)
    with pytest.raises(InputError, match="cannot be read"):
        manifest.open_dataset(f"{url}@best")


def test_deep_json_is_refused(url: str) -> None:
    put(url, f"shards/{shard_of(url)}/zarr.json", DEEP)
    with pytest.raises(InputError, match="broken metadata"):
        read(url)
    put(url, commit_path(0), DEEP)
    with pytest.raises(InputError, match="nested too deeply"):
        manifest.open_dataset(url)


_ZSTD = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [-3, 17, 2]},
        {"shape": [2**62, 17, 2]},
        {"shape": [0, 2**62, 2]},
        {"shape": [3, 17, 2**40]},
        {"shape": [3.0, 17, 2]},
        {"shape": [True, 17, 2]},
        {"shape": "3"},
        {"shape": [3, 34]},
        {"shape": []},
        {"data_type": "object"},
        {"data_type": "|O"},
        {"data_type": {"name": "numpy.void", "configuration": {}}},
        {"data_type": "string"},
        {"data_type": "float64"},
        {"codecs": [{"name": "numcodecs.pickle", "configuration": {}}]},
        {"codecs": [_BYTES, {"name": "blosc", "configuration": {}}]},
        {"codecs": [{"name": "sharding_indexed", "configuration": {}}]},
        {"codecs": [_BYTES, _ZSTD, _ZSTD]},
        {"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}, _ZSTD]},
        {"codecs": None},
        {"codecs": 7},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2**40, 17, 2]}}},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1, 1]}}},
        {"chunk_grid": None},
        {"chunk_key_encoding": {"name": "v2"}},
        {"storage_transformers": [{"name": "x"}]},
        {"zarr_format": 2},
        {"node_type": "group"},
    ],
    ids=str,
)
def test_metadata_that_we_would_not_write_are_refused(url: str, changes: dict[str, Any]) -> None:
    edit(url, "keypoints", **changes)
    with pytest.raises(InputError, match=r"absurd|malformed|no array of that name|one chunk"):
        read(url, "keypoints")


def test_metadata_of_another_shape_are_refused(url: str) -> None:
    path = f"shards/{shard_of(url)}/zarr.json"
    root = json.loads(Store(url).get_bytes(path))
    for metadata in ([], {"keypoints": []}, {"keypoints": None}):
        root["consolidated_metadata"] = {"metadata": metadata}
        Store(url).put_bytes(path, json.dumps(root).encode())
        with pytest.raises(InputError, match="malformed"):
            read(url, "keypoints")
    root["consolidated_metadata"] = []
    Store(url).put_bytes(path, json.dumps(root).encode())
    with pytest.raises(InputError, match="malformed"):
        read(url, "keypoints")


@pytest.mark.parametrize("offsets", [[0, 9, 4, -1], [1, 2, 3, -1], [0, 2, 3, 10**9]])
def test_offsets_outside_the_pictures_are_refused(url: str, offsets: list[int]) -> None:
    shard = shard_of(url)
    size = len(Store(url).get_bytes(f"shards/{shard}/image/c/0"))
    values = np.array([size if n == -1 else n for n in offsets], "<u4")
    put(url, f"shards/{shard}/image_offset/c/0", raw_frame(values.tobytes()))
    with pytest.raises(InputError, match="outside its pictures"):
        read(url)


def test_arrays_of_different_lengths_are_refused(url: str) -> None:
    grid = {"name": "regular", "configuration": {"chunk_shape": [2]}}
    edit(url, "sample_id", shape=[2], chunk_grid=grid)
    put(url, f"shards/{shard_of(url)}/sample_id/c/0", raw_frame(bytes(16)))
    with pytest.raises(InputError, match=r"arrays of \[2, 3\] samples"):
        read(url, "sample_id", "keypoints")


def test_a_shard_of_other_length_than_the_manifest_says_is_refused(url: str) -> None:
    document = receipts(url)[0] | {"rows": 5}
    identity = manifest.identity_of([manifest.receipt_from_json(document)])
    forge_commit(url, dataset_id=identity)
    put(url, manifest_path(identity), parquet([json.dumps(document)]))
    with pytest.raises(InputError, match="the manifest says 5"):
        stream(url)


def test_images_of_another_size_are_refused(url: str) -> None:
    path = f"shards/{shard_of(url)}/image/c/0"
    put(url, path, Store(url).get_bytes(path)[:-1])
    with pytest.raises(InputError, match="bytes, not"):
        read(url)


def test_links_inside_a_dataset_are_not_followed(tmp_path: Path, url: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("mine")
    Path(url, "folder").symlink_to(outside)
    Path(url, "file").symlink_to(outside / "secret")
    objects = Store(url).objects
    for operation in (
        lambda: objects.get("folder/secret"),
        lambda: objects.get("file"),
        lambda: objects.put("folder/new", b"theirs"),
        lambda: objects.put("file", b"theirs"),
        lambda: objects.create("folder/new", b"theirs"),
        lambda: objects.delete("folder/secret"),
        lambda: objects.listing("folder"),
        lambda: objects.listing(""),
    ):
        with pytest.raises(InputError, match="symbolic link"):
            operation()
    assert [p.name for p in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "mine"


def test_a_dataset_may_itself_be_a_link(tmp_path: Path, url: str) -> None:
    (tmp_path / "link").symlink_to(url)
    assert manifest.open_dataset(str(tmp_path / "link")).rows == 3


def test_members_of_an_archive_stay_inside(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../evil.jpg", b"x")
    with pytest.raises(SampleRejected, match="stay inside"):
        images.Folder(f"zip://::{tmp_path}/a.zip").read("../evil.jpg")
    assert not (tmp_path.parent / "evil.jpg").exists()


ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><OpenSimDocument><Model>&a;</Model></OpenSimDocument>'
)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (ENTITIES.encode(), "entities"),
        (ENTITIES.encode("utf-16"), "entities"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><OpenSimDocument/>', "entities"),
        (b"<OpenSimDocument><Model>" + b"<a>" * 100_000, "deep"),
        (b"<html/>", "is no OpenSim model"),
    ],
)
def test_a_forged_model_is_refused(tmp_path: Path, document: bytes, reason: str) -> None:
    (tmp_path / "m.osim").write_bytes(document)
    with pytest.raises(InputError, match=reason):
        osim.read_model(str(tmp_path / "m.osim"))


def test_a_huge_picture_is_refused_by_its_header() -> None:
    with pytest.raises(SampleRejected, match="too_large"):
        images.decode(jpeg_of(MAX_SIDE, MAX_SIDE))


def test_every_array_that_is_written_is_accepted(url: str) -> None:
    names = sorted(untrusted.BY_NAME)
    assert set(Store(url).read_arrays(shard_of(url), names)) == set(names)
