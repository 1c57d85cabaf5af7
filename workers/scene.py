"""The phone that films, the light it films in, and what it does to the picture: one name for what draws a scene.

Cameras are in `workers.cameras`, light in `workers.skylight` and `workers.hdri`, places in `workers.backgrounds`, the
picture's way from light to pixels in `workers.development`, all of it together in `workers.stage`.
"""

from workers.backgrounds import sample_ground, sample_room
from workers.cameras import Hand, View, sample_hand, sample_view
from workers.development import Development, develop, sample_development
from workers.skylight import sample_light
from workers.stage import Stage, set_stage

__all__ = [
    "Development",
    "Hand",
    "Stage",
    "View",
    "develop",
    "sample_development",
    "sample_ground",
    "sample_hand",
    "sample_light",
    "sample_room",
    "sample_view",
    "set_stage",
]
