"""Types that travel along the wires between our nodes."""

from comfy_api.latest import io

ReferenceUNet = io.Custom("ECHOMIMIC_REFERENCE_UNET")  # ModelPatcher around the reference UNet
LandmarkEncoder = io.Custom("ECHOMIMIC_LANDMARK_ENCODER")  # ModelPatcher around the encoder
AudioEncoder = io.Custom("ECHOMIMIC_AUDIO_ENCODER")  # ModelPatcher around the Whisper encoder
AudioTrack = io.Custom("ECHOMIMIC_AUDIO_TRACK")  # echomimic.audio.tokens.AudioTrack
Portrait = io.Custom("ECHOMIMIC_PORTRAIT")  # echomimic.landmarks.portrait.Portrait
Crop = io.Custom("ECHOMIMIC_CROP")  # nodes.face_crop.FaceCrop
Landmarks = io.Custom("ECHOMIMIC_LANDMARKS")  # echomimic.landmarks.track.LandmarkTrack

BoundingBox = io.Custom("BOUNDING_BOX")  # ComfyUI's own: dict or nested list of dicts
FaceLandmarks = io.Custom("FACE_LANDMARKS")  # ComfyUI's own, since 0.23
