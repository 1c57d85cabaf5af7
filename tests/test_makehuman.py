"""Asset packs: parsing of odd and hostile files, folders and zips, what is left out and what is refused."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import tiny_pack
from tiny_pack import CAPE, SQUARE, contents, png, put, zipped

from schemas import files
from schemas.errors import InputError
from workers import makehuman_files
from workers.makehuman import BadAsset, parse_mhclo, parse_mhmat, parse_obj
from workers.makehuman_pack import Asset, Pack, open_pack


def test_a_garment_says_how_it_hangs() -> None:
    proxy = parse_mhclo(CAPE.encode())
    assert (proxy.name, proxy.obj_file, proxy.material) == ("cape", "cape.obj", "cape.mhmat")
    assert proxy.tags == {"female"}
    assert proxy.z_depth == 50
    np.testing.assert_array_equal(proxy.corners[0], [1355, 1356, 1357])
    np.testing.assert_array_equal(proxy.offsets[0], [0.0, 0.1, 0.2])
    assert proxy.scales == ((5399, 11998, 1.4), None, None)
    assert proxy.hidden.tolist() == [1355, 1356, 1357, 1361, 1370, 1371, 1372]


def test_short_rows_name_a_vertex_or_leave_out_the_offset() -> None:
    proxy = parse_mhclo(CAPE.encode())
    np.testing.assert_array_equal(proxy.corners[2], [1361] * 3)
    np.testing.assert_array_equal(proxy.weights[2], [1, 0, 0])
    np.testing.assert_array_equal(proxy.offsets[2:], np.zeros((2, 3)))


def test_keywords_may_stand_between_verts_and_the_first_row() -> None:
    moved = CAPE.replace("verts 0\nmaterial cape.mhmat\n", "material cape.mhmat\nverts 0\n")
    assert moved != CAPE
    assert (
        parse_mhclo(moved.encode()).corners.tolist() == parse_mhclo(CAPE.encode()).corners.tolist()
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1361\n", "19158\n", "outside 0 … 19157"),
        ("1361\n", "-1\n", "outside 0 … 19157"),
        ("1361\n", "1.5\n", "outside 0 … 19157"),
        ("1361\n", "1 2\n", "line 12: a vertex row has 1, 6 or 9 numbers, not 2"),
        ("0.1 0.2\n", "nan 0.2\n", "line 10: a number that is not finite"),
        ("0.1 0.2\n", "x 0.2\n", "line 10: could not convert"),
        ("0.1 0.2\n", "1e9 0.2\n", "beyond any body"),
        ("hm08", "alpha7", "base mesh alpha7, not hm08"),
        ("5399 11998 1.4", "5399 11998 0", "a scale that no base mesh has"),
        ("5399 11998 1.4", "5399 99999 1.4", "a scale that no base mesh has"),
        ("5399 11998 1.4", "5399", "a scale is two vertices and a distance"),
        ("1370 - 1372", "1372 - 1370", "no range of base vertices"),
        ("1370 - 1372", "0 - 99999999999", "vertex ranges are written like"),
        ("1370 - 1372", "1370 - 19158", "no range of base vertices"),
    ],
)
def test_a_garment_that_makes_no_sense_is_named_by_its_line(old: str, new: str, said: str) -> None:
    assert old in CAPE
    with pytest.raises(BadAsset, match=said):
        parse_mhclo(CAPE.replace(old, new, 1).encode())


def test_empty_and_endless_garments_are_refused() -> None:
    with pytest.raises(BadAsset, match="no vertex rows"):
        parse_mhclo(b"name x\nverts 0\n\ndelete_verts\n1 - 2\n")
    with pytest.raises(BadAsset, match="more rows than an asset can have"):
        parse_mhclo(b"verts 0\n" + b"1\n" * 100_001)
    with pytest.raises(BadAsset, match="lines"):
        parse_mhclo(b"\n" * 1_000_001)


def test_a_mesh_becomes_triangles_with_their_texture() -> None:
    mesh = parse_obj(SQUARE.encode())
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.corner_uv[1].tolist() == [[0, 0], [1, 1], [0, 1]]
    backwards = SQUARE.replace("1/1 2/2 3/3 4/4", "-4/-4/1 -3/-3/1 -2/-2/1 -1/-1/1")
    np.testing.assert_array_equal(parse_obj(backwards.encode()).faces, mesh.faces)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("4/4", "5/4", "names a vertex that is not there"),
        ("4/4", "4/9", "names a vertex that is not there"),
        ("4/4", "4", "without texture coordinates"),
        ("4/4", "0/1", "names a vertex that is not there"),
        ("4/4", "x/y", "line 9: invalid literal"),
        ("4/4", "999999999999999999/1", "an index beyond any mesh"),
        ("f 1/1 2/2 3/3 4/4", "f 1/1 2/2", "a face of 2 corners"),
        ("f 1/1 2/2 3/3 4/4", "", "no faces"),
        ("v 0 1 0", "v 0 inf 0", "line 4: a number that is not finite"),
        ("v 0 1 0", "v 0 1", "no faces with"),
    ],
)
def test_a_mesh_that_makes_no_sense_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(BadAsset, match=said):
        parse_obj(SQUARE.replace(old, new, 1).encode())


def test_a_material_is_read_and_bounded() -> None:
    material = parse_mhmat(
        b"tag Young\ndiffuseColor 2 0.5 -1\nshininess 0.4\ndiffuseTexture a b.png\n"
    )
    assert material.colour == (1.0, 0.5, 0.0)
    assert (material.texture, material.tags) == ("a b.png", {"young"})
    assert parse_mhmat(b"").texture == ""
    with pytest.raises(BadAsset, match="three numbers"):
        parse_mhmat(b"diffuseColor 1\n")


def test_a_pack_lists_what_it_holds_and_for_whom(tmp_path: Path) -> None:
    pack = open_pack(put(tmp_path, contents()))
    found = {(a.kind, a.sex, a.name) for a in pack.assets}
    expected = {
        ("suit", "female", "cape"),
        ("shoes", "female", "shoes01"),
        ("hair", "female", "bob"),
    }
    assert found == expected | {("skin", "male", "a_male"), ("skin", "female", "a_female")}
    assert [a.name for a in pack.of("skin", male=True)] == ["a_male"]


def test_a_zip_is_the_folder(tmp_path: Path) -> None:
    folder = open_pack(put(tmp_path / "folder", contents()))
    one = open_pack(zipped(tmp_path / "pack.zip", contents()))
    nested = open_pack(zipped(tmp_path / "nested.zip", contents(), "assets/base/"))
    chained = open_pack(f"zip://assets/base::{tmp_path}/nested.zip")
    for pack in (one, nested, chained):
        assert pack.identity == folder.identity
        assert pack.assets == folder.assets
        for asset, other in zip(pack.assets, folder.assets, strict=True):
            np.testing.assert_array_equal(pack.picture(asset, 8), folder.picture(other, 8))
            assert [pack.files.read(p) for p in asset.files()] == [
                folder.files.read(p) for p in other.files()
            ]


def test_every_byte_that_is_used_counts_and_no_other(tmp_path: Path) -> None:
    url = put(tmp_path, contents())
    before = open_pack(url).identity
    for path in contents():
        (tmp_path / path).write_bytes(contents()[path] + b"\n")
        assert open_pack(url).identity != before, path
        (tmp_path / path).write_bytes(contents()[path])
    put(
        tmp_path,
        {"clothes/cape/cape.thumb": b"x", "clothes/LICENSE.txt": b"y", "skins/o.png": png()},
    )
    assert open_pack(url).identity == before


def test_a_pack_is_read_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = put(tmp_path, contents())
    open_pack(url)
    read: list[str] = []
    real = files.read_bytes
    monkeypatch.setattr(files, "read_bytes", lambda *a: read.append(a[0]) or real(*a))
    open_pack(url)
    assert read == []
    (tmp_path / "skins/textures/male.png").write_bytes(png((1, 2, 3)))
    open_pack(url)
    assert {name.rsplit("/", 1)[1] for name in read} == {"male.png"}


@pytest.mark.parametrize(
    ("path", "data", "said"),
    [
        ("clothes/cape/cape.png", None, r"names clothes/cape/cape.png, which is not in the pack"),
        ("clothes/cape/cape.obj", None, r"names clothes/cape/cape.obj, which is not in the pack"),
        ("clothes/cape/cape.mhclo", b"verts 0\nx\n", "no vertex rows"),
        ("clothes/cape/cape.obj", SQUARE.replace("v 0 1 0\n", "").encode(), "not there"),
        ("clothes/cape/cape.obj", SQUARE.encode() + b"v 1 1 1\n", "4 rows for 5 vertices"),
        ("clothes/cape/cape.png", b"GIF89a", "neither PNG nor JPEG"),
        ("clothes/cape/cape.png", png()[:16] + b"\x7f\xff\xff\xff" * 2 + png()[24:], "pixels"),
        ("clothes/cape/cape.mhmat", b"diffuseTexture ../../../x.png\n", "outside the pack"),
        ("clothes/cape/cape.mhmat", b"diffuseTexture /etc/passwd\n", "outside the pack"),
        ("clothes/cape/cape.mhmat", b"name x\n", "does not say which"),
    ],
)
def test_an_asset_that_cannot_be_used_is_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, data: bytes | None, said: str
) -> None:
    found = contents() | ({path: data} if data is not None else {})
    if data is None:
        del found[path]
    url = put(tmp_path, found)
    with caplog.at_level(logging.WARNING):
        packs = [open_pack(url) for _ in range(3)]
    assert "cape" not in {asset.name for asset in packs[0].assets}
    assert len(packs[0].assets) == 4
    (message,) = [r.getMessage() for r in caplog.records]
    assert "left out 1 assets" in message
    assert said in message


def test_a_pack_without_anything_usable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clothes").mkdir()
    with pytest.raises(InputError, match="holds no usable MakeHuman asset"):
        open_pack(str(tmp_path))
    with pytest.raises(InputError, match="no such folder"):
        open_pack(str(tmp_path / "none"))
    with pytest.raises(InputError, match="no such file"):
        open_pack(str(tmp_path / "none.zip"))
    (tmp_path / "bad.zip").write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="cannot be read as a zip"):
        open_pack(str(tmp_path / "bad.zip"))


@pytest.mark.parametrize("name", ["../clothes/x/x.mhclo", "/clothes/x.obj", "clothes/../../x.obj"])
def test_a_zip_whose_names_climb_is_refused(tmp_path: Path, name: str) -> None:
    url = zipped(tmp_path / "p.zip", contents() | {name: b"x"})
    with pytest.raises(InputError, match="no name inside"):
        open_pack(url)
    assert not (tmp_path.parent / "x.obj").exists()


def test_a_link_out_of_the_pack_is_refused(tmp_path: Path) -> None:
    url = put(tmp_path / "pack", contents())
    (tmp_path / "secret.png").write_bytes(png())
    os.symlink(tmp_path / "secret.png", tmp_path / "pack" / "skins" / "textures" / "s.png")
    with pytest.raises(InputError, match="leads out of"):
        open_pack(url)


def test_files_beyond_their_size_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "bomb.zip", contents() | {"clothes/b/b.obj": b"\0" * (65 * 2**20)})
    assert os.path.getsize(bomb) < 2**20
    with pytest.raises(InputError, match=r"b\.obj: is larger than 64 MiB"):
        open_pack(bomb)
    sparse = tmp_path / "folder"
    put(sparse, contents())
    with open(sparse / "skins/big.mhmat", "wb") as file:
        file.truncate(2**20)
    with pytest.raises(InputError, match=r"big\.mhmat: is larger than 0\.25 MiB"):
        open_pack(str(sparse))


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(makehuman_files, "MAX_FILES", 5)
    with pytest.raises(InputError, match="more than 5"):
        open_pack(put(tmp_path, contents()))


def test_a_file_that_changes_after_it_was_identified_is_refused(tmp_path: Path) -> None:
    pack = open_pack(put(tmp_path, contents()))
    path = "skins/textures/male.png"
    (tmp_path / path).write_bytes(png((9, 9, 9)))
    with pytest.raises(InputError, match="changed since the build was planned"):
        pack.files.read_same(path)


def test_a_texture_keeps_its_orientation_and_bleeds_no_colour(tmp_path: Path) -> None:
    """Row 0 is on top; what is transparent lends nothing to what is not."""
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[:16] = (255, 0, 0, 255)
    picture[16:, :16] = (0, 255, 0, 255)
    picture[16:, 16:] = (0, 0, 255, 0)
    found = contents() | {"clothes/cape/cape.png": tiny_pack.encoded(picture)}
    pack = open_pack(put(tmp_path, found))
    small = pack.picture(_suit(pack), 8)
    assert small[0, 0].tolist() == [255, 0, 0, 255]
    assert small[7, 0].tolist() == [0, 255, 0, 255]
    assert small[7, 7, 3] == 0
    assert small[..., 2].max() == 0


def _suit(pack: Pack) -> Asset:
    return next(asset for asset in pack.assets if asset.kind == "suit")


def test_the_given_pack_is_whole(shared_data: Path) -> None:
    pack = open_pack(str(shared_data / "makehuman_cc0"))
    kinds = [asset.kind for asset in pack.assets]
    assert {k: kinds.count(k) for k in set(kinds)} == {
        "suit": 10,
        "shoes": 6,
        "hair": 4,
        "skin": 11,
    }
    assert not [a for a in pack.assets if a.kind == "suit" and not a.sex]
