"""Slot Attention: slots compete for the pixels of an image, and each is drawn by itself.

Locatello et al., Object-Centric Learning with Slot Attention, NeurIPS 2020: the autoencoder for
unsupervised discovery of objects, written anew from the paper's description, with the encoder and
decoder of its smaller images, Tetrominoes and Multi-dSprites. A letter in a shape: B images, S
slots, N = H W places, D = 64 numbers of a slot, C channels.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

WIDTH = 64  # of a slot, a key, a query and a value
HIDDEN = 128  # units of the residual network that follows each update of a slot
ITERATIONS = 3
KERNEL = 5  # side of a convolution's window, in pixels
EPSILON = 1e-8  # keeps the weights of a slot that no place attends to from being 0 / 0


def position_grid(height: int, width: int) -> Float[Tensor, "height width 4"]:
    """Return each pixel's distances from the four sides, in [0, 1]."""
    rows = torch.linspace(0, 1, height)[:, None].expand(height, width)  # (H, W)
    columns = torch.linspace(0, 1, width)[None].expand(height, width)  # (H, W)
    return torch.stack([rows, columns, 1 - rows, 1 - columns], dim=-1)  # (H, W, 4)


class PositionEmbedding(nn.Module):
    """A linear map of where a pixel is, to be added to features there."""

    def __init__(self, channels: int, size: tuple[int, int]):
        super().__init__()
        self.register_buffer("grid", position_grid(*size), persistent=False)
        self.project = nn.Linear(4, channels)

    def forward(self) -> Float[Tensor, "1 C H W"]:
        """Return the embedding of all pixels."""
        return self.project(self.grid).permute(2, 0, 1)[None]  # (1, C, H, W)


class Encoder(nn.Module):
    """Four convolutions at the image's own resolution, then each place by itself."""

    def __init__(self, channels: int, size: tuple[int, int]):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width, channels, KERNEL, padding="same") for width in (3, *[channels] * 3)
        )
        self.position = PositionEmbedding(channels, size)
        self.each_place = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
        )

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N C"]:
        """Return features of all places."""
        features = images.contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            features = F.relu(convolution(features))
        features = features + self.position()  # (B, C, H, W)
        return self.each_place(features.flatten(2).transpose(1, 2))  # (B, N, C)


