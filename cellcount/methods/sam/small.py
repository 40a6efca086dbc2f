"""A SAM of our own, small enough to train on two cores and to ship: the network, its settings, its weights file.

Prompt encoder, mask decoder and the transformer blocks of the image encoder are those of segment_anything (Kirillov
et al. 2023), narrower and fewer. What differs is said here: the image encoder sees 128 px at a time, at the image's
own scale, through a stem of convolutions in place of one cut into patches, since a transformer learns from little
data only if it need not first learn what an edge is (Xiao et al. 2021, arXiv:2106.14881).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellcount.errors import DataError, ParameterError
from cellcount.methods import base
from cellcount.methods.base import Status

if TYPE_CHECKING:
    import torch
    from segment_anything.modeling import Sam


FORMAT = "cellcount-sam-small-1"  # of the weights file
SHIPPED = files("cellcount") / "weights" / "sam-small-phantom.safetensors"
TILE = 128  # px: three cells across; a prompt is decoded on 16 x 16 tokens, which is what makes training cheap
OVERLAP = 32  # px around the 64 px that answer for prompts: few cells reach farther from their nucleus
PATCH = 8  # px of the image for each token; the decoder's masks are four times finer, 2 px


@dataclass(frozen=True)
class Settings:
    """Everything that decides what comes out of a training run, besides the samples."""

    width: int = 192  # channels of the image encoder
    depth: int = 6  # its transformer blocks
    heads: int = 6
    window: int = 8  # tokens, 64 px; every third block looks at the whole tile
    prompt_width: int = 128  # channels of prompt encoder and mask decoder; SAM has 256
    stem: tuple[int, ...] = (32, 64, 128)  # channels at 2, 4 and 8 px
    tiles: int = 4  # in each step
    prompts: int = 8  # on each tile: embedding it costs as much as decoding them
    steps: int = 4000  # two hours on one core
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    average: float = 0.99  # of the weights, over the last hundred steps
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stem", tuple(self.stem))  # JSON gives a list
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("stem", "seed", "weight_decay", "average") and not value > 0:
                raise ParameterError(f"{field.name}={value!r} must be positive.")
        if self.width % self.heads or self.prompt_width % 16:
            raise ParameterError(
                f"width={self.width} must be a multiple of heads={self.heads}, prompt_width={self.prompt_width} of 16."
            )
        if len(self.stem) != 3:
            raise ParameterError(f"stem={self.stem}: give three widths, at 2, 4 and 8 px.")


def settings_from(params: Mapping[str, Any]) -> Settings:
    """`Settings` from keyword parameters; unknown ones are refused with the list of known ones."""
    return base.settings_from(Settings, "The small SAM", params)


def build(settings: Settings) -> "Sam":
    """segment_anything's `Sam` with fresh weights, at this scale.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    Sam
        `image_encoder` (N, 3, 128, 128) -> (N, prompt_width, 16, 16); masks come out at 64 x 64.
    """
    from functools import partial

    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
    from torch import nn

    side = TILE // PATCH
    encoder = ImageEncoderViT(
        img_size=TILE,
        patch_size=PATCH,
        embed_dim=settings.width,
        depth=settings.depth,
        num_heads=settings.heads,
        out_chans=settings.prompt_width,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=settings.window,
        global_attn_indexes=tuple(range(2, settings.depth, 3)),
    )
    encoder.patch_embed = _stem(settings)
    heads = max(1, settings.prompt_width // 32)  # 16 channels each, as SAM's 8 heads have
    transformer = TwoWayTransformer(
        depth=2, embedding_dim=settings.prompt_width, mlp_dim=4 * settings.prompt_width, num_heads=heads
    )
    sam = Sam(
        image_encoder=encoder,
        prompt_encoder=PromptEncoder(
            embed_dim=settings.prompt_width,
            image_embedding_size=(side, side),
            input_image_size=(TILE, TILE),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=transformer,
            transformer_dim=settings.prompt_width,
            iou_head_depth=3,
            iou_head_hidden_dim=settings.prompt_width,
        ),
    )
    _look_where_pointed(sam)
    return sam


def _look_where_pointed(sam):
    """Let attention between prompts and image start at the prompt's own place.

    A point and the image's tokens carry the same code of their positions. Where queries and keys are projected alike,
    their product is largest where these codes agree, if nothing else is louder: so all other parts of either start
    quietly. From the usual start the decoder spends its first hundreds of steps on finding out what a place is (a disc
    around a point, 16 prompts a step: IoU .7 after 90 steps, in place of .02 after 120).
    """
    import torch

    prompts, decoder = sam.prompt_encoder, sam.mask_decoder
    crossed = [decoder.transformer.final_attn_token_to_image]
    for layer in decoder.transformer.layers:
        crossed += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    kinds = [*prompts.point_embeddings, prompts.not_a_point_embed, prompts.no_mask_embed]
    with torch.no_grad():
        for attention in crossed:
            attention.q_proj.weight.mul_(2)
            attention.k_proj.weight.copy_(attention.q_proj.weight)
        for embedding in [*kinds, decoder.iou_token, decoder.mask_tokens]:
            embedding.weight.mul_(0.3)
        sam.image_encoder.neck[-1].weight.fill_(0.3)


def _stem(settings):
    """Convolutions from (N, 3, H, W) to (N, H / 8, W / 8, width), in place of segment_anything's `PatchEmbed`."""
    from segment_anything.modeling.common import LayerNorm2d
    from torch import nn
    from torch.nn import functional as F

    class Residual(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.norm, self.first = LayerNorm2d(width), nn.Conv2d(width, width, 3, padding=1)
            self.second = nn.Conv2d(width, width, 3, padding=1)

        def forward(self, x):
            return x + self.second(F.gelu(self.first(self.norm(x))))

    class Stem(nn.Module):
        def __init__(self):
            super().__init__()
            widths = (3, *settings.stem)
            self.steps = nn.Sequential(
                *(
                    nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), Residual(after))
                    for before, after in zip(widths, widths[1:])
                ),
                LayerNorm2d(settings.stem[-1]),
                nn.Conv2d(settings.stem[-1], settings.width, 1),
            )

        def forward(self, x):
            return self.steps(x).permute(0, 2, 3, 1)

    return Stem()


