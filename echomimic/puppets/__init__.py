"""Talking cartoon portraits with known truth: dataset, demo material and measuring stick."""