class SlotAttention(nn.Module):
    """Algorithm 1 of the paper: attention normalised over slots, which so compete for places."""

    def __init__(self, channels: int):
        super().__init__()
        self.mean = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.log_deviation = nn.Parameter(torch.empty(1, 1, WIDTH))
        for parameter in (self.mean, self.log_deviation):
            nn.init.xavier_uniform_(parameter)
        self.norm_inputs = nn.LayerNorm(channels)
        self.norm_slots = nn.LayerNorm(WIDTH)
        self.to_query = nn.Linear(WIDTH, WIDTH, bias=False)
        self.to_key = nn.Linear(channels, WIDTH, bias=False)
        self.to_value = nn.Linear(channels, WIDTH, bias=False)
        self.update = nn.GRUCell(WIDTH, WIDTH)
        self.refine = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH)
        )

    def start(self, noise: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """Return slots drawn from the one Gaussian that is learned, by standard normal noise."""
        return self.mean + self.log_deviation.exp() * noise

    def forward(
        self, features: Float[Tensor, "B N C"], slots: Float[Tensor, "B S D"]
    ) -> Float[Tensor, "B S D"]:
        """Return slots after three rounds of attention."""
        features = self.norm_inputs(features)
        keys, values = self.to_key(features), self.to_value(features)  # both (B, N, D)
        for _ in range(ITERATIONS):
            queries = self.to_query(self.norm_slots(slots)) * WIDTH**-0.5  # (B, S, D)
            attention = torch.softmax(queries @ keys.transpose(1, 2), dim=1)  # (B, S, N)
            weights = attention + EPSILON
            weights = weights / weights.sum(dim=2, keepdim=True)  # (B, S, N), of a weighted mean
            seen = (weights @ values).flatten(0, 1)  # (B S, D)
            slots = self.update(seen, slots.flatten(0, 1)).view_as(slots)  # (B, S, D)
            slots = slots + self.refine(slots)
        return slots


class SpatialBroadcastDecoder(nn.Module):
    """Draws each slot: its colours and how much it claims each pixel.

    A slot, repeated at all pixels, and the position embedding pass through four convolutions.
    """

    def __init__(self, channels: int, size: tuple[int, int]):
        super().__init__()
        self.position = PositionEmbedding(WIDTH, size)
        self.first = nn.Conv2d(WIDTH, channels, KERNEL, padding="same")
        self.second = nn.Conv2d(channels, channels, KERNEL, padding="same")
        self.third = nn.Conv2d(channels, channels, KERNEL, padding="same")
        self.last = nn.Conv2d(channels, 4, 3, padding="same")

    def _first(self, slots: Float[Tensor, "M D"]) -> Float[Tensor, "M C H W"]:
        """Return the first convolution of slots, each repeated at all pixels, and of positions.

        It is linear, so each slot's part is found apart from the positions' part, which all slots
        share; and of an image that is the same everywhere but for the zeros around it, all windows
        that lie inside give the same.
        """
        small = slots[:, :, None, None].expand(-1, -1, KERNEL, KERNEL)  # (M, D, 5, 5)
        small = F.conv2d(small, self.first.weight, padding="same")  # (M, C, 5, 5)
        height, width = self.position.grid.shape[:2]
        repeated = _stretched(_stretched(small, height, dim=2), width, dim=3)  # (M, C, H, W)
        return repeated + self.first(self.position())

    def forward(
        self, slots: Float[Tensor, "B S D"]
    ) -> tuple[Float[Tensor, "B S 3 H W"], Float[Tensor, "B S H W"]]:
        """Return the slots' colours, and their masks, which sum to 1 at each pixel."""
        features = self._first(slots.flatten(0, 1))  # (B S, C, H, W)
        features = F.relu(features.contiguous(memory_format=torch.channels_last))
        features = F.relu(self.second(features))
        features = self.last(F.relu(self.third(features)))  # (B S, 4, H, W)
        features = features.unflatten(0, slots.shape[:2])  # (B, S, 4, H, W)
        return features[:, :, :3], features[:, :, 3].softmax(dim=1)


def _stretched(small: Tensor, side: int, dim: int) -> Tensor:
    """Return KERNEL places along `dim` as `side` of them, by repeats of the one in the middle."""
    half = KERNEL // 2
    first, middle, last = small.split([half, 1, half], dim)
    sizes = [-1] * small.dim()
    sizes[dim] = side - 2 * half
    return torch.cat([first, middle.expand(sizes), last], dim)


def _start_as_published(module: nn.Module) -> None:
    """Draw weights by Glorot's rule, with biases of 0; with smaller ones it learns later."""
    if isinstance(module, nn.Conv2d | nn.Linear | nn.GRUCell):
        for name, parameter in module.named_parameters():
            nn.init.zeros_(parameter) if "bias" in name else nn.init.xavier_uniform_(parameter)


class SlotAutoencoder(nn.Module):
    """An image model: encoder, slots, and a decoder whose pictures are mixed by their masks."""

    def __init__(self, slots: int, channels: int, size: tuple[int, int]):
        super().__init__()
        self.slots = slots
        self.encoder = Encoder(channels, size)
        self.attention = SlotAttention(channels)
        self.decoder = SpatialBroadcastDecoder(channels, size)
        self.apply(_start_as_published)

    def noise(self, count: int, generator: torch.Generator) -> Float[Tensor, "B S D"]:
        """Return what the slots of `count` images start from."""
        return torch.randn(count, self.slots, WIDTH, generator=generator)

    def forward(
        self, images: Float[Tensor, "B 3 H W"], noise: Float[Tensor, "B S D"]
    ) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B S H W"]]:
        """Return reconstructions of images in [-1, 1], and the masks of their slots."""
        slots = self.attention(self.encoder(images), self.attention.start(noise))
        colours, masks = self.decoder(slots)
        return (colours * masks[:, :, None]).sum(dim=1), masks

    def loss(
        self, images: Float[Tensor, "B 3 H W"], noise: Float[Tensor, "B S D"]
    ) -> Float[Tensor, ""]:
        """Return the mean squared error of the reconstructions."""
        return F.mse_loss(self(images, noise)[0], images)
