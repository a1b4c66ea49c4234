"""Landmark tracks made, moved, chosen and smoothed."""
