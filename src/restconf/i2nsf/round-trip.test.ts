// Whatever is written reads back equal, whatever was there before: over the part of ietf-i2nsf-ikeless that a node has, and
// through a real tree of the model.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Aead, InboundSa, SecurityPolicy, StaticRoute, StaticSa } from "../../config/configuration.js";
import { Schema } from "../../config/schema.js";
import { Tree } from "../../config/tree.js";
import type { Json, JsonObject } from "../json.js";
import { complete } from "./complete.js";
import { decode } from "./decode.js";
import { editsBetween } from "./edits.js";
import { type Ikeless, sadOf, spdOf } from "./entries.js";
import { ikelessRoot } from "./model.js";
import { listsOf } from "./translate.js";
import { type Lists, viewOf } from "./view.js";

const keyBytes: Record<Aead, readonly number[]> = {
  "aes-gcm-16-icv": [16, 24, 32],
  "aes-256-gcm-16-icv": [32],
  "chacha20-poly1305": [32],
  "aes-cbc-hmac-sha2-256-128": [16, 24, 32],
  "aes-cbc-hmac-sha2-384-192": [16, 24, 32],
  "aes-cbc-hmac-sha2-512-256": [16, 24, 32],
};
const integrityBytes: Partial<Record<Aead, number>> = {
  "aes-cbc-hmac-sha2-256-128": 32,
  "aes-cbc-hmac-sha2-384-192": 48,
  "aes-cbc-hmac-sha2-512-256": 64,
};

/** Of some bytes, which no other text gives. */
const digits = (text: string, bytes: number) =>
  createHash("shake256", { outputLength: bytes }).update(text).digest("hex");

/** Two SAs never have the same key; one SA has one of two. */
const keyMaterial = (name: string) =>
  fc
    .tuple(fc.constantFrom(...(Object.keys(keyBytes) as Aead[])), fc.nat(2), fc.boolean(), fc.boolean())
    .map(([aead, choice, isOther, isUpper]) => {
      const text = `${name} ${isOther}`;
      const lengths = keyBytes[aead];
      const key = digits(`${text} key`, lengths[choice % lengths.length] as number);
      const integrity = integrityBytes[aead];
      return {
        aead,
        key: isUpper ? key.toUpperCase() : key,
        ...(integrity === undefined
          ? { salt: digits(`${text} salt`, 4) }
          : { "integrity-key": digits(`${text} integrity`, integrity) }),
      };
    });

const routeOf = (n: number): fc.Arbitrary<StaticRoute> => {
  const [net, all, own] =
    n % 2 === 0
      ? [`10.${n}.0.0/16`, "0.0.0.0/0", "172.16.0.0/12"]
      : [`2001:db8:${n}::/48`, "::/0", "2001:db8:ff::/48"];
  return fc
    .record({
      localNet: fc.constantFrom<string[]>([], [all ?? ""], [own ?? ""]),
      isOver6: fc.boolean(),
      hasLocal: fc.boolean(),
      reqid: fc.constantFrom(undefined, `${n + 1}`, `${2n ** 64n - BigInt(n + 1)}`),
      interfaceId: fc.constantFrom(0, 0, 0, 7),
    })
    .map(({ localNet, isOver6, hasLocal, reqid, interfaceId }) => ({
      id: `r${n}`,
      net: [net ?? ""],
      "local-net": localNet,
      gateway: { ip: isOver6 ? `2001:db8::${n + 1}` : `192.0.2.${n + 1}` },
      ...(hasLocal && { "local-ip": isOver6 ? "2001:db8::ff" : "192.0.2.200" }),
      ...(reqid !== undefined && { "controller-reqid": reqid }),
      "if-id": interfaceId,
      mark: 0,
    }));
};

const saOf = (way: string, n: number, routes: readonly StaticRoute[]): fc.Arbitrary<StaticSa> =>
  fc
    .tuple(keyMaterial(`${way} ${n}`), fc.constantFrom(...routes.map(({ id }) => id)), fc.boolean())
    .map(([material, route, esn]) => ({ spi: 1000 + n, route, esn, ...material }));

