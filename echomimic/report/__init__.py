"""How well a face follows a voice, and how it moves: measured on landmarks, without weights."""
