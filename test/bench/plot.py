"""Plain SVG plots: lines over two logarithmic axes, whiskers from min to max."""
import math

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 400, 70, 40, 20, 50
COLOURS = ["#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#555555"]


def axis(values):
    """The powers of ten around the values."""
    low = math.floor(math.log10(min(values)))
    high = math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def ticks(low, high, place, line):
    for e in range(low, high + 1):
        text = f"{10 ** e:g}"
        yield line(place(10.0 ** e), text)


def plot(path, title, xlabel, ylabel, series):
    """series: name -> list of (x, median, least, most), all above zero."""
    points = [p for row in series.values() for p in row]
    if not points:
        return
    x0, x1 = axis([p[0] for p in points])
    y0, y1 = axis([v for p in points for v in p[1:]])
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def px(x):
        return LEFT + (math.log10(x) - x0) / (x1 - x0) * (right - LEFT)

    def py(y):
        return bottom - (math.log10(y) - y0) / (y1 - y0) * (bottom - TOP)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="{WIDTH / 2}" y="20" text-anchor="middle" font-size="14">{title}</text>',
           f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{xlabel}</text>',
           f'<text x="16" y="{HEIGHT / 2}" text-anchor="middle" '
           f'transform="rotate(-90 16 {HEIGHT / 2})">{ylabel}</text>']
    out += ticks(x0, x1, px, lambda x, text:
                 f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="#ddd"/>'
                 f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>')
    out += ticks(y0, y1, py, lambda y, text:
                 f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ddd"/>'
                 f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for i, (name, row) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        line = " ".join(f"{px(x):.1f},{py(mid):.1f}" for x, mid, _, _ in row)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, mid, least, most in row:
            out.append(f'<circle cx="{px(x):.1f}" cy="{py(mid):.1f}" r="3" fill="{colour}"/>'
                       f'<path d="M{px(x):.1f} {py(least):.1f}V{py(most):.1f}" stroke="{colour}"/>')
        out.append(f'<text x="{LEFT + 10}" y="{TOP + 16 + 16 * i}" fill="{colour}">{name}</text>')
    out.append("</svg>")
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n")
