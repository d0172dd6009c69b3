"""Signs that a training run fails, named while it runs.

The cures that are known are part of training: little used sprites restart (C.2), centres cannot
leave the image, rates warm up. What is reported here is what they did not cure.
"""

from dataclasses import dataclass, field

from dtis_core.training.gradients import without_gradient
from dtis_core.training.trainer import Trainer

PATIENCE = 1000  # steps of learning sprites before a run is judged
FIRST_GRADIENTS = 100  # steps before a gradient is missed
DIVERGED = 3.0  # times the lowest loss so far
COLLAPSED = 0.9  # share of all uses that one sprite has


@dataclass
class Health:
    """Judges a run from its logged losses and the trainer's counts."""

    blank_error: float  # the loss of scenes without objects
    lowest: float = float("inf")
    named: set[str] = field(default_factory=set)

    def problems(self, trainer: Trainer, loss: float) -> dict[str, str]:
        """Return what is wrong at present, short name and advice; `loss` is a mean of some steps.

        "diverging" is judged once rates have warmed up, and "no gradient" after 100 steps; the
        others when sprites have learned for 1,000 steps: "stuck", "invisible" sprites, "collapsed"
        selection and "dead" sprites.
        """
        training, found = trainer.config.training, {}
        if trainer.step > trainer.in_steps(training.warm_up):
            self.lowest = min(self.lowest, loss)
            if loss > DIVERGED * self.lowest:
                found["diverging"] = (
                    f"the loss {loss:.4f} has left its lowest value, {self.lowest:.4f}, far "
                    "behind; try lower rates, such as --set training.network_rate=3e-4"
                )
        silent = unreached(trainer) if trainer.step >= FIRST_GRADIENTS else []
        if silent:
            found["no gradient"] = (
                f"none reaches {', '.join(silent)}, so that nothing is learned there; layers that "
                "are empty in all images get none: try a later training.empty_from, a lower "
                "model.penalty or another seed"
            )
        if trainer.step < trainer.in_steps(training.frozen) + PATIENCE:
            return found
        if loss > 0.95 * self.blank_error:
            found["stuck"] = (
                f"the loss {loss:.4f} is that of an empty scene ({self.blank_error:.4f}); try "
                "another seed, a longer warm-up or lower rates"
            )
        if trainer.invisible > 0.5:
            found["invisible"] = (
                f"{trainer.invisible:.0%} of the layers in use show nothing: their sprites lie "
                "outside the image or are transparent; try another seed or a lower mask_rate"
            )
        K, share = trainer.sprites, float(trainer.share.max())
        if K > 2 and share > COLLAPSED:
            found["collapsed"] = (
                f"{share:.0%} of the layers use sprite {int(trainer.share.argmax()) + 1} of {K}; "
                "try a higher training.reassign_below, or another seed"
            )
        until = training.reassign_until
        if trainer.dead_sprites and until is not None and trainer.step > trainer.in_steps(until):
            found["dead"] = (
                f"{trainer.dead_sprites} of {K} sprites are not used; try fewer "
                "(model.sprites) or a later training.reassign_until"
            )
        return found

    def news(self, problems: dict[str, str]) -> list[str]:
        """Return lines for the problems that were not there before."""
        new = [f"{name}: {problems[name]}" for name in problems if name not in self.named]
        self.named |= problems.keys()
        return new


def unreached(trainer: Trainer) -> list[str]:
    """Return names of what gets no gradient, such as "layer 5".

    A sprite that is not in use gets none, of course: it restarts, or is "dead".
    """
    return [
        f"{name} {number}" if name in ("layer", "sprite") else f"the {name}"
        for name, numbers in without_gradient(trainer.model, trainer.optimizer).items()
        for number in numbers
        if name != "sprite" or trainer.share[number - 1] > 0
    ]
