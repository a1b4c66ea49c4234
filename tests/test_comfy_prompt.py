"""What a graph of ComfyUI tells of a clip's making, and graphs that are not as they should be."""

import pytest

from echomimic.media.comfy_prompt import has_our_nodes, made_above, numbered, told_nodes


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


STOCK = {
    "loader": node("EchoMimicModelLoader", model="set/denoising_unet.pth", dtype="fp16"),
    "lora": node("LoraLoaderModelOnly", model=["loader", 0], lora_name="a.safetensors"),
    "second": node("LoraLoaderModelOnly", model=["lora", 0], lora_name="/home/me/b.safetensors"),
    "cache": node("EasyCache", model=["second", 0], reuse_threshold=0.2),
    "windows": node("ContextWindowsManual", model=["cache", 0], context_length=12),
    "clip": node("EchoMimicConditioning", model=["loader", 0], portrait=["portrait", 0]),
    "guider": node("CFGGuider", model=["windows", 0], positive=["clip", 0], cfg=2.5),
    "number": node("PrimitiveInt", value=99),
    "noise": node("RandomNoise", noise_seed=["number", 0]),
    "sigmas": node("BasicScheduler", model=["windows", 0], scheduler="simple", steps=30),
    "sampler": node(
        "SamplerCustomAdvanced", noise=["noise", 0], guider=["guider", 0], sigmas=["sigmas", 0]
    ),
    "decode": node("VAEDecode", samples=["sampler", 0], vae=["loader", 3]),
    "paste": node("EchoMimicPasteBack", face=["decode", 0], original=["photo", 0], feather=0.1),
    # What made the picture of the portrait, and the one that is pasted into.
    "portrait": node("EchoMimicPortrait", image=["photo", 0]),
    "photo": node("VAEDecode", samples=["drawn", 0]),
    "drawn": node("KSampler", seed=5, steps=20),
}


def test_what_is_above_an_input_tells_model_seed_and_settings():
    said = made_above(STOCK, "paste", "face")

    assert said["model"] == "set/denoising_unet.pth"
    assert said["seed"] == 99
    nodes = said["nodes"]
    assert nodes["CFGGuider"] == {"cfg": 2.5}
    assert nodes["BasicScheduler"] == {"scheduler": "simple", "steps": 30}
    assert nodes["ContextWindowsManual"] == {"context_length": 12}
    assert nodes["EasyCache"] == {"reuse_threshold": 0.2}
    assert [values["lora_name"] for name, values in nodes.items() if "Lora" in name] == [
        "b.safetensors",  # without its folder
        "a.safetensors",
    ]


def test_what_made_the_portrait_did_not_make_the_clip():
    assert "KSampler" not in made_above(STOCK, "paste", "face")["nodes"]
    assert made_above(STOCK, "paste", "original")["seed"] == 5


def test_the_nearest_sampler_has_the_seed():
    graph = {
        "first": node("KSampler", seed=1, latent_image=["none", 0]),
        "second": node("KSampler", seed=2, latent_image=["first", 0]),
        "out": node("EchoMimicDecodeVideo", latent=["second", 0]),
    }

    said = made_above(graph, "out", "latent")

    assert said == {"seed": 2, "nodes": {"KSampler": {"seed": 2}, "KSampler 2": {"seed": 1}}}


def test_nodes_that_decide_on_sampling_are_told_and_no_others():
    told = {kind for kind, _ in told_nodes(STOCK)}

    assert {"EchoMimicModelLoader", "RandomNoise", "SamplerCustomAdvanced", "EasyCache"} <= told
    assert not told & {"VAEDecode", "PrimitiveInt"}
    assert [*numbered(told_nodes(STOCK))].count("LoraLoaderModelOnly 2") == 1


RING = {
    "a": node("KSampler", seed=1, x=["b", 0], y=["a", 0]),
    "b": node("EchoMimicSampler", seed=2, x=["a", 0]),
}


@pytest.mark.parametrize(
    "prompt",
    [
        None,
        "text",
        [1, 2],
        {},
        {"a": None, "b": 3, "c": {"class_type": 5, "inputs": {}}, "d": {"class_type": "KSampler"}},
        {"a": node("EchoMimicSampler", x=["gone", 0], y=[{}, 0], z=["a"], w=[["a"], 0])},
        {"a": {"class_type": "EchoMimicSampler", "inputs": [1]}},
        {1: node("EchoMimicSampler", seed={"deep": [1]}, x=[1, 0])},
        RING,
    ],
    ids=lambda prompt: str(prompt)[:30],
)
def test_strange_graphs_are_read_as_far_as_they_go(prompt):
    for name in ("a", "b", 1, None):
        for given in ("x", "y", "z", "latent"):
            assert made_above(prompt, name, given).keys() <= {"model", "seed", "nodes"}
    assert all(isinstance(kind, str) for kind, _ in told_nodes(prompt))
    assert isinstance(has_our_nodes(prompt), bool)


def test_a_ring_ends():
    assert made_above(RING, "a", "x") == {"seed": 2, "nodes": {"EchoMimicSampler": {"seed": 2}}}


def test_a_long_chain_of_nodes_is_followed_to_its_end():
    chain = {str(n): node("Reroute", x=[str(n + 1), 0]) for n in range(20_000)}
    chain["20000"] = node("KSampler", seed=3, text="x" * 10_000)

    said = made_above(chain, "0", "x")

    assert said["seed"] == 3
    assert len(said["nodes"]["KSampler"]["text"]) == 200
