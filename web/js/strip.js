// The strip under an answer: one drop for each network read, where it fell in time.

const observer = globalThis.ResizeObserver && new ResizeObserver((entries) => {
  for (const { target } of entries) target.redraw?.();
});
const dark = globalThis.matchMedia?.('(prefers-color-scheme: dark)');
dark?.addEventListener('change', () => {
  for (const canvas of document.querySelectorAll('canvas.strip')) canvas.redraw?.();
});

/** Until the first token the water stands (dashes); then it flows (a line); each read is a drop, taller with more bytes. */
export function strip(canvas, picture) {
  canvas.redraw = () => draw(canvas, picture());
  observer?.observe(canvas);
  return canvas.redraw;
}

function draw(canvas, { reads, first, end, running }) {
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (!width) return;
  const scale = Math.min(3, globalThis.devicePixelRatio || 1);
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const pen = canvas.getContext('2d');
  const colours = getComputedStyle(canvas);
  const water = colours.getPropertyValue('--water').trim();
  const stone = colours.getPropertyValue('--stone').trim();
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.lineCap = 'round';

  const left = 3;
  const right = width - 3;
  const base = height - 4.5;
  const span = Math.max(end, running ? 1500 : 1);
  const x = (ms) => left + ((right - left) * Math.min(ms, span)) / span;
  const line = (from, to, colour, dash) => {
    pen.beginPath();
    pen.strokeStyle = colour;
    pen.lineWidth = 1;
    pen.setLineDash(dash);
    pen.moveTo(from, base);
    pen.lineTo(to, base);
    pen.stroke();
    pen.setLineDash([]);
  };
  line(left, right, stone, [1, 5]);
  if (first !== null) line(x(first), x(end), water, []);

  const crowded = reads.length > (right - left) / 5;
  pen.strokeStyle = pen.fillStyle = water;
  pen.globalAlpha = crowded ? 0.5 : 0.8;
  pen.lineWidth = crowded ? 1 : 1.5;
  const stems = new Path2D();
  const drops = new Path2D();
  for (const [at, bytes] of reads) {
    const top = base - Math.min(height - 8, 4 * Math.log2(1 + bytes / 40));
    stems.moveTo(x(at), base);
    stems.lineTo(x(at), top);
    if (crowded) continue;
    drops.moveTo(x(at), top);
    drops.arc(x(at), top, 1.8, 0, 7);
  }
  pen.stroke(stems);
  pen.fill(drops);
  pen.globalAlpha = 1;
  if (running) {
    pen.beginPath();
    pen.arc(x(end), base, 2.5, 0, 7);
    pen.fill();
  }
}
