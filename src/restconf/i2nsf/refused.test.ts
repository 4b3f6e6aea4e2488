// What is right in ietf-i2nsf-ikeless and cannot be had of a node is refused with its path, and nothing changes.

import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import type { JsonObject } from "../json.js";
import { type Rig, startRig } from "../testing/rig.js";
import { checkRow } from "../testing/table.js";
import { both, errorAt, keys, left, root, selector, spd, tunnel } from "./testing/gateways.js";

type Document = ReturnType<typeof both>["ietf-i2nsf-ikeless:ipsec-ikeless"];
type Changing = JsonObject;

/** Both gateways' entries of the left one, with a change. */
function changed(change: (document: Document) => void): object {
  const document = structuredClone(both(left));
  change(document["ietf-i2nsf-ikeless:ipsec-ikeless"]);
  return document;
}

const policyOf = (document: Document, i: number) =>
  document.spd["spd-entry"][i]?.["ipsec-policy-config"] as unknown as Record<string, Changing>;
const saOf = (document: Document, i = 0) =>
  document.sad["sad-entry"][i]?.["ipsec-sa-config"] as unknown as Record<string, Changing>;

/** Changes both directions. */
const inPolicies = (change: (policy: Record<string, Changing>) => void) =>
  changed((document) => {
    for (const i of [0, 1]) change(policyOf(document, i));
  });
const inSa = (change: (sa: Record<string, Changing>) => void) =>
  changed((document) => change(saOf(document)));
const cfgOf = (policy: Record<string, Changing>) => policy["processing-info"]?.["ipsec-sa-cfg"] as Changing;

const policyAt = `${errorAt("spd", "out/site")}/ipsec-policy-config`;
const saAt = `${errorAt("sad", "out/34502")}/ipsec-sa-config`;

