"""Measures of the field, each with its definition, and reports of them."""
