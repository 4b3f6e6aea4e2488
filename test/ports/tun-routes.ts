// Policies come and go; prints the routes that the kernel has for them after each step.

import { execFileSync } from "node:child_process";
import { TunRoutes } from "../../src/gateway/tun-routes.js";
import { UNBOUND } from "../../src/ipsec/binding.js";
import { policyRequest } from "../../src/ipsec/testing/requests.js";
import { report } from "./child.js";

const TABLE = 4711;
const warnings: string[] = [];
const logger = { info: () => {}, warn: (text: string) => warnings.push(text) };
const routes = new TunRoutes({
  isShared: false,
  device: "vita9",
  mtu: 1400,
  table: TABLE,
  transportTable: TABLE + 2,
  binding: UNBOUND,
  keep: false,
  log: logger,
});

function table(): string[] {
  const list = (family: string) =>
    execFileSync("ip", [family, "route", "show", "table", String(TABLE)], { encoding: "utf8" });
  return `${list("-4")}${list("-6")}`
    .split("\n")
    .map((line) => line.replace(/ (proto|metric|pref) \S+| linkdown/g, "").trim())
    .filter((line) => line !== "");
}

const plain = policyRequest({ from: "10.9.0.0/24", to: "10.2.0.0/16" });
const whole = policyRequest({ from: "10.9.0.0/24", to: "0.0.0.0/0" });
const six = policyRequest({ from: "2001:db8::/64", to: "2001:db8:1::/48", src: "192.0.2.1" });
routes.change(plain, true);
routes.change(plain, true);
routes.change(whole, true);
routes.change(six, true);
const all = table();
routes.change(plain, false);
routes.change(whole, false);
routes.change(six, false);
const still = table();
routes.change(plain, false);
const none = table();

const begin = performance.now();
const many = Array.from({ length: 2000 }, (_, i) =>
  policyRequest({ from: "10.9.0.0/24", to: `172.16.${i >> 6}.${(i & 63) * 4}/30` }),
);
for (const policy of many) routes.change(policy, true);
const milliseconds = performance.now() - begin;
const count = table().length;
for (const policy of many) routes.change(policy, false);
const left = table().length;
routes.close();
report({ all, still, none, count, left, milliseconds, warnings });
