"""OpenSim's own forward kinematics, one pose after the other."""

import tempfile
import time
from pathlib import Path

import numpy as np
import opensim
from numpy.typing import NDArray

from schemas.skeleton import SkeletonSpec

opensim.Logger.setLevelString("Off")
opensim.Logger.removeFileSink()


class OpenSimLoop:
    """Poses a model at rows of q (n, c), couplers kept."""

    def __init__(self, osim: bytes, spec: SkeletonSpec, q: NDArray[np.float64]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.osim"
            path.write_bytes(osim)
            self.model = opensim.Model(str(path))
        self.state = self.model.initSystem()
        self.rows = [[float(v) for v in row] for row in spec.couple(q)]
        self.coordinates = [self.model.getCoordinateSet().get(n) for n in spec.coordinate_names]
        self.bodies = [self.model.getBodySet().get(name) for name in spec.body_names]
        self.markers = [self.model.getMarkerSet().get(name) for name in spec.marker_names]
        self.vectors = []  # OpenSim's own order of q is not that of the coordinates
        for row in self.rows:
            self.put(row)
            self.vectors.append(opensim.Vector(self.state.getQ()))

    def put(self, row: list[float]) -> None:
        """Sets every coordinate by itself."""
        for coordinate, value in zip(self.coordinates, row, strict=True):
            coordinate.setValue(self.state, value, False)

    def read(self) -> None:
        """Fetches every body's transform and every marker's location."""
        for body in self.bodies:
            body.getTransformInGround(self.state)
        for marker in self.markers:
            marker.getLocationInGround(self.state)

    def realize(self) -> None:
        """The kindest loop: all coordinates by one call, `realizePosition`, nothing read."""
        for vector in self.vectors:
            self.state.setQ(vector)
            self.model.realizePosition(self.state)

    def whole(self) -> None:
        """The ordinary loop through the Python API."""
        for row in self.rows:
            self.put(row)
            self.model.realizePosition(self.state)
            self.read()

    def api_ms(self) -> float:
        """Returns what of a pose in `whole` is no kinematics, ms: setting, and reading what is computed."""
        self.whole()
        start = time.perf_counter()
        for row in self.rows:
            self.put(row)
        put = time.perf_counter() - start
        self.whole()
        start = time.perf_counter()
        for _ in self.rows:
            self.read()
        return 1e3 * (put + time.perf_counter() - start) / len(self.rows)