/** What is right and cannot be had: path, and the body of a PUT of everything. */
const refused: [title: string, errorPath: string, body: object][] = [
  [
    "transport mode of a policy",
    `${policyAt}/processing-info/ipsec-sa-cfg/mode`,
    inPolicies((policy) => {
      cfgOf(policy)["mode"] = "transport";
    }),
  ],
  [
    "a mode that is left out",
    `${saAt}/mode`,
    inSa((sa) => {
      delete sa["mode"];
    }),
  ],
  [
    "ports of a policy that protects",
    `${policyAt}/traffic-selector/local-ports`,
    inPolicies((policy) => {
      policy["traffic-selector"] = {
        ...selector(left),
        "inner-protocol": "any",
        "local-ports": [{ start: 80, end: 80 }],
      };
    }),
  ],
  [
    "a protocol of a policy that protects",
    `${policyAt}/traffic-selector/inner-protocol`,
    inPolicies((policy) => {
      policy["traffic-selector"] = { ...selector(left), "inner-protocol": 6 };
    }),
  ],
  [
    "a DF bit that is cleared",
    `${policyAt}/processing-info/ipsec-sa-cfg/tunnel/df-bit`,
    inPolicies((policy) => {
      cfgOf(policy)["tunnel"] = { ...tunnel(left), "df-bit": "clear" };
    }),
  ],
  [
    "populate from packet",
    `${policyAt}/processing-info/ipsec-sa-cfg/pfp-flag`,
    inPolicies((policy) => {
      cfgOf(policy)["pfp-flag"] = true;
    }),
  ],
  [
    "DSCP mapping",
    `${policyAt}/processing-info/ipsec-sa-cfg/tunnel/dscp-mapping`,
    inPolicies((policy) => {
      cfgOf(policy)["tunnel"] = { ...tunnel(left), "dscp-mapping": [] };
    }),
  ],
  [
    "algorithms that the SAs have not",
    `${policyAt}/processing-info/ipsec-sa-cfg/esp-algorithms/encryption`,
    inPolicies((policy) => {
      cfgOf(policy)["esp-algorithms"] = { encryption: [{ id: 1, "algorithm-type": 20, "key-length": 256 }] };
    }),
  ],
  [
    "a replay window that the SAs have not",
    `${policyAt}/anti-replay-window-size`,
    inPolicies((policy) => {
      policy["anti-replay-window-size"] = 32 as unknown as JsonObject;
    }),
  ],
  [
    "one direction alone",
    errorAt("spd", "out/site"),
    changed((document) => {
      document.spd["spd-entry"].pop();
    }),
  ],
  [
    "directions that differ",
    `${policyAt}/traffic-selector/local-prefix`,
    changed((document) => {
      policyOf(document, 1)["traffic-selector"] = {
        "local-prefix": "192.0.2.0/26",
        "remote-prefix": left.farNet,
        "inner-protocol": "any",
      };
    }),
  ],
  [
    "a name of another form",
    `${errorAt("spd", "tunnel")}/name`,
    changed((document) => {
      document.spd["spd-entry"][0] = spd(left, "out", { name: "tunnel" });
    }),
  ],
  [
    "a policy without reqid",
    `${errorAt("spd", "out/site")}/reqid`,
    changed((document) => {
      document.spd["spd-entry"] = [spd(left, "out", { reqid: "0" }), spd(left, "in", { reqid: "0" })];
    }),
  ],
  [
    "an SA of another reqid",
    `${errorAt("sad", "out/34502")}/reqid`,
    changed((document) => {
      const [entry] = document.sad["sad-entry"];
      if (entry) entry.reqid = "2";
    }),
  ],
  [
    "an SA with a name of another form",
    `${errorAt("sad", "sa")}/name`,
    changed((document) => {
      const [entry] = document.sad["sad-entry"];
      if (entry) entry.name = "sa";
    }),
  ],
  [
    "an SA's other selector",
    `${saAt}/traffic-selector/local-prefix`,
    inSa((sa) => {
      sa["traffic-selector"] = { "local-prefix": "192.0.2.0/26", "remote-prefix": left.farNet };
    }),
  ],
  [
    "an SA's ports",
    `${saAt}/traffic-selector/remote-ports`,
    inSa((sa) => {
      sa["traffic-selector"] = { ...selector(left), "remote-ports": [{ start: 1, end: 2 }] };
    }),
  ],
  [
    "an SA's other tunnel",
    `${saAt}/tunnel/remote`,
    inSa((sa) => {
      sa["tunnel"] = { ...tunnel(left), remote: "203.0.113.3" };
    }),
  ],
  [
    "a lifetime",
    `${saAt}/sa-lifetime-hard/time`,
    inSa((sa) => {
      sa["sa-lifetime-hard"] = { time: 3600 };
    }),
  ],
  [
    "an action at a soft lifetime",
    `${saAt}/sa-lifetime-soft/action`,
    inSa((sa) => {
      sa["sa-lifetime-soft"] = { action: "replace" };
    }),
  ],
  [
    "sequence numbers that roll over",
    `${saAt}/seq-overflow`,
    inSa((sa) => {
      sa["seq-overflow"] = true as unknown as JsonObject;
    }),
  ],
  [
    "encapsulation in UDP",
    `${saAt}/encapsulation-type/espencap`,
    inSa((sa) => {
      sa["encapsulation-type"] = { espencap: "espinudp" };
    }),
  ],
  [
    "an IV",
    `${saAt}/esp-sa/encryption/iv`,
    inSa((sa) => {
      sa["esp-sa"] = { encryption: { "encryption-algorithm": 20, key: keys[1], iv: "00:11" } };
    }),
  ],
  [
    "3DES",
    `${saAt}/esp-sa/encryption/encryption-algorithm`,
    inSa((sa) => {
      sa["esp-sa"] = { encryption: { "encryption-algorithm": 3, key: keys[1] } };
    }),
  ],
  [
    "HMAC-SHA-1",
    `${saAt}/esp-sa/integrity/integrity-algorithm`,
    inSa((sa) => {
      sa["esp-sa"] = { encryption: { key: keys[1] }, integrity: { "integrity-algorithm": 2, key: keys[1] } };
    }),
  ],
  [
    "an AEAD with a key for integrity",
    `${saAt}/esp-sa/integrity`,
    inSa((sa) => {
      sa["esp-sa"] = {
        encryption: { "encryption-algorithm": 20, key: keys[1] },
        integrity: { key: keys[0] },
      };
    }),
  ],
  [
    "an outbound SA's replay window",
    `${saAt}/anti-replay-window-size`,
    inSa((sa) => {
      sa["anti-replay-window-size"] = 128 as unknown as JsonObject;
    }),
  ],
];

let rig: Rig;
before(async () => {
  rig = await startRig();
  const reply = await rig.ask(root, { method: "PUT", body: both(left) });
  assert.equal(reply.status, 204, reply.text);
});
after(() => rig.close());

for (const [title, errorPath, body] of refused) {
  it(`is refused: ${title}`, async () => {
    const { number } = rig.datastore;
    const expected = { status: 501, tag: "operation-not-supported", errorPath };
    await checkRow(rig, { path: root, method: "PUT", body, ...expected });
    assert.equal(rig.datastore.number, number);
  });
}
