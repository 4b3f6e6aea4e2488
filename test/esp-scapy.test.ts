// Interoperability with an independent implementation of ESP, scapy, both ways, without a network: what Vita makes is
// decrypted by scapy, what scapy makes is received by Vita. Each suite runs with both crypto engines.

import { after, test } from "node:test";
import { ipsecMbUnavailable } from "../src/native/ipsec-mb.js";
import { content } from "./esp/content.js";
import { formats } from "./esp/formats.js";
import { replay } from "./esp/replay.js";
import { Scapy } from "./esp/scapy.js";
import { makeSuite } from "./esp/suite.js";

const scapy = new Scapy();
after(() => scapy.close());

const unavailable = ipsecMbUnavailable();
test("libIPSec_MB is there", { skip: unavailable ?? false }, () => {});

for (const engine of unavailable === undefined ? (["ipsec-mb", "node"] as const) : (["node"] as const)) {
  const suite = makeSuite(engine, scapy);
  formats(suite);
  replay(suite);
  content(suite);
}
