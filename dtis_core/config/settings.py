"""All settings, in four sections: the data, the paper's model, our search, the schedule."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from dtis_core.config.building import build, plain
from dtis_core.config.ranges import Count, CountOrNone, NotNegative, Positive, Share, Side, Within
from dtis_core.config.rules import check_rules
from dtis_core.errors import DtisError, suggest
from dtis_core.paths import user_path
from dtis_core.storage.files import parse_value


@dataclass(frozen=True)
class DataConfig:
    """What to train on, and what to hold out."""

    name: str
    path: str | None = None  # the folder of a data set that is anyone's own
    count: Count | None = None  # training images; None: all there are
    held_out: Count | None = 320  # images to score at most; None: all of the split
    train_split: str = "train"
    score_split: str = "validation"


@dataclass(frozen=True)
class ModelConfig:
    """The image model and its predictor (Sec. 3.1 and 3.3)."""

    image_size: tuple[Side, Side]
    layers: Count  # L
    sprites: Count  # K
    sprite_size: tuple[Side, Side]
    mask_sigma: Positive  # pixels; deviation of the Gaussian that masks start from
    mask_excess: NotNegative | None = None  # of placed masks, past [0, 1]; None: without limit
    sprite_colour: Share = 0.9  # all channels' start
    background_colour: Share | None = None  # and the backgrounds'; None: the mean image
    layer_transformations: list[str] = field(default_factory=list)  # T^lay, shared in a layer
    sprite_transformations: list[str] = field(default_factory=list)  # T^spr, one per sprite
    background_transformations: list[str] = field(default_factory=list)  # T^bkg
    backgrounds: CountOrNone = 0  # K'
    channels: Count = 3  # C
    empty_sprite: bool = False
    opaque_sprites: bool = False  # no masks, as in DTI-Clustering
    occlusion: Literal["fixed", "predicted"] = "fixed"
    penalty: NotNegative = 0.0  # lambda of Eq. (5), for an error averaged over pixels and channels
    mask_binarity: Literal["noise", "beta", "concrete"] = "noise"  # what makes masks binary
    mask_noise: Share = 0.4  # amplitude, where that is noise; 0 trains without
    mask_beta: Positive = 1.0  # weight of x^2 (1 - x)^2 in Eq. (5), where it is beta
    mask_temperature: tuple[Positive, Positive] = (2.0, 0.5)  # first and last, where it is concrete
    selection: Literal["greedy", "exhaustive"] = "greedy"
    selection_steps: Count = 1  # T of Algorithm 1
    encoder: Literal["resnet32", "resnet18", "small"] = "resnet32"  # small is ours
    pool: Count = 1  # side of the pooled feature map


@dataclass(frozen=True)
class SearchConfig:
    """How scenes are sought where that is not the paper's way, which is the default."""

    head: Literal["pooled", "attention"] = "pooled"
    drawn_by: Literal["features", "error"] = "features"  # to what attention goes at first
    reach: Count = 3  # cells around an attention map's peak that count
    looks: Literal["image", "residual"] = "image"
    sees: Literal["both", "difference"] = "both"  # image and rest, in a residual look
    fovea: bool = False  # each look reads its place at full resolution, taught by dreams
    harmonics: list[Count] = field(default_factory=list)  # at which the fovea reads angles
    turns: Count = 1  # rotations of each sprite that are candidates, on top of the predicted one
    colours: Literal["predicted", "solved"] = "predicted"  # each candidate's tint
    depths: Literal["given", "sought"] = "given"  # whether the layers' order is chosen, too
    alternate_steps: bool = False  # train with T = 1, ..., model.selection_steps in turn
    inference_steps: Count | None = None  # T at inference; None: as in training
    inference_turns: Count | None = None  # turns at inference; None: as in training
    one_look_steps: Count | None = None  # T of one look, the paper's; None: as in training
    pairs: bool = True  # at inference, every other later iteration seeks two layers anew, elsewhere
    polish_steps: CountOrNone = 0  # of Gauss-Newton on a found scene, at inference
    polish_every: CountOrNone = 0  # iterations after which it comes, and a fovea reads again where
    #                                something was found; 0: it comes at the end
    views: Annotated[int, Within(1, 4)] = 1  # quarter turns of an image in which to seek a scene


