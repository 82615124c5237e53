"""The keys that work everywhere on the main screen, with the names of what they do."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from mlxconsole.ui.tabs import PAGES

KEYS: list[BindingType] = [
    Binding("question_mark", "help", "Help", key_display="?", id="help.open"),
    Binding("colon", "command", "Command", key_display=":", id="command.open"),
    Binding("ctrl+p", "app.command_palette", "Palette", id="palette.open", show=False),
    *(
        Binding(str(n), f"page('{page}')", page.title(), id=f"page.{page}", show=False)
        for n, page in enumerate(PAGES, 1)
    ),
    Binding("slash", "filter", "Filter", key_display="/", id="filter.open"),
    Binding("enter", "detail", "Detail", key_display="Enter", id="rank.detail"),
    Binding("n", "on_log('match(1)')", "Next match", id="filter.next", show=False),
    Binding("N", "on_log('match(-1)')", "Previous match", id="filter.previous", show=False),
    Binding("h", "on_log('hide')", "Hide or dim others", id="filter.hide", show=False),
    Binding("L", "on_log('level')", "Least level", id="log.level", show=False),
    Binding("l", "only_rank", "This rank's lines only", id="log.rank", show=False),
    Binding("w", "on_log('wrap')", "Wrap lines", id="log.wrap", show=False),
    Binding("t", "on_log('time')", "Form of the time", id="log.time", show=False),
    Binding("p", "pause", "Pause", id="log.pause"),
    Binding("f", "on_log('follow')", "Follow log", id="log.follow", show=False),
    Binding("tab", "app.focus_next", "Other pane", id="pane.next", show=False),
    Binding("escape", "back", "Back: filter, page", id="filter.clear", show=False),
    Binding("left_square_bracket", "rewind(-5)", "5 s back", id="time.back", show=False),
    Binding("right_square_bracket", "rewind(5)", "5 s on", id="time.on", show=False),
    Binding("left_curly_bracket", "rewind(-60)", "1 min back", id="time.far", show=False),
    Binding("right_curly_bracket", "rewind(60)", "1 min on", id="time.far_on", show=False),
    Binding("left_parenthesis", "speed(-1)", "Play slower", id="time.slower", show=False),
    Binding("right_parenthesis", "speed(1)", "Play faster", id="time.faster", show=False),
    Binding("0", "live", "Back to now", id="time.live", show=False),
    Binding("e", "export", "Capsule: last minutes", id="capsule.write", show=False),
    Binding("a", "acknowledge", "Acknowledge alerts", id="alerts.seen", show=False),
    Binding("z", "density", "Density of the ranks", id="ranks.density", show=False),
    Binding("v", "waterfall", "Waterfall of steps", id="waterfall.open", show=False),
    Binding("R", "act('restart')", "Restart", id="rank.restart"),
    Binding("D", "act('drain')", "Drain", id="rank.drain"),
    Binding("U", "act('undrain')", "Undrain rank", id="rank.undrain", show=False),
    Binding("X", "act('kill')", "Kill rank", id="rank.kill", show=False),
    Binding("K", "cancel_request", "Cancel request", id="request.cancel", show=False),
    Binding("y", "copy", "Copy the line (OSC 52)", id="line.copy", show=False),
    Binding("ctrl+t", "theme", "Next set of colours", id="look.theme", show=False),
    Binding("plus", "zoom(True)", "Only this pane", id="pane.zoom", show=False),
    Binding("underscore", "zoom(False)", "All panes", id="pane.unzoom", show=False),
    Binding("q", "app.quit", "Quit", id="app.quit"),
]
