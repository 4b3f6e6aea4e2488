// The network monitor in a namespace of its own: one change after the other, and what is told about it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { withLab } from "../src/lab/lab.js";
import { createLink } from "../src/lab/netns.js";
import { runInside } from "./ports/child.js";

interface Log {
  steps: Record<string, string[]>;
  flooded: { told: number; distinct: number; milliseconds: number };
  flushed: { told: number; removed: number };
}

/** What is told about steps whose order the kernel fixes. */
const exact: Record<string, string[]> = {
  route: ["+route unicast 10.1.0.0/16 via 192.0.2.2 p0 5"],
  replace: ["-route unicast 10.1.0.0/16 via 192.0.2.2 p0 5", "+route unicast 10.1.0.0/16 via 192.0.2.3 p0 5"],
  blackhole: ["-route unicast 10.1.0.0/16 via 192.0.2.3 p0 5", "+route unreachable 10.1.0.0/16 0 5"],
  delete: ["-route unreachable 10.1.0.0/16 0 5"],
  "other table": [],
  multipath: ["+route unicast 10.2.0.0/16 via 192.0.2.2 p0 0"],
  "route via IPv6": ["+route unicast 10.3.0.0/16 via 2001:db8::2 p0 0"],
  "IPv6 route": ["+route unicast 2001:db8:1::/48 via 2001:db8::2 p0 1024"],
  "first of appended leaves": [
    "-route unicast 10.4.0.0/16 via 192.0.2.2 p0 0",
    "+route unicast 10.4.0.0/16 via 192.0.2.3 p0 0",
  ],
  "static neighbour": ["neighbour p0 192.0.2.9 020000000009"],
  "neighbour leaves": ["neighbour p0 192.0.2.9 none"],
  "to the other device": [
    "+route unicast 10.6.0.0/16 p0 0",
    "-route unicast 10.6.0.0/16 p0 0",
    "+route unicast 10.6.0.0/16 q0 0",
  ],
  "the first device's route leaves": ["-route unicast 192.0.2.0/24 p0 0"],
  "and comes back first": ["+route unicast 192.0.2.0/24 p0 0"],
  "use of what is not there": [],
};

/** What has to be among what is told. */
const among: Record<string, string[]> = {
  start: [
    "+link p0 1500 up",
    "+address p0 192.0.2.1/24",
    "+address p0 2001:db8::1/64",
    "+route unicast 192.0.2.0/24 p0 0",
    "+route local 192.0.2.1/32 p0 0",
    "+route broadcast 192.0.2.255/32 p0 0",
    "+route unicast 2001:db8::/64 p0 256",
    "+route local 2001:db8::1/128 p0 0",
  ],
  address: ["+address p0 198.51.100.1/24", "+route local 198.51.100.1/32 p0 0"],
  // The kernel tells about the address, and says nothing of the route that goes with it.
  "address leaves with the route": [
    "-address p0 198.51.100.1/24",
    "-route unicast 10.5.0.0/16 via 192.0.2.2 p0 0",
  ],
  // Two connected routes of one prefix, on two devices, are two routes.
  "other device": ["+route unicast 192.0.2.0/24 q0 0 behind"],
  "other device leaves": [
    "-route unicast 192.0.2.0/24 q0 0",
    "-route unicast 10.6.0.0/16 q0 0",
    "-link q0 1500 down",
  ],
  // The same with IPv4 routes over an interface.
  down: [
    "+link p0 1500 down",
    "-route unicast 192.0.2.0/24 p0 0",
    "-route unicast 10.2.0.0/16 via 192.0.2.2 p0 0",
    "-route unicast 10.4.0.0/16 via 192.0.2.3 p0 0",
    "-route unicast 2001:db8:1::/48 via 2001:db8::3 p0 1024",
    "-address p0 2001:db8::1/64",
    "neighbour p0 192.0.2.2 none",
  ],
  up: ["+link p0 1500 up", "+route unicast 192.0.2.0/24 p0 0"],
  "link leaves": ["-link p0 1500 down", "-address p0 192.0.2.1/24", "-route unicast 192.0.2.0/24 p0 0"],
};

test("tells links, addresses, routes and neighbours, and nothing twice", async (t) => {
  await withLab("monitor", async (lab) => {
    const [a, b] = [await lab.namespace("a"), await lab.namespace("b")];
    await createLink(
      { namespace: a, device: "p0", addresses: ["192.0.2.1/24", "2001:db8::1/64"] },
      { namespace: b, device: "p1", addresses: ["192.0.2.2/24", "2001:db8::2/64"] },
    );
    const { steps, flooded, flushed } = await runInside<Log>(a, "monitor-log");
    assert.equal(steps["start"][0], "reset");
    for (const [title, lines] of Object.entries(exact)) assert.deepEqual(steps[title], lines, title);
    for (const [title, lines] of Object.entries(among))
      for (const line of lines)
        assert.ok(steps[title].includes(line), `${title}: ${line} is not in\n${steps[title].join("\n")}`);

    for (const family of ["192.0.2.2", "2001:db8::2"]) {
      const title = family.includes(":") ? "use IPv6" : "use IPv4";
      assert.equal(steps[title].length, 1, title);
      assert.match(steps[title][0], new RegExp(`^neighbour p0 ${family} [0-9a-f]{12}$`));
    }

    // Every +route has at most one state: the listener never hears twice of the same thing.
    const present = new Set<string>();
    for (const line of Object.values(steps).flat()) {
      if (!line.includes("route ")) continue;
      const route = line.slice(1).replace(/ behind$/, "");
      assert.notEqual(present.has(route), line.startsWith("+"), line);
      if (line.startsWith("+")) present.add(route);
      else present.delete(route);
    }

    t.diagnostic(`30,000 routes after lost messages: ${Math.round(flooded.milliseconds)} ms`);
    assert.deepEqual([flooded.told, flooded.distinct], [30_000, 30_000], "lost messages are made good");
    assert.deepEqual(flushed, { told: 0, removed: 30_000 });
  });
});
