"""Where the face is: detection, crop, mask."""
