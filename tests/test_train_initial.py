"""New networks begin so that conditions can be learned, and change nothing before they are."""

import torch
from test_train_stages import MODEL

from echomimic.config import LandmarkEncoderConfig, UNetConfig
from echomimic.models.landmark_encoder import LandmarkEncoder
from echomimic.models.unet import UNet
from echomimic.train.initial import initialise_landmark_encoder, initialise_motion


def drawing():
    image = torch.zeros(1, 3, 128, 128)
    image[:, :, 60, 30:90] = image[:, 0, 30:90, 64] = 1.0
    return image


def moved(encoder):
    """How much a drawing changes what comes before the output, beside what is there without it."""
    seen = []
    encoder.conv_out.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        encoder(drawing())
        encoder(torch.zeros(1, 3, 128, 128))
    return float((seen[0] - seen[1]).std()), float(seen[1].std())


def test_a_drawing_reaches_the_end_of_a_new_landmark_encoder():
    torch.manual_seed(0)
    encoder = LandmarkEncoder(LandmarkEncoderConfig(3, (8, 16, 32, 64), 64))
    of_the_drawing, of_nothing = moved(encoder)
    assert of_the_drawing < 0.01 * of_nothing  # what torch's own weights do
    initialise_landmark_encoder(encoder)
    of_the_drawing, of_nothing = moved(encoder)
    assert of_nothing == 0
    assert of_the_drawing > 0.1 * float(drawing().std())


def test_a_new_landmark_encoder_adds_nothing_to_the_unet():
    encoder = LandmarkEncoder(LandmarkEncoderConfig(3, (4, 4, 8, 8), 32))
    initialise_landmark_encoder(encoder)
    assert not encoder(drawing()).any()


def test_new_motion_modules_change_nothing():
    torch.manual_seed(0)
    unet = UNet(UNetConfig.from_dict(UNetConfig().to_dict() | MODEL["unet"])).eval()
    latents = torch.randn(4, 4, 16, 16)
    with torch.no_grad():
        as_torch_makes_them = unet(latents, 10.0, num_frames=4)
        alone = torch.cat([unet(frame[None], 10.0, num_frames=1) for frame in latents])
        initialise_motion(unet)
        together = unet(latents, 10.0, num_frames=4)
        alone_now = torch.cat([unet(frame[None], 10.0, num_frames=1) for frame in latents])
    assert not torch.allclose(as_torch_makes_them, alone, atol=1e-3)
    torch.testing.assert_close(together, alone_now, atol=1e-5, rtol=1e-5)
