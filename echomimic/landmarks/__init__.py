"""Where the face is and what it does: detection, crop, landmark tracks, their drawing."""
