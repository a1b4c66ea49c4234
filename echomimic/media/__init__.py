"""Pictures, sound and video files, in and out."""
