"""Marker files in and out, and the command that turns them into joint angles."""

from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.errors import InputError
from trainers.__main__ import main
from trainers.skeletal import SkeletalLayer
from workers import motions, osim, trc

NAMES = ("a", "b", "c")


def written(unit: str = "mm") -> bytes:
    markers = np.arange(18, dtype=float).reshape(2, 3, 3) / 10
    markers[1, 1] = np.nan
    text = trc.write_trc(NAMES, np.array([0.0, 0.5]), markers, 2.0)
    return text.replace(b"\tmm\t", f"\t{unit}\t".encode())


class TestReading:
    def test_what_was_written_returns(self) -> None:
        found = trc.read_trc(written(), "t")
        assert (found.names, found.rate) == (NAMES, 2.0)
        np.testing.assert_allclose(found.times, [0.0, 0.5])
        np.testing.assert_allclose(found.markers[0], np.arange(9).reshape(3, 3) / 10)
        assert np.isnan(found.markers[1, 1]).all()
        np.testing.assert_allclose(found.markers[1, 2], [1.5, 1.6, 1.7])

    @pytest.mark.parametrize(("unit", "factor"), [("m", 1000.0), ("cm", 10.0)])
    def test_units_are_followed(self, unit: str, factor: float) -> None:
        plain, other = trc.read_trc(written(), "t"), trc.read_trc(written(unit), "t")
        np.testing.assert_allclose(other.markers[0], factor * plain.markers[0])

    def test_a_gap_at_the_end_of_a_line_may_be_cut_off(self) -> None:
        cut = b"\n".join(line.rstrip(b"\t") for line in written().splitlines())
        assert np.isnan(trc.read_trc(cut, "t").markers[1, 1]).all()

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\xff\xfe",
            b"no trc\n" * 9,
            written("feet"),
            written().replace(b"0.50000000", b"soon"),
            written().replace(b"\ta\t", b"\tb\t"),
            b"\n".join(written().splitlines()[:6]),
            written() + b"3\t1\t" + b"1\t" * 12 + b"\n",
        ],
    )
    def test_what_is_none_is_refused(self, data: bytes) -> None:
        with pytest.raises(InputError, match=r"t: (is no \.trc|holds no frames)"):
            trc.read_trc(data, "t")

    def test_markers_follow_the_model(self) -> None:
        found = trc.read_trc(written(), "t")
        ordered = trc.in_order(found, ("c", "other", "a"))
        np.testing.assert_allclose(ordered[:, 0], found.markers[:, 2])
        assert np.isnan(ordered[:, 1]).all()
        with pytest.raises(InputError, match="no markers of the model"):
            trc.in_order(found, ("x", "y"))


class TestSolve:
    @pytest.fixture
    def lab(self, tmp_path: Path) -> Path:
        """A person 8 % larger than the default model bends the knees; 2 mm of noise."""
        spec = osim.read_skeleton(osim.read_model("default"))
        q = np.repeat(spec.default_pose()[None], 30, 0)
        for side in "rl":
            q[:, spec.coordinate_names.index(f"knee_angle_{side}")] = np.linspace(0.1, 1.2, 30)
        scale = torch.full((30, spec.sizes.b, 3), 1.08, dtype=torch.float64)
        layer, rng = SkeletalLayer(spec).double(), np.random.default_rng(1)
        for name, pose in (("trial", q), ("static", np.repeat(q[:1], 30, 0))):
            markers = layer(torch.tensor(pose), scale).markers.numpy()
            markers = markers + rng.normal(0.0, 0.002, markers.shape)
            text = trc.write_trc(spec.marker_names, np.arange(30) / 100, markers, 100.0)
            (tmp_path / f"{name}.trc").write_bytes(text)
        return tmp_path

    def test_angles_and_sizes_are_found(
        self, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["solve", "default", f"{lab}/trial.trc", "--static", f"{lab}/static.trc"]
        assert main([*words, "--to", f"{lab}/out.mot", "--scaled", f"{lab}/me.osim"]) == 0
        assert "marker_rms_mm" in capsys.readouterr().out
        model = (lab / "me.osim").read_bytes()
        spec = osim.read_skeleton(model)
        motion = motions.read_mot((lab / "out.mot").read_bytes(), "out", spec)
        knee = motion.q[:, spec.coordinate_names.index("knee_angle_r")]
        np.testing.assert_allclose(knee, np.linspace(0.1, 1.2, 30), atol=np.radians(3))
        found = trc.read_trc((lab / "trial.trc").read_bytes(), "trial")
        posed = osim.OsimModel(model).pose(motion.q[20]).markers
        assert np.abs(posed - found.markers[20]).mean() < 0.004

    def test_refusals_are_one_paragraph(
        self, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = (lab / "trial.trc").read_bytes().replace(b"\tmm\t", b"\tm\t")
        (lab / "metres.trc").write_bytes(text)
        (lab / "none.trc").write_bytes(b"")
        for trial, reason in (("metres", "millimetres"), ("none", "no .trc"), ("absent", "absent")):
            assert main(["solve", "default", f"{lab}/{trial}.trc", "--to", f"{lab}/o.mot"]) == 2
            assert reason in capsys.readouterr().err
            assert not (lab / "o.mot").exists()
