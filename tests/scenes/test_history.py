"""What can be undone, and what counts as one step of it."""

from kinds import only

from dtis_core.scenes.history import History


@only("tetrominoes")
def test_a_drag_undoes_at_once_and_a_reset_can_be_undone(unedited):
    history = History((unedited,))
    for tick in range(1, 4):
        history = history.changed(unedited.edit(1, shift=(tick / 10, 0.0)), ("right", 0))
    dragged = history.present
    history = history.changed(dragged.edit(2, sprite=0), None)
    assert history.undone().present == dragged
    assert history.undone().undone().present == unedited
    assert history.undone().undone().undone().present == unedited
    reset = history.changed(unedited, None)
    assert reset.undone().present == history.present


@only("tetrominoes")
def test_steps_of_two_drags_and_of_two_clicks_stay_apart(unedited):
    history = History((unedited,))
    history = history.changed(unedited.edit(1, sprite=0), ("sprite", 0))
    second = unedited.edit(1, shift=(0.2, 0.0))
    assert len(history.changed(second, ("sprite", 1)).states) == 3
    assert history.changed(history.present, None) is history
    copies = history.changed(second, None).changed(second.duplicate(1), None)
    assert len(copies.states) == 4