@dataclass(frozen=True)
class TrainingConfig:
    """The schedule. All durations are in `unit`s; rates are Adam's.

    An epoch shows every image, in batches of which the last may be smaller; unless that would be a
    single image, which is left out. Where the unit is the step, all batches are whole.
    """

    length: Positive
    unit: Literal["epoch", "step"]
    batch_size: Count
    network_rate: Positive
    appearance_rate: Positive
    mask_rate: Positive
    encoder_rate: Positive | None = None  # the encoder's own; None: the network's
    weight_decay: NotNegative = 1e-6  # networks only
    second_moment: Annotated[float, Within(0, 1, below=True)] = 0.999  # Adam's beta_2
    warm_up: NotNegative = 0  # rates rise linearly from 0
    frozen: NotNegative = 0  # sprites do not learn yet,
    freeze: Literal["images", "sprites"] = "images"  # nor do backgrounds, unless it is sprites only
    empty_from: NotNegative = 0  # the empty sprite is no candidate, and lambda 0, until then
    decay_at: list[float] = field(default_factory=list)  # rates times 0.1 there
    appearance_late_rate: Positive | None = None  # the appearances' rate from `appearance_late` on
    appearance_late: NotNegative = 0
    cosine_from: float | None = None  # rates fall to 0 along a half cosine from there to the end
    decay_sprites: bool = True  # False: the sprites' rates stay
    curriculum: dict[str, float] = field(default_factory=dict)  # transformation: when it joins
    dreams_from: NotNegative = 0  # when a fovea begins to learn
    fovea_from: NotNegative = 0  # and when it is used
    reassign_below: NotNegative = 20  # percent / K of layers; sprites used less restart
    reassign_every: Count = 50  # steps
    reassign_until: float | None = None  # None: to the end
    coarse_until: NotNegative = 0  # until then, images and sprites of half the size,
    quarter_until: NotNegative = 0  # and until then, of a quarter
    extra_sprites: CountOrNone = 0  # more than model.sprites at first; the least used are given up
    retire_from: NotNegative = 0  # one after the other between these two
    retire_until: NotNegative = 0


SECTIONS = ("data", "model", "search", "training")


@dataclass(frozen=True)
class Config:
    """Everything a run depends on, but its seed and device."""

    preset: str
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    search: SearchConfig = field(default_factory=SearchConfig)
    description: str = ""

    def to_dict(self) -> dict:
        """Return plain lists, dicts and scalars, as `from_dict` takes them."""
        return plain(self)

    def override(self, assignments: list[str]) -> "Config":
        """Return a copy with `section.field=value` applied; values are YAML.

        Raises DtisError for a malformed assignment, an unknown field or a wrong type or range.
        """
        values = self.to_dict()
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            path = key.strip().split(".")
            if not equals or len(path) != 2:
                raise DtisError(
                    f"--set {assignment:.80}: expected section.field=value, "
                    "such as training.batch_size=64"
                )
            section = values.get(path[0])
            if not isinstance(section, dict):
                near = suggest(path[0], SECTIONS)
                raise DtisError(f"--set {assignment:.80}: unknown section '{path[0]:.80}'{near}")
            try:
                section[path[1]] = parse_value(text)
            except ValueError as error:
                raise DtisError(
                    f"--set {assignment:.80}: '{text:.80}' is not a YAML value"
                ) from error
        return from_dict(values, where="--set")


def from_dict(values: object, where: str) -> Config:
    """Build a checked Config; `where` names the source in errors. Raises DtisError.

    A relative data.path is taken from where the user stands, and is absolute from then on.
    """
    config = build(Config, values, where)
    check_rules(config, where)
    if config.data.path is None:
        return config
    path = str(user_path(config.data.path, f"{where}: data.path").absolute())
    return replace(config, data=replace(config.data, path=path))
