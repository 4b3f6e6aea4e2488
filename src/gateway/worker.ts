// A worker: the process that moves packets. It maps the SAD, the SPD and its counters, opens its ports and breathes, all
// in one thread that never returns to the event loop. It needs nobody: when the supervisor dies it goes on.
//
// A spare is a worker that stops half way: its modules are loaded, the shared files mapped, its packet memory is there.
// It waits for a word of its supervisor, costs no CPU time, touches nothing that is shared, and goes with the supervisor.
// When the worker before it dies, all that is left to do is to open the ports.
//
// It can be killed at any instruction. What must stay (sequence numbers, windows, counters, whose each frame is) is in shared
// memory before it matters. What it holds goes with the process (descriptors of TUN and AF_PACKET), or stays as long as
// another worker of the node has it too (AF_XDP sockets and programs, see ports/xdp-device.ts). SIGTERM therefore is left
// to the kernel's default action.

import { readSync, writeSync } from "node:fs";
import type { Configuration } from "../config/configuration.js";
import { messageOf } from "../config/refusal.js";
import type { AppContext } from "../engine/app.js";
import { CounterFile } from "../engine/counters.js";
import type { AeadEngine } from "../ipsec/aead.js";
import { Sad } from "../ipsec/sad.js";
import { Spd } from "../ipsec/spd.js";
import { EventWriter } from "../ipsec/worker-events.js";
import type { Frames } from "../memory/frames.js";
import { POLLIN, poll, read, write } from "../native/libc.js";
import { NetworkMonitor } from "../ports/network-monitor.js";
import type { PacketPool } from "../ports/packet-pool.js";
import { MonotonicClock } from "./clock.js";
import { makeEngine } from "./engines.js";
import { openEventPipe } from "./event-pipe.js";
import { Graph } from "./graph.js";
import { announceInterfaces } from "./interface-claims.js";
import { type Logger, makeLogger } from "./log.js";
import { OwnedNetwork } from "./owned-network.js";
import { openPacketMemory } from "./packet-memory.js";
import { annexBytes, type DevicePlan, localAddresses, planPorts, rehearsePorts } from "./ports.js";
import { type ConfigurationFile, readConfiguration } from "./run-configuration.js";
import { RunDirectory } from "./run-directory.js";
import { isWorker } from "./worker-process.js";

/** Milliseconds between two looks at what is not packets. */
const TICK = 10;
/** Milliseconds between two reminders to the kernel which neighbours are in use. */
const REFRESH = 20_000;
/** Milliseconds that a worker sleeps at most, and while a neighbour is being looked for. */
const SLEEP = 1000;
const NAP = 50;
/** The same while packets wait for something that nothing wakes it for. */
const SHORT_SLEEP = 1;
/** The same while packets wait for an SA: they are to be given up in time. */
const DOZE = 100;
/** Bytes that a pipe holds. */
const PIPE = 65_536;
const STDIN = 0;
const STDOUT = 1;
/** Breaths that find nothing before the worker goes to sleep. */
const PATIENCE = 2;

/** What a worker needs that has nothing to do with its ports, and holds no state of its own. */
interface Prepared {
  readonly configuration: Configuration;
  readonly sad: Sad;
  readonly spd: Spd;
  readonly counters: CounterFile;
  readonly frames: Frames;
  readonly pool: PacketPool;
  readonly aead: AeadEngine;
  /** Pipes: the one by which the supervisor is told of events, and the one by which it wakes this worker. */
  readonly events: number;
  readonly wake: number;
}

function prepare(run: RunDirectory, index: number, file: ConfigurationFile): Prepared {
  const configuration = readConfiguration(run, file);
  const sad = Sad.open(run.shared("sad"), "write");
  const { frames, pool } = openPacketMemory(run, configuration, index, annexBytes(configuration));
  return {
    configuration,
    sad,
    spd: Spd.open(run.shared("spd"), "write"),
    counters: CounterFile.open(run.shared(`counters-${index}`), "write"),
    frames,
    pool,
    aead: makeEngine(sad, frames),
    events: openEventPipe(run.eventPipe),
    wake: openEventPipe(run.wakePipe(index)),
  };
}

/**
 * For a spare: has everything come to be that a worker would wait for. Of the apps there is no rehearsal: their code is
 * compiled for the one instance that there will be.
 */
function rehearse(prepared: Prepared): Prepared {
  const { aead } = prepared;
  prepared.frames.touch();
  prepared.pool.rehearse();
  const encryptor = aead.encryptor();
  const decryptor = aead.decryptor();
  rehearsePorts(prepared.configuration);
  return {
    ...prepared,
    aead: {
      id: aead.id,
      name: aead.name,
      encryptor: () => encryptor,
      decryptor: () => decryptor,
      expandKeys: (offset) => aead.expandKeys(offset),
      close: () => aead.close(),
    },
  };
}

class Worker {
  private readonly sad: Sad;
  private readonly clock = new MonotonicClock();
  private readonly graph: Graph;
  private readonly monitor: NetworkMonitor;
  private readonly plans: readonly DevicePlan[];
  /** Receive queues, and what else there is. */
  private readonly pollFds = new Int32Array(2 * (1024 + 64));
  /** The supervisor writes to it when policies have changed; looked at only while packets wait for that. */
  private readonly wake: number;
  private readonly wakeBytes = new Uint8Array(PIPE);
  private readonly isBusyPolling: boolean;
  private lastTick = 0;
  private lastRefresh = 0;
  private gone: string | undefined;

