"""Who is filmed: a subject's body, what it wears in one lot, the model scaled to it, and the chair it sits on."""

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.recipes import People, SynthRecipe
from schemas.shards import generator
from workers import body, osim, outfits, seat, surfaces, takes, wardrobe
from workers.synth_plan import Sources


@dataclass(frozen=True, kw_only=True)
class Person:
    """One dressed subject with the model scaled to it, and where the motion stands on the floor."""

    body: body.Body
    outfit: outfits.Outfit
    model: osim.OsimModel
    seat: surfaces.Surface | None = None

    def surface(self, pose: osim.Pose) -> NDArray[np.float32]:
        """Returns all points (p, 3) of the dressed person in the ground frame."""
        skin = self.body.skin(pose.T_ground_from_body)
        return self.outfit.points(skin, pose.T_ground_from_body)


@functools.lru_cache(maxsize=16)
def body_of(people: People, model: bytes, seed: int, subject: int) -> body.Body:
    """Draws a subject's body, the same in every lot."""
    return body.make_body(people, model, generator(seed, "subject", subject))


def person_of(recipe: SynthRecipe, sources: Sources, lot: str, subject: int) -> Person:
    """Draws a subject's body, its clothes in one lot, and the model scaled to it."""
    human = body_of(recipe.people, sources.osim, recipe.seed, subject)
    model = osim.OsimModel(sources.osim, human.scale)
    rng = generator(recipe.seed, "outfit", lot, subject)
    outfit = wardrobe.dress(human, model, recipe.wardrobe, sources.assets, rng)
    return Person(body=human, outfit=outfit, model=model)


def with_seat(
    person: Person,
    take: takes.Take,
    standing: dict[int, dict[str, Any]],
    rng: np.random.Generator,
) -> Person:
    """Returns the person with the chair that the motion sits on, where it sits.

    Args:
        person: who.
        take: the motion.
        standing: frames of it that stand on the floor, as `Take.standing` returns them.
        rng: draws the chair.
    """
    if take.motion is None or not standing or not seat.sits(take.motion):
        return person
    i = next(i for i, frame in enumerate(take.frames) if frame in standing)
    moved = standing[take.frames[i]]["q"] - take.q[i]
    pose, names = person.model.pose(take.motion.q[0] + moved), person.model.spec.body_names
    hips = pose.joint_centres[[names.index("femur_r"), names.index("femur_l")]].mean(axis=0)
    return replace(person, seat=seat.seat_under(person.surface(pose), hips, rng))
