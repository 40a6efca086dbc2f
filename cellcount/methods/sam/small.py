"""A small SAM, which trains on two cores and is bundled with the package: the network, its settings, its weights file.

Prompt encoder, mask decoder and the transformer blocks of the image encoder are those of segment_anything (Kirillov
et al. 2023), narrower and fewer. The image encoder differs: it sees 128 px at a time, at the image's own scale,
through a stem of convolutions in place of one cut into patches, since with little data a transformer learns poorly
from patches (Xiao et al. 2021, arXiv:2106.14881).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cellcount.errors import require
from cellcount.methods import weights_files
from cellcount.methods.base import TrainingSettings

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


FORMAT = "cellcount-sam-small-1"  # of the weights file
SHIPPED = files("cellcount") / "weights" / "sam-small-phantom.safetensors"
TILE = 128  # px: three cells across; a prompt is decoded on 16 x 16 tokens, which is what makes training cheap
OVERLAP = 32  # px around the 64 px that answer for prompts: few cells reach farther from their nucleus
PATCH = 8  # px of the image for each token; the decoder's masks are four times finer, 2 px


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """Everything that decides the result of a training run, besides the samples."""

    LABEL: ClassVar[str] = "SAM's small model"
    FREE: ClassVar[Sequence[str]] = (*TrainingSettings.FREE, "average")

    width: int = 192  # channels of the image encoder
    depth: int = 6  # its transformer blocks
    heads: int = 6
    window: int = 8  # tokens, 64 px; every third block attends to the whole tile
    prompt_width: int = 128  # channels of prompt encoder and mask decoder; SAM has 256
    stem: tuple[int, ...] = (32, 64, 128)  # channels at 2, 4 and 8 px
    tiles: int = 4  # in each step
    prompts: int = 8  # on each tile: embedding it costs as much as decoding them
    steps: int = 4000  # two hours on one core
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    average: float = 0.99  # decay of the moving average of the weights, over the last hundred steps
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        divided = self.width % self.heads == 0 == self.prompt_width % 16
        second = f"prompt_width={self.prompt_width} of 16."
        require(divided, f"width={self.width} must be a multiple of heads={self.heads}, {second}")
        require(len(self.stem) == 3, f"stem={self.stem}: give three widths, at 2, 4 and 8 px.")


def build(settings: Settings) -> "Sam":
    """segment_anything's `Sam` with initial weights, at this scale.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    Sam
        `image_encoder` (N, 3, 128, 128) -> (N, prompt_width, 16, 16); masks come out at 64 x 64.
    """
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
    from torch import nn

    side, width, norm = TILE // PATCH, settings.prompt_width, partial(nn.LayerNorm, eps=1e-6)
    blocks = {"embed_dim": settings.width, "depth": settings.depth, "num_heads": settings.heads, "norm_layer": norm}
    attention = {"window_size": settings.window, "global_attn_indexes": tuple(range(2, settings.depth, 3))}
    attention |= {"use_rel_pos": True}
    encoder = ImageEncoderViT(img_size=TILE, patch_size=PATCH, out_chans=width, **blocks, **attention)
    encoder.patch_embed = _stem(settings)
    heads = max(1, width // 32)  # 16 channels each, as SAM's 8 heads have
    transformer = TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=4 * width, num_heads=heads)
    # The order in which these are made decides their initial weights.
    prompts = PromptEncoder(width, (side, side), (TILE, TILE), mask_in_chans=16)
    iou = {"iou_head_depth": 3, "iou_head_hidden_dim": width}
    decoder = MaskDecoder(transformer_dim=width, transformer=transformer, num_multimask_outputs=3, **iou)
    sam = Sam(encoder, prompts, decoder)
    _look_where_pointed(sam)
    return sam


def _look_where_pointed(sam):
    """Initialise attention between prompts and image so that it starts at the prompt's own position.

    A point and the image's tokens have the same positional encoding. Where queries and keys share one projection, their
    product is largest where these encodings agree, provided that the other parts of both are small: so these are
    initialised small. With the usual initial weights the decoder spends its first hundreds of steps on learning
    positions (a disc around a point, 16 prompts a step: IoU .7 after 90 steps here, .02 after 120 there).
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
            halved, last = [], settings.stem[-1]
            for before, after in zip((3, *settings.stem), settings.stem):
                halved.append(nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), Residual(after)))
            self.steps = nn.Sequential(*halved, LayerNorm2d(last), nn.Conv2d(last, settings.width, 1))

        def forward(self, x):
            return self.steps(x).permute(0, 2, 3, 1)

    return Stem()


def about(weights: Path | str | None = None) -> dict[str, Any]:
    """The description in a weights file, the bundled one by default: settings, data, losses and scores of training."""
    return weights_files.about(weights or SHIPPED, FORMAT, Settings.LABEL)


def load(weights: Path | str) -> "Sam":
    """The network of a weights file, float32, on the CPU. Raises DataError as `weights_files.read` does."""
    described, state = weights_files.read(weights, FORMAT, Settings.LABEL)
    with weights_files.usable(weights):
        network = build(Settings(**described["settings"]))
        network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return network
