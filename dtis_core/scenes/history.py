"""The past of an edited scene: what can be undone, and what counts as one step of it."""

from dataclasses import dataclass

from dtis_core.scenes.scene import Scene

STEPS = 200  # edits that can be undone


@dataclass(frozen=True)
class History:
    """The states of an edited scene, the present one last; `step` names what made it.

    `future` are those that were taken back, the next one last.
    """

    states: tuple[Scene, ...]
    step: object = None
    future: tuple[Scene, ...] = ()

    @property
    def present(self) -> Scene:
        """The last state."""
        return self.states[-1]

    def changed(self, state: Scene, step: object) -> "History":
        """Return the history with a new state; one of the same step as the last replaces that.

        So all ticks of one drag undo together. A state equal to the present one adds nothing.
        """
        if state == self.present:
            return self
        merges = step is not None and step == self.step
        kept = self.states[:-1] if merges else self.states
        return History((*kept, state)[-STEPS:], step)

    def undone(self) -> "History":
        """Return the history without its last state; the first one stays."""
        if len(self.states) == 1:
            return History(self.states, None, self.future)
        return History(self.states[:-1], None, (*self.future, self.present))

    def redone(self) -> "History":
        """Return the history with the state that was taken back last, if nothing came since."""
        if not self.future:
            return self
        return History((*self.states, self.future[-1]), None, self.future[:-1])
