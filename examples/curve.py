"""Draw the losses of a run's local tuning as an SVG picture: RUN > curve.svg. The report has the same curve."""

from __future__ import annotations

import sys
from pathlib import Path

from jobs.report.data import Loss
from jobs.tuning.lora.losses import read_losses

WIDTH, HEIGHT, EDGE = 640, 260, 44
COLOURS = {"training": "#8a8f98", "validation": "#c2410c"}


def picture(losses: list[Loss]) -> str:
    """Both losses over the steps, each line labelled at its end; up it begins at 0."""
    series = {
        "training": [(loss.step, loss.train) for loss in losses if loss.train is not None],
        "validation": [(loss.step, loss.val) for loss in losses if loss.val is not None],
    }
    last = max(loss.step for loss in losses)
    most = max(value for points in series.values() for _, value in points)
    marks = [
        f'<text x="{EDGE - 6}" y="{_up(value, most) + 4:.0f}" text-anchor="end">{value:.1f}</text>'
        for value in (0, most / 2, most)
    ]
    marks += [
        f'<text x="{_across(step, last):.0f}" y="{HEIGHT - 12}" text-anchor="middle">step {step}</text>'
        for step in (0, last)
    ]
    lines = [
        f'<polyline fill="none" stroke="{COLOURS[name]}" stroke-width="2" '
        f'points="{" ".join(f"{_across(step, last):.1f},{_up(value, most):.1f}" for step, value in points)}"/>'
        f'<text x="{WIDTH - 90}" y="{20 + 16 * number}" fill="{COLOURS[name]}">{name} loss</text>'
        for number, (name, points) in enumerate(series.items())
        if points
    ]
    style = 'font-family="sans-serif" font-size="12" fill="#555"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 40} {HEIGHT}" {style}>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *marks, *lines, "</svg>\n"])


def _across(step: float, last: int) -> float:
    return EDGE + (WIDTH - EDGE) * step / last


def _up(value: float, most: float) -> float:
    return HEIGHT - 30 - (HEIGHT - 50) * value / most


if __name__ == "__main__":
    sys.stdout.write(picture(read_losses(Path(sys.argv[1]) / "tuning" / "losses.jsonl")))
