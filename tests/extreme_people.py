"""The bodies that clothes fit worst."""

from schemas.recipes import People

EXTREMES = [
    People(bmi=(17, 17), stature=(1.95, 1.95), female=0.0),
    People(bmi=(40, 40), stature=(1.5, 1.5), female=1.0),
]
