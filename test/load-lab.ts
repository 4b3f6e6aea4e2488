// Two Vitas without charon: a client for each says what charon would say.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { run } from "../src/lab/command.js";
import type { Lab } from "../src/lab/lab.js";
import { addRoute, createLink } from "../src/lab/netns.js";
import { Vita, type VitaConfiguration } from "../src/lab/vita.js";
import { type AnyCall, CharonClient } from "./charon-client.js";

/** Calls on their way at a time. */
const WINDOW = 32;

export class Gateway {
  readonly client: CharonClient;
  constructor(
    readonly lab: Lab,
    readonly vita: Vita,
    readonly side: "a" | "b",
  ) {
    this.client = new CharonClient(vita.charonSocket, side === "a" ? 0xan : 0xbn);
    assert.equal(this.client.callSync("hello", this.client.hello()).status, 0);
  }

  /** Makes calls that must succeed. @returns calls a second, and the longest time between two answers */
  all(calls: Iterable<AnyCall>, window = WINDOW) {
    const begin = performance.now();
    let count = 0;
    let longest = 0;
    this.client.pipeline(calls, window, (answer, { call }, gap) => {
      assert.equal(answer.status, 0, `${call}: ${answer.reason}`);
      count++;
      longest = Math.max(longest, gap);
    });
    return { seconds: (performance.now() - begin) / 1000, count, longest };
  }

  get supervisor(): number {
    const parent = /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${this.worker}/status`, "utf8"));
    return Number(parent?.[1]);
  }

  get worker(): number {
    return this.vita.state().workers[0].pid;
  }

  /** Bytes of the shared files, and of the two processes besides. */
  memory(): SaBytes {
    const shared = (name: string) => {
      const { blocks } = statSync(join(Vita.runDirectory(this.lab), this.vita.node, name));
      return 512 * blocks;
    };
    const own = (pid: number) =>
      1024 * Number(/^RssAnon:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    return {
      sad: shared("sad"),
      spd: shared("spd"),
      supervisor: own(this.supervisor),
      worker: own(this.worker),
    };
  }
}

/** Bytes that an SA takes: in the shared files, and in the processes. */
export interface SaBytes {
  sad: number;
  spd: number;
  supervisor: number;
  worker: number;
}

/**
 * Of what `Gateway.memory` says the part of one SA. The shared files' memory is that of these SAs alone; the processes had
 * some already, of which they make use again.
 * @param before with `warmUp` SAs come and gone
 * @param after with `sas` SAs
 */
export function bytesPerSa(before: SaBytes, after: SaBytes, sas: number, warmUp: number): SaBytes {
  // A process that gave garbage back meanwhile is no gain of the others.
  const growth = (name: "supervisor" | "worker") => Math.max(0, after[name] - before[name]) / (sas - warmUp);
  return {
    sad: after.sad / sas,
    spd: after.spd / sas,
    supervisor: growth("supervisor"),
    worker: growth("worker"),
  };
}

/** Host A, Vita A, Vita B and host B in a row. The far host has every address behind the tunnels. */
export async function createGateways(
  lab: Lab,
): Promise<{ a: Gateway; b: Gateway; hosts: Record<"a" | "b", string> }> {
  const names = { hostA: await lab.namespace("host-a"), hostB: await lab.namespace("host-b") };
  const [a, b] = [await lab.namespace("gw-a"), await lab.namespace("gw-b")];
  await createLink(
    { namespace: names.hostA, device: "lan0", addresses: ["10.1.0.2/24"] },
    { namespace: a, device: "lan0", addresses: ["10.1.0.1/24"] },
  );
  await createLink(
    { namespace: names.hostB, device: "lan0", addresses: ["10.2.0.2/24"] },
    { namespace: b, device: "lan0", addresses: ["10.2.0.1/24"] },
  );
  await createLink(
    { namespace: a, device: "wan0", addresses: ["192.0.2.1/24"] },
    { namespace: b, device: "wan0", addresses: ["192.0.2.2/24"] },
  );
  await addRoute(names.hostA, "default", "10.1.0.1");
  await addRoute(names.hostB, "default", "10.2.0.1");
  // Host B has all the addresses behind the tunnels.
  await run("ip", ["-n", names.hostB, "route", "add", "local", "100.64.0.0/10", "dev", "lo"]);
  await addRoute(b, "100.64.0.0/10", "10.2.0.2");
  const configuration = (node: string): VitaConfiguration => ({
    node,
    "public-interface": [{ name: "wan0" }],
    "private-interface": [{ name: "lan0" }],
  });
  return {
    a: new Gateway(lab, await Vita.start(lab, a, configuration("gw-a")), "a"),
    b: new Gateway(lab, await Vita.start(lab, b, configuration("gw-b")), "b"),
    hosts: { a: names.hostA, b: names.hostB },
  };
}