  constructor(
    private readonly index: number,
    run: RunDirectory,
    prepared: Prepared,
    private readonly log: Logger,
  ) {
    const { configuration, sad, spd, counters, frames, pool, aead } = prepared;
    this.sad = sad;
    sad.beginLife(index);
    const context: AppContext = { frames, counters: (app, texts) => counters.allocate(app, texts) };
    this.wake = prepared.wake;
    this.isBusyPolling = configuration["busy-poll"];
    const notifier = new EventWriter(this.clock, (record) => write(prepared.events, record, record.length));
    announceInterfaces(run, configuration);
    pool.begin(run.portsLock, (pid, worker) => isWorker(pid, configuration.node, worker));
    this.plans = planPorts(configuration, context, pool, localAddresses(), (name) =>
      makeLogger(`worker ${index}, ${name}`),
    );
    this.graph = new Graph(
      { context, sad, spd, aead, clock: this.clock, worker: index, largest: configuration.mtu, notifier },
      this.plans,
    );
    pool.end();
    const { fib } = this.graph;
    fib.onLocal = (address, present, domain) => {
      for (const [port, { device }] of this.plans.entries())
        if (fib.domains.ofPort[port] === domain) device?.setLocal(address, present);
    };
    fib.onPort = (port, mac) => {
      const { device, name } = this.plans[port];
      if (mac) device?.setMac(mac);
      else if (device) this.gone = name;
    };
    const { ownedLinks } = this.graph;
    const warn = (text: string) => log.warn(text);
    const gone = (device: string) => {
      this.gone = device;
    };
    // Routes through bound ports may stand in any table.
    this.monitor = new NetworkMonitor(
      ownedLinks.length === 0 ? fib : new OwnedNetwork(fib, ownedLinks, warn, gone),
      fib.domains.count > 1,
    );
  }

  run(): never {
    const { sad, graph, index, clock, isBusyPolling } = this;
    const { engine } = graph;
    sad.announceWorker(index, process.pid);
    this.log.info(`forwarding (process ${process.pid})`);
    let idle = 0;
    for (;;) {
      sad.enterBreath(index);
      clock.read();
      // Before the packets for which a worker was woken: apps would take them for ones of the time when it went to sleep.
      if (((clock.milliseconds - this.lastTick) & 0x7fffffff) >= TICK) this.tick();
      graph.index.refresh();
      const moved = engine.breathe();
      graph.fib.hops.takeUnresolved(this.use);
      if (isBusyPolling || moved > 0 || graph.pending) idle = 0;
      else if (++idle > PATIENCE) {
        this.sleep();
        idle = 0;
      }
    }
  }

  private readonly use = (interfaceIndex: number, address: Uint8Array): void => {
    this.monitor.use(interfaceIndex, address);
  };

  /** What is due now and then: changes in the kernel's network, errors' rate, neighbours in use. */
  private tick(): void {
    const now = this.clock.milliseconds;
    this.graph.tick((now - this.lastTick) & 0x7fffffff);
    this.lastTick = now;
    this.monitor.poll();
    this.sad.signOfLife(this.index);
    if (((now - this.lastRefresh) & 0x7fffffff) >= REFRESH) {
      this.lastRefresh = now;
      this.graph.fib.hops.refreshUsed(false, (port, address) =>
        this.monitor.use(this.graph.fib.hops.interfaceOf(port), address),
      );
    }
    if (this.gone !== undefined) throw new Error(`the interface ${this.gone} is gone`);
  }

  /** Blocks until something comes. Slots that are released meanwhile are free at once: a sleeper holds none. */
  private sleep(): void {
    const fds = this.pollFds;
    let count = 0;
    const add = (fd: number, events: number) => {
      fds[2 * count] = fd;
      fds[2 * count + 1] = events;
      count++;
    };
    add(this.monitor.fd, POLLIN);
    const isHolding = this.graph.queue.count > 0;
    if (isHolding) {
      add(this.wake, POLLIN);
      // Emptied before the last look: whoever changes a policy after that look wakes us.
      read(this.wake, this.wakeBytes, PIPE);
      if (this.graph.index.stale) return;
    }
    for (const port of this.graph.ports) for (const { fd, events } of port.waiting()) add(fd, events);
    this.sad.leave(this.index);
    const sleep = isHolding ? DOZE : SLEEP;
    poll(fds, count, this.graph.held > 0 ? SHORT_SLEEP : this.graph.busy ? NAP : sleep);
  }
}

/** Says that all is ready, and waits for the supervisor's word. @returns false when the supervisor has gone without it */
function waitForWord(): boolean {
  writeSync(STDOUT, ".");
  return readSync(STDIN, new Uint8Array(1)) === 1;
}

/**
 * Entry point of the worker process.
 * @param isSpare it waits
 * @param file the configuration that it works by
 */
export function runWorker(node: string, index: number, isSpare: boolean, file: ConfigurationFile): void {
  const log = makeLogger(`worker ${index}`);
  try {
    const run = new RunDirectory(node);
    const prepared = prepare(run, index, file);
    if (isSpare) {
      const ready = rehearse(prepared);
      if (!waitForWord()) process.exit(0);
      new Worker(index, run, ready, log).run();
    }
    new Worker(index, run, prepared, log).run();
  } catch (error) {
    log.warn(messageOf(error));
    process.exit(1);
  }
}
