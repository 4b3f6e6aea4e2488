import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress } from "./address.js";
import { parseSelector, prefixSelector } from "./ip-selector.js";

const names = {
  protocol: (name: string) => ({ tcp: 6, udp: 17, icmp: 1 })[name],
  port: (name: string) => ({ domain: 53 })[name],
};

function told(text: string): string | undefined {
  const selector = parseSelector(text, names);
  if (!selector) return undefined;
  const { from, to, protocol, fromPort, toPort } = selector;
  return `${formatAddress(from)} ${formatAddress(to)} ${protocol} ${fromPort} ${toPort}`;
}

test("selectors as swanctl.conf has them", () => {
  for (const [text, expected] of [
    ["10.1.2.3", "10.1.2.3 10.1.2.3 0 0 65535"],
    ["10.1.0.0/16", "10.1.0.0 10.1.255.255 0 0 65535"],
    ["10.1.2.3/16", "10.1.0.0 10.1.255.255 0 0 65535"],
    ["0.0.0.0/0[any/any]", "0.0.0.0 255.255.255.255 0 0 65535"],
    ["10.0.0.5-10.0.0.9", "10.0.0.5 10.0.0.9 0 0 65535"],
    ["2001:db8::/33[udp]", "2001:db8:: 2001:db8:7fff:ffff:ffff:ffff:ffff:ffff 17 0 65535"],
    ["2001:db8::1-2001:db8::5[]", "2001:db8::1 2001:db8::5 0 0 65535"],
    ["::/0[17/domain]", ":: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 17 53 53"],
    ["::/0[/443]", ":: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 0 443 443"],
    ["10.0.0.0/8[tcp/1000-2000]", "10.0.0.0 10.255.255.255 6 1000 2000"],
    ["10.0.0.0/8[tcp/%any]", "10.0.0.0 10.255.255.255 6 0 65535"],
    ["10.0.0.0/8[icmp/2048]", "10.0.0.0 10.255.255.255 1 2048 2048"],
    ["10.0.0.0/8[udp/opaque]", "10.0.0.0 10.255.255.255 17 65535 0"],
  ])
    assert.equal(told(text), expected, text);
});

test("what is no selector", () => {
  for (const text of [
    "",
    "dynamic",
    "10.1.0.0/33",
    "2001:db8::/129",
    "10.0.0.9-10.0.0.5",
    "10.0.0.5-2001:db8::1",
    "10.0.0.1-10.0.0.2-10.0.0.3",
    "10.0.0.0/8/9",
    "10.0.0.0/8[sctpx]",
    "10.0.0.0/8[256]",
    "10.0.0.0/8[udp/65536]",
    "10.0.0.0/8[udp/9-5]",
    "10.0.0.0/8[udp/no-such]",
    "10.0.0.0/8[udp",
    "10.0.0.0/8[udp/1]x",
    "[udp]",
  ])
    assert.equal(told(text), undefined, text);
});

test("prefixes of a route carry everything", () => {
  assert.deepEqual(prefixSelector("10.1.0.0/16"), parseSelector("10.1.0.0/16", names));
  assert.equal(prefixSelector("10.1.0.0/16[udp]"), undefined);
});
