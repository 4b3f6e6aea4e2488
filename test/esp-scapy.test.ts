// Interoperability with an independent implementation of ESP, scapy, both ways, without a network: what Vita makes is
// decrypted by scapy, what scapy makes is received by Vita. Each suite runs with both crypto engines.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { classifyCounters } from "../src/apps/classify.js";
import { fragmentCounters } from "../src/apps/fragment.js";
import { holdCounters } from "../src/apps/hold-queue.js";
import { icmpErrorCounters } from "../src/apps/icmp-errors.js";
import { ipInputCounters } from "../src/apps/ip-input.js";
import { nextHopCounters } from "../src/apps/next-hops.js";
import { protectCounters } from "../src/apps/protect.js";
import { routeCounters } from "../src/apps/route.js";
import { transmitCounters } from "../src/apps/transmit.js";
import type { CounterTexts } from "../src/engine/app.js";
import { linkCounters } from "../src/gateway/graph.js";
import { decapsulateCounters } from "../src/ipsec/decapsulate.js";
import { encapsulateCounters } from "../src/ipsec/encapsulate.js";
import { ipsecMbUnavailable } from "../src/native/ipsec-mb.js";
import { ciphers } from "./esp/ciphers.js";
import { content } from "./esp/content.js";
import { domains } from "./esp/domains.js";
import { early } from "./esp/early.js";
import { errors } from "./esp/errors.js";
import { formats } from "./esp/formats.js";
import { everyCounter } from "./esp/gateway.js";
import { hub } from "./esp/hub.js";
import { outer } from "./esp/outer.js";
import { plumbing } from "./esp/plumbing.js";
import { replay } from "./esp/replay.js";
import { Scapy } from "./esp/scapy.js";
import { selectors } from "./esp/selectors.js";
import { makeSuite } from "./esp/suite.js";
import { transport } from "./esp/transport.js";
import { waiting } from "./esp/waiting.js";

const scapy = new Scapy();
after(() => scapy.close());

const unavailable = ipsecMbUnavailable();
test("libIPSec_MB is there", { skip: unavailable ?? false }, () => {});

for (const engine of unavailable === undefined ? (["ipsec-mb", "node"] as const) : (["node"] as const)) {
  const suite = makeSuite(engine, scapy);
  formats(suite);
  ciphers(suite);
  replay(suite);
  content(suite);
  selectors(suite);
  outer(suite);
  errors(suite);
  plumbing(suite);
  transport(suite);
  domains(suite);
  hub(suite);
  early(suite);
  waiting(suite);
}

test("every packet that can end in these apps did, once at least, in some test above", () => {
  const apps: Record<string, CounterTexts> = {
    classify: classifyCounters,
    decapsulate: decapsulateCounters,
    encapsulate: encapsulateCounters,
    fib: nextHopCounters,
    fragment: fragmentCounters,
    hold: holdCounters,
    "icmp-errors": icmpErrorCounters,
    "ip-input": ipInputCounters,
    link: linkCounters,
    protect: protectCounters,
    route: routeCounters,
    transmit: transmitCounters,
  };
  const never = Object.entries(apps)
    .flatMap(([app, texts]) => Object.keys(texts).map((name) => `${app}.${name}`))
    .filter((name) => !((everyCounter.get(name) ?? 0) > 0));
  assert.deepEqual(never, []);
});
