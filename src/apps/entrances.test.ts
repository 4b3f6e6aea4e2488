// The entrances of packets that came out of a tunnel: their numbers, domains, and who speaks for them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Binding, Domains } from "../ipsec/binding.js";
import { Entrances } from "./entrances.js";

interface TestPort {
  kind: "ethernet" | "ip";
  side: "public" | "private";
  binding?: Binding;
}

const binding = { interfaceId: 7, mark: 0, interfaceIdIn: 7, markIn: 0 };
const wan: TestPort = { kind: "ethernet", side: "public" };
const lan: TestPort = { kind: "ethernet", side: "private" };
const tun: TestPort = { kind: "ip", side: "private" };

test("numbers behind those of the ports, one for each domain", () => {
  const ports = [wan, { ...lan, binding }, lan, tun];
  const entrances = new Entrances(ports, new Domains(ports));
  assert.equal(entrances.first, 4);
  assert.deepEqual([entrances.of(0), entrances.of(1)], [4, 5]);
  assert.deepEqual([...entrances.domainOf], [0, 1, 0, 0, 0, 1]);
});

test("errors speak from a network, else from this host, else from the public side", () => {
  const speaker = (...ports: TestPort[]) => {
    const entrances = new Entrances(ports, new Domains(ports));
    ports.forEach((_, port) => {
      assert.equal(entrances.speaker(port), port, "a port speaks for itself");
    });
    return entrances.speaker(entrances.of(0));
  };
  assert.equal(speaker(wan, tun, lan), 2);
  assert.equal(speaker(wan, lan, lan), 1);
  assert.equal(speaker(wan, { ...lan, binding }, tun), 2);
  assert.equal(speaker({ ...lan, binding }, wan), 1);
  assert.equal(speaker({ ...lan, binding }), 0, "nobody has packets there");
});
