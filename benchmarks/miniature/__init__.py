"""The paper in miniature: its claims, measured on puppets with small models."""

from . import without_av

without_av.prepare()  # here, as every process begins with it
