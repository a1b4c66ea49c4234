"""A voice becomes audio tokens for every video frame."""
