import assert from "node:assert/strict";
import { test } from "node:test";
import { barChart, type Chart, format } from "./chart.js";

const chart: Chart = {
  title: "TCP & <UDP>",
  subtitle: "both ways",
  panels: [
    {
      title: "TCP",
      unit: "Gbit/s",
      rows: [
        { label: "Vita", value: 3, target: 4, heading: "one worker" },
        { label: "wireguard-go", value: 0.5, series: 1 },
      ],
      lines: [{ label: "veth", value: 6 }],
    },
    { unit: "", rows: [{ label: "nothing", value: 0, text: "none" }] },
  ],
};

/** Throws unless each element that begins ends, in the right order, and no markup came in with the text. */
function checkNesting(svg: string): void {
  const open: string[] = [];
  for (const [, end, name, , closed] of svg.matchAll(
    /<(\/?)([a-z]+)((?:\s[a-zA-Z0-9:-]+="[^"<]*")*)\s*(\/?)>/g,
  )) {
    if (end) assert.equal(open.pop(), name);
    else if (!closed) open.push(name);
  }
  assert.deepEqual(open, []);
  assert.equal(svg.match(/</g)?.length, svg.match(/<\/?[a-z]+[^<>]*>/g)?.length);
}

test("bars are as long as their values say, and within the picture", () => {
  const svg = barChart(chart);
  checkNesting(svg);
  const bars = [...svg.matchAll(/<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="14"/g)];
  const [vita, other, nothing] = bars.map(([, , width]) => Number(width));
  assert.ok(vita > 0 && Math.abs(vita - 6 * other) < 0.5, `${vita} and ${other}`);
  assert.equal(nothing, 0);
  const veth = Number(/<line x1="([\d.]+)"[^>]*class="line"/.exec(svg)?.[1]);
  assert.ok(Math.abs(veth - Number(bars[0][1]) - 2 * vita) < 0.5);
  assert.ok(veth < 760);
  for (const text of ["TCP &amp; &lt;UDP&gt;", "one worker", "3 Gbit/s", "0.5 Gbit/s", ">none<", "asked for"])
    assert.ok(svg.includes(text), text);
});

test("what no bar can show is refused", () => {
  const rows = (value: number) => ({ title: "x", panels: [{ unit: "", rows: [{ label: "y", value }] }] });
  assert.throws(() => barChart(rows(Number.NaN)), /y of the chart "x" is NaN/);
  assert.throws(() => barChart(rows(-1)), /is -1/);
  assert.throws(() => barChart({ title: "x", panels: [] }), /no rows/);
});

test("numbers keep three digits", () => {
  assert.deepEqual([0, 0.1234, 9.876, 98.76, 12_345.6].map(format), ["0", "0.123", "9.88", "98.8", "12,346"]);
});
