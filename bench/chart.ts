// Bar charts as SVG, for docs/: lying bars with their values behind them, in panels below each other where units differ.
// Drawn by hand from a few rectangles, because that is all there is to it. The file brings its own background and
// follows the reader's dark or light setting, so that it can be read on any page that shows it as an image.

import { writeFileSync } from "node:fs";

export interface ChartRow {
  readonly label: string;
  readonly value: number;
  /** What stands behind the bar; default: the value and the panel's unit. */
  readonly text?: string;
  /** Bars of one series have one colour: 0 is what the chart is about, 1 and more what it is compared with. */
  readonly series?: 0 | 1 | 2 | 3;
  /** What the row was to reach, as a mark across its bar. */
  readonly target?: number;
  /** Leaves some room above the row, and writes this there. */
  readonly heading?: string;
}

/** A value that goes for all rows of a panel, as a dashed line through them. */
export interface ChartLine {
  readonly label: string;
  readonly value: number;
}

export interface ChartPanel {
  readonly title?: string;
  readonly unit: string;
  readonly rows: readonly ChartRow[];
  readonly lines?: readonly ChartLine[];
}

export interface Chart {
  readonly title: string;
  /** One line below the title: how it was measured. */
  readonly subtitle?: string;
  readonly panels: readonly ChartPanel[];
}

const WIDTH = 760;
const MARGIN = 20;
const ROW = 22;
const BAR = 14;
/** A character's width in the fonts below at 12 pixels; broad enough for all of them. */
const CHARACTER = 6.9;

const style = `
  svg { font: 12px ui-sans-serif, system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
  .ground { fill: #ffffff; stroke: #d0d7de; }
  text { fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .heading { font-weight: 600; }
  .faint { fill: #59636e; }
  .axis { stroke: #8c959f; }
  .line { stroke: #59636e; stroke-dasharray: 4 3; }
  .target { stroke: #cf222e; stroke-width: 2; }
  .s0 { fill: #0969da; } .s1 { fill: #8c959f; } .s2 { fill: #bf8700; } .s3 { fill: #8250df; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; stroke: #3d444d; }
    text { fill: #e6edf3; }
    .faint { fill: #9198a1; }
    .axis { stroke: #656c76; }
    .line { stroke: #9198a1; }
    .target { stroke: #f85149; }
    .s0 { fill: #4493f8; } .s1 { fill: #656c76; } .s2 { fill: #d29922; } .s3 { fill: #ab7df8; }
  }`;

export function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c] ?? c);
}

/** Three significant digits, thousands parted. */
export function format(value: number): string {
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en-US", { maximumFractionDigits: Math.min(digits, 6) });
}

function text(x: number, y: number, content: string, style = "", anchor = "start"): string {
  const classes = style === "" ? "" : ` class="${style}"`;
  const anchored = anchor === "start" ? "" : ` text-anchor="${anchor}"`;
  return `<text x="${fixed(x)}" y="${fixed(y)}"${classes}${anchored}>${escapeXml(content)}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, style: string): string {
  return `<line x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}" class="${style}"/>`;
}

function fixed(value: number): string {
  return String(Math.round(value * 10) / 10);
}

const width = (content: string) => content.length * CHARACTER;
const written = (row: ChartRow, unit: string) => row.text ?? `${format(row.value)} ${unit}`.trimEnd();

function drawPanel(panel: ChartPanel, top: number, labels: number): { parts: string[]; bottom: number } {
  const { title, unit, rows, lines = [] } = panel;
  const parts: string[] = [];
  let y = top;
  if (title !== undefined) {
    parts.push(text(MARGIN, y + 14, title, "heading"));
    y += 24;
  }
  const left = MARGIN + labels + 10;
  const texts = Math.max(...rows.map((row) => width(written(row, unit))));
  const most = Math.max(
    ...rows.flatMap(({ value, target = 0 }) => [value, target]),
    ...lines.map((l) => l.value),
  );
  const scale = most > 0 ? (WIDTH - MARGIN - texts - 8 - left) / most : 0;
  if (lines.length > 0) y += 16;
  const begin = y;
  for (const row of rows) {
    const { label, value, heading, series = 0, target } = row;
    if (heading !== undefined) {
      y += y === begin ? 0 : 6;
      parts.push(text(MARGIN, y + 14, heading, "faint"));
      y += 20;
    }
    const length = Math.max(0, value * scale);
    parts.push(text(left - 10, y + 15, label, "", "end"));
    parts.push(
      `<rect x="${fixed(left)}" y="${fixed(y + (ROW - BAR) / 2)}" width="${fixed(length)}" height="${BAR}" rx="2" class="s${series}"/>`,
    );
    if (target !== undefined)
      parts.push(line(left + target * scale, y + 1, left + target * scale, y + ROW - 1, "target"));
    const behind = Math.max(length, target !== undefined && target > value ? target * scale : 0);
    parts.push(text(left + behind + 6, y + 15, written(row, unit)));
    y += ROW;
  }
  parts.push(line(left, begin, left, y, "axis"));
  for (const { label, value } of lines) {
    parts.push(line(left + value * scale, begin - 2, left + value * scale, y, "line"));
    parts.push(text(left + value * scale, begin - 5, label, "faint", "middle"));
  }
  return { parts, bottom: y };
}

/** The whole SVG file. */
export function barChart(chart: Chart): string {
  const rows = chart.panels.flatMap((panel) => panel.rows);
  if (rows.length === 0) throw new Error(`no rows for the chart "${chart.title}"`);
  const bad = rows.find(({ value }) => !Number.isFinite(value) || value < 0);
  if (bad)
    throw new Error(`${bad.label} of the chart "${chart.title}" is ${bad.value}, which no bar can show`);
  // All panels begin at the same place.
  const labels = Math.max(...rows.map(({ label }) => width(label)));
  const parts = [text(MARGIN, 30, chart.title, "title")];
  let y = 42;
  if (chart.subtitle !== undefined) {
    parts.push(text(MARGIN, 48, chart.subtitle, "faint"));
    y = 60;
  }
  for (const panel of chart.panels) {
    const { parts: drawn, bottom } = drawPanel(panel, y, labels);
    parts.push(...drawn);
    y = bottom + 14;
  }
  if (rows.some(({ target }) => target !== undefined)) {
    parts.push(
      line(MARGIN + 4, y - 2, MARGIN + 4, y + 14, "target"),
      text(MARGIN + 12, y + 10, "asked for", "faint"),
    );
    y += 22;
  }
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img">`,
    `<title>${escapeXml(chart.title)}</title>`,
    `<style>${style}\n</style>`,
    `<rect x="0.5" y="0.5" width="${WIDTH - 1}" height="${y - 1}" rx="6" class="ground"/>`,
    ...parts,
    "</svg>",
  ].join("\n")}\n`;
}

/** What `--svg FILE` of a benchmark does. */
export function writeChart(file: string, chart: Chart): void {
  const svg = barChart(chart);
  try {
    writeFileSync(file, svg);
  } catch (error) {
    throw new Error(`--svg: ${(error as Error).message}`, { cause: error });
  }
}
