import assert from "node:assert/strict";
import { test } from "node:test";
import type { Configuration } from "../config/configuration.js";
import { parseConfiguration } from "../config/load.js";
import { type Change, changeOf } from "./change.js";

type Edit = (configuration: Configuration) => Partial<Configuration>;

const usual = parseConfiguration(
  JSON.stringify({
    node: "a",
    "public-interface": [{ name: "wan0" }],
    "private-interface": [{ name: "lan0" }, { name: "vita0", driver: "tun" }],
  }),
  "test",
);
const [lan, tun] = usual["private-interface"];
const [wan] = usual["public-interface"];

const nothing: Change = {
  workers: "go on",
  memory: false,
  databases: false,
  system: false,
  cpus: false,
  kernel: false,
  charon: false,
};

const changes: [string, Edit, Partial<Change>][] = [
  ["nothing", () => ({}), {}],
  [
    "routes, connections and RESTCONF",
    () => ({
      route: [
        { id: "r", net: ["10.2.0.0/16"], "local-net": [], gateway: { ip: "192.0.2.2" }, "if-id": 0, mark: 0 },
      ],
      pool: [{ id: "p", addresses: "10.3.0.0/24", dns: [] }],
      restconf: {},
      charon: { vici: "/run/x" },
    }),
    {},
  ],
  ["orphan-seconds", (c) => ({ limits: { ...c.limits, "orphan-seconds": 5 } }), { kernel: true }],
  ["data-plane", () => ({ "data-plane": true }), { charon: true }],
  ["worker-cpu", () => ({ "worker-cpu": [1] }), { cpus: true }],
  ["busy-poll", () => ({ "busy-poll": true }), { workers: "one by one" }],
  ["mtu", () => ({ mtu: 1300 }), { workers: "one by one" }],
  ["the tun device's mtu", () => ({ "private-interface": [lan, { ...tun, mtu: 1300 }] }), { system: true }],
  ["route-table", () => ({ "route-table": 300 }), { system: true }],
  ["workers", () => ({ workers: 2 }), { workers: "together", memory: true, system: true }],
  ["frames", (c) => ({ limits: { ...c.limits, frames: 1024 } }), { workers: "together", memory: true }],
  [
    "sas",
    (c) => ({ limits: { ...c.limits, sas: 100 } }),
    { workers: "together", databases: true, system: true, charon: true },
  ],
  [
    "the engine",
    () => ({ engine: "node" }),
    { workers: "together", databases: true, system: true, charon: true },
  ],
  ["the engine that `auto` takes anyhow", () => ({ engine: "ipsec-mb" }), {}],
  [
    "a driver",
    () => ({ "private-interface": [{ ...lan, driver: "packet" }, tun] }),
    { workers: "together", kernel: true },
  ],
  [
    "the public interface's driver",
    () => ({ "public-interface": [{ ...wan, driver: "packet" }] }),
    { workers: "together", system: true, kernel: true },
  ],
];

for (const [what, edit, expected] of changes)
  test(`a change of ${what}, and back`, () => {
    const other = { ...usual, ...edit(usual) };
    const engineOf = ({ engine }: Configuration) => (engine === "node" ? 2 : 1);
    for (const change of [changeOf(usual, other, engineOf), changeOf(other, usual, engineOf)])
      assert.deepEqual(change, { ...nothing, ...expected });
  });
