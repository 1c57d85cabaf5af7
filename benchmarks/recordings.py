"""Measures recordings given to many bodies: slip, height and angles of feet that should stand, and what it costs.

    OMP_NUM_THREADS=1 python -m benchmarks.recordings MOT [MOT …] [--model default] [--bodies 16]

Slip is how far a heel or ball moves along the floor during one contact; height how far it is off its place on the floor
meanwhile; below how far any goes under it. Angles are those of hips, knees, ankles, pelvis and back; the
subtalar ones, which the floor decides, stand apart. `slid` is the slip without any of this. Times are CPU times.
The last line is one JSON object.
"""

import argparse
import json
import time

import numpy as np
from numpy.typing import NDArray

from schemas import files
from schemas.recipes import People
from schemas.shards import generator
from workers import contacts, motions, osim, retarget
from workers.body import make_body
from workers.contacts import Contacts
from workers.motions import Motion
from workers.planting import Planter

Array = NDArray[np.float64]


def slips(points: Array, found: Contacts) -> float:
    """Returns the furthest way (mm) of any point of (t, s, p, 3) within one of its contacts."""
    worst = 0.0
    for p, standing in enumerate((found.heel, found.ball)):
        for s in range(2):
            for begin, end in contacts.runs(standing[:, s]):
                way = points[begin:end, s, p] - points[begin, s, p]
                worst = max(worst, float(np.linalg.norm(way[:, [0, 2]], axis=1).max()))
    return 1e3 * worst


def measure(recorded: Motion, found: Contacts, planter: Planter) -> dict[str, float]:
    """Returns the figures of one recording on one body."""
    begin = time.process_time()
    shown = retarget.retarget(recorded, found, planter)
    seconds = time.process_time() - begin
    stance = planter.standing() if shown.stance is None else shown.stance
    before, after, flat = (
        contacts.soles(planter, planter.kinematics.pose(q))
        for q in (recorded.q, shown.q, stance[None])
    )
    height = (after - flat)[..., 1]
    standing = np.stack([found.heel, found.ball], axis=2)
    names = planter.spec.coordinate_names
    turning = planter.columns[3:]
    subtalar = np.array([names[i].startswith("subtalar") for i in turning])
    off = np.abs(np.degrees(shown.q[:, turning] - recorded.q[:, turning]))
    return {
        "slid_mm": slips(before, found),
        "slip_mm": slips(after, found),
        "height_mm": 1e3 * float(np.abs(height[standing]).max(initial=0.0)),
        "below_mm": -1e3 * float(height.min()),
        "angles_median": float(np.median(off[:, ~subtalar])),
        "angles_p95": float(np.percentile(off[:, ~subtalar], 95)),
        "angles_worst": float(off[:, ~subtalar].max()),
        "subtalar_median": float(np.median(off[:, subtalar])),
        "ms": 1e3 * seconds,
    }


def main() -> None:
    """Prints a line of figures per recording, the worst of all bodies (medians and times: the mean)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("mots", nargs="+", metavar="MOT")
    parser.add_argument("--model", default="default")
    parser.add_argument("--bodies", type=int, default=16)
    options = parser.parse_args()
    data = osim.read_model(options.model)
    own = Planter(osim.OsimModel(data))
    bodies = [make_body(People(), data, generator(1, "body", i)) for i in range(options.bodies)]
    results = {}
    for mot in options.mots:
        recorded = motions.read_mot(files.read_bytes(mot), mot, own.spec)
        found = contacts.find(recorded, own)
        rows = [measure(recorded, found, Planter(osim.OsimModel(data, b.scale))) for b in bodies]
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        results[mot] = {
            n: float(c.mean() if n == "ms" or n.endswith("median") else c.max())
            for n, c in columns.items()
        }
        print(mot, "  ".join(f"{n} {v:.1f}" for n, v in results[mot].items()))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
