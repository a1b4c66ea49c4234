"""Model files: layout, reading, checking, converting."""
