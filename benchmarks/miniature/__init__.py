"""The paper in miniature: its claims, measured on puppets with small models."""