const policyOf = (n: number) =>
  fc
    .record({
      action: fc.constantFrom("bypass" as const, "discard" as const),
      protocol: fc.constantFrom("", "[6]", "[tcp]", "[17/53]", "[udp/1000-2000]"),
      length: fc.constantFrom(24, 32),
    })
    .map(
      ({ action, protocol, length }): SecurityPolicy => ({
        id: `p${n}`,
        action,
        "local-ts": [`172.31.${n}.0/${length}${protocol.replace(/\/.*\]/, "]")}`],
        "remote-ts": [`198.51.100.${n}${protocol}`],
        "if-id": 0,
        mark: 0,
      }),
    );

const several = <T>(most: number, make: (n: number) => fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.nat(most).chain((count) => fc.tuple(...Array.from({ length: count }, (_, n) => make(n))));

const lists: fc.Arbitrary<Lists> = several(4, routeOf).chain((routes) =>
  fc.record({
    route: fc.constant(routes),
    "inbound-sa": several(routes.length > 0 ? 5 : 0, (n) =>
      fc
        .tuple(saOf("in", n, routes), fc.constantFrom(0, 64, 4096))
        .map(([sa, window]): InboundSa => ({ ...sa, "replay-window": window })),
    ),
    "outbound-sa": fc
      .tuple(...routes.map((route, n) => fc.option(saOf("out", n, [route]))))
      .map((sas) => sas.filter((sa) => sa !== null)),
    "security-policy": several(3, policyOf),
  }),
);

/** As a client sends it. */
function written(view: Ikeless): Ikeless {
  const decoded = decode(ikelessRoot, JSON.parse(JSON.stringify(view)) as Json, ikelessRoot.path);
  return complete(decoded as JsonObject) as unknown as Ikeless;
}

const byName = (view: Ikeless) =>
  new Map(
    [...spdOf(view), ...sadOf(view)].map((entry) => [
      `${"direction" in entry ? "spd" : "sad"} ${entry.name}`,
      entry,
    ]),
  );

const fixed = {
  node: "alpha",
  "public-interface": [{ name: "wan0" }],
  "private-interface": [{ name: "lan0" }],
};

describe("what is written in ietf-i2nsf-ikeless", () => {
  it("reads back equal, whatever was there before", () => {
    const schema = Schema.load();
    fc.assert(
      fc.property(lists, lists, (before, after) => {
        // Routes that are not shown stay, and may not be named.
        const hidden = new Set(before.route.filter((route) => route["if-id"] !== 0).map(({ id }) => id));
        const shown = viewOf(withoutRoutes(after, hidden));
        const names = new Set(
          before["inbound-sa"]
            .concat(before["outbound-sa"] as InboundSa[])
            .filter(({ route }) => hidden.has(route))
            .map(({ spi }) => spi),
        );
        fc.pre(sadOf(shown).every((entry) => !names.has(entry["ipsec-sa-config"].spi)));
        const wanted = written(shown);
        const to = listsOf(before, wanted);
        assert.deepEqual(byName(viewOf(to)), byName(wanted));

        const tree = Tree.parse(schema, JSON.stringify({ ...fixed, ...before }), "json", { source: "test" });
        try {
          tree.validate();
          for (const edit of editsBetween(before, to)) tree.apply(edit);
          tree.validate();
          assert.deepEqual(byName(viewOf(tree.toConfiguration())), byName(wanted));
        } finally {
          tree.free();
        }
      }),
      { numRuns: 150, includeErrorInReport: true },
    );
  });

  it("changes nothing when it is what was read", () => {
    fc.assert(
      fc.property(lists, (before) => {
        assert.deepEqual(editsBetween(before, listsOf(before, written(viewOf(before)))), []);
        assert.deepEqual(editsBetween(before, listsOf(before, written(viewOf(before, false)))), []);
      }),
      { numRuns: 150, includeErrorInReport: true },
    );
  });
});

function withoutRoutes(all: Lists, ids: ReadonlySet<string>): Lists {
  const isOther = ({ route }: StaticSa) => !ids.has(route);
  return {
    route: all.route.filter(({ id }) => !ids.has(id)),
    "inbound-sa": all["inbound-sa"].filter(isOther),
    "outbound-sa": all["outbound-sa"].filter(isOther),
    "security-policy": all["security-policy"],
  };
}
