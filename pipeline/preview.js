"use strict";
// Plots any two quantities of the samples embedded in the page. Everything shown is set as text, never as markup.
(() => {
  const source = document.getElementById("samples");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const columns = data.columns.map((c) => ({
    ...c,
    codes: Uint8Array.from(atob(c.data), (ch) => ch.charCodeAt(0)),
  }));
  const canvas = document.getElementById("pair"), pen = canvas.getContext("2d");
  const note = document.getElementById("pair-note");
  const selects = ["pair-x", "pair-y"].map((id) => document.getElementById(id));
  const UNKNOWN = 255, BINS = 28, LEFT = 92, RIGHT = 96, TOP = 76, FOOT = 44;
  const W = canvas.width - LEFT - RIGHT, H = canvas.height - TOP - FOOT;

  const label = (c) => c.name + (c.unit ? ` (${c.unit === "deg" ? "°" : c.unit})` : "");
  for (const select of selects) {
    columns.forEach((c, i) => {
      const option = document.createElement("option");
      option.value = i;
      option.textContent = label(c);
      select.append(option);
    });
  }
  const find = (name) => columns.findIndex((c) => c.name === name);

  function axis(c) {
    if (c.names) {
      const shown = c.names.slice(0, BINS);
      return { bins: shown.length, bin: (code) => (code < shown.length ? code : -1), ticks: shown.map((n, i) => [i + 0.5, n]),
               text: (i) => shown[i] };
    }
    const span = c.high - c.low, value = (i) => c.low + (span * i) / BINS;
    const step = span > 0 ? nice(span / 4) : 1, ticks = [];
    for (let v = Math.ceil(c.low / step) * step; v <= c.high + 1e-9 * span; v += step)
      ticks.push([span > 0 ? ((v - c.low) / span) * BINS : BINS / 2, short(v)]);
    return { bins: BINS, bin: (code) => (code === UNKNOWN ? -1 : Math.min(BINS - 1, Math.floor((code / 254) * BINS))), ticks,
             text: (i) => `${short(value(i))} to ${short(value(i + 1))}` };
  }
  function nice(raw) {
    const power = 10 ** Math.floor(Math.log10(raw));
    const steps = [1, 2, 5, 10].map((s) => s * power);
    if (raw > 9 && raw <= 90) return [10, 15, 30, 45, 90].find((s) => s >= raw);
    return steps.find((s) => s >= raw);
  }
  const short = (v) => String(Number(v.toPrecision(4)));
  const ramp = (share) => `hsl(211 ${45 + 20 * share}% ${93 - 68 * Math.sqrt(share)}%)`;

  let state = null;
  function draw() {
    const [cx, cy] = selects.map((s) => columns[Number(s.value)]);
    const x = axis(cx), y = axis(cy), counts = new Float64Array(x.bins * y.bins);
    const sumX = new Float64Array(x.bins), sumY = new Float64Array(y.bins);
    let known = 0;
    for (let i = 0; i < data.rows; i++) {
      const a = x.bin(cx.codes[i]), b = y.bin(cy.codes[i]);
      if (a < 0 || b < 0) continue;
      known++; counts[b * x.bins + a]++; sumX[a]++; sumY[b]++;
    }
    const most = Math.max(1, ...counts), wide = W / x.bins, tall = H / y.bins;
    const px = (u) => LEFT + u * wide, py = (u) => TOP + H - u * tall;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.font = "13px system-ui, sans-serif";
    pen.fillStyle = "#f6f7f8"; pen.fillRect(LEFT, TOP, W, H);
    for (let b = 0; b < y.bins; b++)
      for (let a = 0; a < x.bins; a++) {
        const n = counts[b * x.bins + a];
        if (!n) continue;
        pen.fillStyle = ramp(n / most);
        pen.fillRect(px(a), py(b + 1), wide + 0.5, tall + 0.5);
      }
    pen.fillStyle = "#3f6f9e";
    const mx = Math.max(1, ...sumX), my = Math.max(1, ...sumY);
    for (let a = 0; a < x.bins; a++) {
      const h = (sumX[a] / mx) * (TOP - 26);
      pen.fillRect(px(a) + 0.5, TOP - 6 - h, Math.max(1, wide - 1), h);
    }
    for (let b = 0; b < y.bins; b++) {
      const w = (sumY[b] / my) * (RIGHT - 20);
      pen.fillRect(LEFT + W + 6, py(b + 1) + 0.5, w, Math.max(1, tall - 1));
    }
    pen.strokeStyle = "#c3c9cf"; pen.strokeRect(LEFT - 0.5, TOP - 0.5, W + 1, H + 1);
    pen.fillStyle = "#5c656e";
    pen.textAlign = "center";
    const room = cx.names ? Math.max(4, Math.floor(wide / 7.5)) : 12;
    for (const [u, text] of x.ticks) pen.fillText(text.slice(0, room), px(u), TOP + H + 17);
    pen.textAlign = "right";
    for (const [u, text] of y.ticks) pen.fillText(text.slice(0, 12), LEFT - 7, py(u) + 4);
    pen.fillStyle = "#1c2024"; pen.textAlign = "center";
    pen.fillText(label(cx), LEFT + W / 2, canvas.height - 8);
    pen.save(); pen.translate(14, TOP + H / 2); pen.rotate(-Math.PI / 2); pen.fillText(label(cy), 0, 0); pen.restore();
    state = { x, y, cx, cy, counts, wide, tall, known };
    tell();
  }
  function tell(a = -1, b = -1) {
    const { x, y, cx, cy, counts, known } = state;
    const all = `${known.toLocaleString("en")} of ${data.rows.toLocaleString("en")} samples shown know both`;
    const of = data.rows < data.of ? ` (drawn from ${data.of.toLocaleString("en")})` : "";
    note.textContent = a < 0 ? `${all}${of}.` :
      `${cx.name} ${x.text(a)}, ${cy.name} ${y.text(b)}: ${counts[b * x.bins + a]} samples`;
  }
  canvas.addEventListener("mousemove", (event) => {
    const box = canvas.getBoundingClientRect(), zoom = canvas.width / box.width;
    const a = Math.floor(((event.clientX - box.left) * zoom - LEFT) / state.wide);
    const b = Math.floor((TOP + H - (event.clientY - box.top) * zoom) / state.tall);
    if (a >= 0 && b >= 0 && a < state.x.bins && b < state.y.bins) tell(a, b); else tell();
  });
  canvas.addEventListener("mouseleave", () => tell());
  const [first, second] = data.pairs.find(([a, b]) => find(a) >= 0 && find(b) >= 0) || [columns[0].name, columns[columns.length > 1 ? 1 : 0].name];
  selects[0].value = find(first); selects[1].value = find(second);
  for (const select of selects) select.addEventListener("change", draw);
  for (const figure of document.querySelectorAll("figure[data-quantity]"))
    figure.addEventListener("click", () => {
      const i = find(figure.dataset.quantity);
      if (i < 0) return;
      selects[0].value = i; draw(); canvas.scrollIntoView({ block: "center" });
    });
  draw();
})();
