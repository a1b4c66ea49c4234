"""ComfyUI nodes: each a schema and a few lines around the library in `echomimic/`."""

from comfy_api.latest import ComfyExtension, io

from .audio import EchoMimicAudioEncode
from .compare import EchoMimicCompare
from .conditioning import EchoMimicConditioning
from .context_windows import EchoMimicContextWindows, EchoMimicNoise
from .decode import EchoMimicDecodeVideo
from .face_crop import EchoMimicFaceCrop
from .files import register_folder
from .generate import EchoMimicBlinkGaze, EchoMimicLandmarkRetime
from .landmark_extract import EchoMimicLandmarkExtract
from .landmark_files import (
    EchoMimicLandmarkLoad,
    EchoMimicLandmarkPreview,
    EchoMimicLandmarkSave,
)
from .loaders import EchoMimicAudioEncoderLoader, EchoMimicModelLoader
from .long_render import EchoMimicLongRender
from .motion import EchoMimicLandmarkSmooth, EchoMimicMotionSync
from .parts import EchoMimicPartSelection, EchoMimicPlaceFace
from .paste import EchoMimicPasteBack
from .plan import EchoMimicPlan
from .portrait import EchoMimicPortrait
from .puppets import EchoMimicExampleInputs, EchoMimicPuppet
from .report import EchoMimicReport
from .sample import EchoMimicSampler

NODES: list[type[io.ComfyNode]] = [
    EchoMimicModelLoader,
    EchoMimicAudioEncoderLoader,
    EchoMimicExampleInputs,
    EchoMimicPuppet,
    EchoMimicAudioEncode,
    EchoMimicPortrait,
    EchoMimicLandmarkExtract,
    EchoMimicMotionSync,
    EchoMimicLandmarkSmooth,
    EchoMimicLandmarkLoad,
    EchoMimicLandmarkSave,
    EchoMimicLandmarkPreview,
    EchoMimicPartSelection,
    EchoMimicPlaceFace,
    EchoMimicBlinkGaze,
    EchoMimicLandmarkRetime,
    EchoMimicSampler,
    EchoMimicConditioning,
    EchoMimicContextWindows,
    EchoMimicNoise,
    EchoMimicDecodeVideo,
    EchoMimicLongRender,
    EchoMimicFaceCrop,
    EchoMimicPasteBack,
    EchoMimicPlan,
    EchoMimicReport,
    EchoMimicCompare,
]


class EchoMimicExtension(ComfyExtension):
    async def on_load(self) -> None:
        register_folder()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> EchoMimicExtension:
    """What ComfyUI asks a pack for."""
    return EchoMimicExtension()