def status() -> Status:
    """Whether its weights are here: `Status`."""
    if SHIPPED.is_file():
        return Status("ready", "small, our own, shipped with the package: trained on simulated fields")
    return Status(
        "needs weights", f"{SHIPPED.name} is not in the package: train it with `python workflow/train_sam.py`"
    )


def path(weights: Path | str | None = None) -> Path:
    """Path of the weights file: the given one, or the shipped one. Raises DataError if it is not there."""
    found = Path(weights or SHIPPED)
    if not found.is_file():
        raise DataError(f"No weights file at {found}; train one with `python workflow/train_sam.py`.")
    return found


def save(network: "torch.nn.Module", settings: Settings, about: dict[str, Any], out: Path | str) -> None:
    """Write weights in half precision, with what they say of themselves (a dict of JSON values), to `out`."""
    from safetensors.torch import save_file

    from cellcount.files import replacing

    described = {"format": FORMAT, "settings": asdict(settings)} | about
    state = {name: tensor.detach().cpu().contiguous().half() for name, tensor in network.state_dict().items()}
    with replacing(out) as temporary:
        save_file(state, temporary, metadata={"cellcount": json.dumps(described)})


def about(weights: Path | str | None = None) -> dict[str, Any]:
    """What a weights file says of itself: a dict with settings, data, losses and scores of its training."""
    return _read(path(weights))[0]


def load(weights: Path | str) -> "Sam":
    """The network of a weights file, float32, on the CPU. Raises DataError if it is torn or not one of these."""
    described, state = _read(weights)
    network = build(Settings(**described["settings"]))
    network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return network


def _read(weights):
    """(what it says of itself, tensors by name) of a weights file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="pt") as file:
            described = json.loads((file.metadata() or {}).get("cellcount", "{}"))
            if described.get("format") != FORMAT:
                raise DataError(f"{weights}: not weights of the small SAM (its metadata has no {FORMAT}).")
            return described, {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise DataError(f"{weights}: not a safetensors file, or cut short ({error}); write it anew.") from error
