// Two plots of the laboratory's runs as one SVG: how the gain grows along the books, and what it costs.

const [WIDTH, HEIGHT, MARGIN] = [420, 300, 48];
const COLOURS = ["#2257b4", "#b32f1b", "#14744a", "#8a5500", "#7739a6", "#0a6a74", "#a32565", "#596600", "#6c4a2c", "#444444"];
const PARTS = 20;

/** `settings` as the laboratory has them; `change` gives the change of perplexity of results, percent. */
export function plot(settings, change) {
  const along = settings.map(({ name, results }) => ({ name, points: alongBook(results) }));
  const cost = settings.map(({ name, results }) => ({ name, points: [[microseconds(results), change(results)]] }));
  const legend = settings.map(({ name }, i) => `<text x="${2 * (WIDTH + MARGIN) + 16}" y="${MARGIN + 18 * i}" fill="${COLOURS[i % COLOURS.length]}">${escape(name)}</text>`);
  const body = [frame(along, 0, "share of the book", "change of perplexity, %"), frame(cost, WIDTH + MARGIN, "ms a token", ""), ...legend].join("\n");
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${2 * (WIDTH + MARGIN) + 320} ${HEIGHT + 2 * MARGIN}" font-family="sans-serif" font-size="12">\n${body}\n</svg>\n`;
}

/** The change in each twentieth of the books: [share, percent]. */
function alongBook(results) {
  const parts = Array.from({ length: PARTS }, () => ({ loss: 0, labels: 0 }));
  for (const { report: { chunks } } of results) {
    chunks.forEach(({ labels, base_loss, adapted_loss }, i) => {
      const part = parts[Math.floor((i * PARTS) / chunks.length)];
      part.loss += labels * (adapted_loss - base_loss);
      part.labels += labels;
    });
  }
  return parts.flatMap(({ loss, labels }, i) => (labels > 0 ? [[(i + 0.5) / PARTS, 100 * Math.expm1(loss / labels)]] : []));
}

const microseconds = (results) => results.reduce((sum, { report }) => sum + (1000 * report.seconds_per_chunk) / report.chunk, 0) / results.length;

function frame(lines, left, across, up) {
  const all = lines.flatMap(({ points }) => points);
  const [xs, ys] = [0, 1].map((axis) => all.map((point) => point[axis]));
  const [x1, y0, y1] = [Math.max(...xs, 1e-9), Math.min(...ys, 0), Math.max(...ys, 0)];
  const x = (value) => left + MARGIN + (value / x1) * (WIDTH - MARGIN);
  const y = (value) => MARGIN + ((y1 - value) / (y1 - y0 || 1)) * HEIGHT;
  const ticks = Array.from({ length: 5 }, (_, i) => y0 + ((y1 - y0) * i) / 4).map((value) =>
    `<line x1="${x(0)}" x2="${x(x1)}" y1="${y(value)}" y2="${y(value)}" stroke="#ccc"/><text x="${x(0) - 6}" y="${y(value) + 4}" text-anchor="end">${value.toFixed(1)}</text>`);
  const below = [0, 0.5, 1].map((share) => `<text x="${x(share * x1)}" y="${HEIGHT + MARGIN + 16}" text-anchor="middle">${(share * x1).toPrecision(2)}</text>`);
  const drawn = lines.map(({ points }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const places = points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`);
    if (places.length === 1) return `<circle cx="${places[0].split(",")[0]}" cy="${places[0].split(",")[1]}" r="4" fill="${colour}"/>`;
    return `<polyline points="${places.join(" ")}" fill="none" stroke="${colour}" stroke-width="1.5"/>`;
  });
  const names = `<text x="${x(x1 / 2)}" y="${HEIGHT + MARGIN + 34}" text-anchor="middle">${across}</text><text x="${left + 4}" y="${MARGIN - 12}">${up}</text>`;
  return [...ticks, ...below, ...drawn, names].join("\n");
}

const escape = (text) => text.replace(/[&<>]/g, (mark) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[mark]);
