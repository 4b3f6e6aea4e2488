import assert from "node:assert/strict";
import { test } from "node:test";
import { barChart } from "./chart.js";
import { compare, quantile, type Row, summarize, table, tunnelChart } from "./tunnel-result.js";

const row = (system: string, ...[tcpGbps, tcpReverseGbps, udp64Kpps, pingMicros]: number[]): Row => ({
  system,
  tcpGbps,
  tcpReverseGbps,
  udp64Kpps,
  pingMicros,
  ping99Micros: 2 * pingMicros,
  cipher: "a cipher",
});

test("a quantile is one of the numbers", () => {
  assert.equal(quantile([1, 2, 3, 4], 0.5), 2);
  assert.equal(quantile([1, 2, 3, 4], 0.99), 4);
  assert.equal(quantile([7], 0.01), 7);
  assert.equal(quantile([], 0.5), 0);
});

test("of the rounds, the median counts, and of the pings, all", () => {
  const rounds = [3, 1, 2].map((n) => ({
    tcp: n * 1e9,
    tcpReverse: n * 2e9,
    udp: n * 1e5,
    roundTrips: [n / 10],
  }));
  assert.deepEqual(summarize("vita", "a cipher", rounds), {
    ...row("vita", 2, 4, 200, 200),
    ping99Micros: 300,
  });
});

test("Vita is compared with the best of the other tunnels in each respect, and not with the bare link", () => {
  const rows = [
    row("vita", 4, 4, 90, 150),
    row("a", 1, 0.5, 30, 300),
    row("b", 0.5, 2, 20, 100),
    row("veth", 20, 20, 200, 10),
  ];
  const [vita, ...others] = compare(rows);
  assert.deepEqual(vita.ratios, { tcp: 4, tcpReverse: 2, udp64: 3, ping: 1.5 });
  assert.ok(others.every(({ ratios }) => ratios === undefined));
  assert.match(table(compare(rows)), /vita to the best +4\.00 × +2\.00 × +3\.00 × +1\.50 ×/);
  assert.equal(compare([rows[0], rows[3]])[0].ratios, undefined);
});

test("Vita's two rows are compared with the others, and not with each other", () => {
  const rows = [row("vita", 4, 4, 90, 150), row("vita-udp", 6, 8, 120, 50), row("a", 1, 2, 30, 100)];
  const [vita, inUdp, other] = compare(rows);
  assert.deepEqual(vita.ratios, { tcp: 4, tcpReverse: 2, udp64: 3, ping: 1.5 });
  assert.deepEqual(inUdp.ratios, { tcp: 6, tcpReverse: 4, udp64: 4, ping: 0.5 });
  assert.equal(other.ratios, undefined);
  assert.match(table(compare(rows)), /vita-udp to the best +6\.00 × +4\.00 × +4\.00 × +0\.50 ×/);
  assert.equal(compare(rows.slice(0, 2))[1].ratios, undefined);
  const [tcp] = tunnelChart(rows, "here").panels;
  assert.deepEqual(
    tcp.rows.map(({ label, target }) => [label, target]),
    [
      ["Vita", 4],
      ["Vita, ESP in UDP", 4],
      ["a", undefined],
    ],
  );
});

test("the chart has a panel for each measurement, and marks what Vita is to reach", () => {
  const rows = [row("vita", 4, 4, 90, 150), row("a", 1, 0.5, 30, 300)];
  const chart = tunnelChart(rows, "here");
  assert.deepEqual(
    chart.panels.map(({ rows: [vita, other] }) => [vita.target, other.target]),
    [
      [4, undefined],
      [2, undefined],
      [90, undefined],
      [300, undefined],
    ],
  );
  assert.match(barChart(chart), />Vita<.*asked for/s);
});
