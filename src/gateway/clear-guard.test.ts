import assert from "node:assert/strict";
import { test } from "node:test";
import { policyRequest } from "../ipsec/testing/requests.js";
import { ruleOf } from "./clear-guard.js";

test("policies as rules of the kernel's packet filter", () => {
  const cases: [from: string, to: string, type: number, rule: string][] = [
    ["192.0.2.2/32", "192.0.2.1/32", 1, "ip saddr 192.0.2.2 ip daddr 192.0.2.1 drop"],
    ["192.0.2.0/30", "192.0.2.1/32", 2, "ip saddr 192.0.2.0-192.0.2.3 ip daddr 192.0.2.1 return"],
    ["2001:db8::2/128", "2001:db8::1/128", 3, "ip6 saddr 2001:db8::2 ip6 daddr 2001:db8::1 drop"],
    [
      "192.0.2.2/32[tcp]",
      "192.0.2.1/32[tcp/80]",
      1,
      "ip saddr 192.0.2.2 ip daddr 192.0.2.1 meta l4proto 6 @th,16,16 80 drop",
    ],
    [
      "192.0.2.2/32[udp/1-9]",
      "192.0.2.1/32[udp/opaque]",
      1,
      "ip saddr 192.0.2.2 ip daddr 192.0.2.1 meta l4proto 17 @th,0,16 1-9 drop",
    ],
    [
      "192.0.2.2/32[icmp/8.0]",
      "192.0.2.1/32[icmp/8.0]",
      1,
      "ip saddr 192.0.2.2 ip daddr 192.0.2.1 meta l4proto 1 @th,0,16 2048 drop",
    ],
  ];
  for (const [from, to, type, rule] of cases)
    assert.equal(ruleOf(policyRequest({ direction: 0, mode: 1, from, to, type })), rule);
});
