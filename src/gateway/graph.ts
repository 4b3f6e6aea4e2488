// The graph of one worker: every packet's way through the apps, for any set of ports.
//
//   private rx → ip-input ⇒ protect ⇒ encapsulate ⇒ transmit → public tx
//   public rx → classify ⇒ decapsulate ⇒ route ⇒ transmit → private tx
//                                           └→ hub ⇒ protect, for another tunnel
//
// Arrows are links; a double arrow is a call for each packet, which V8 compiles into one loop with its caller: what an app
// has read of a packet is still in registers when the next one looks at it. Packets wait for each other where many at a
// time cost less, before they are encrypted and decrypted.
//
// A public port whose interface Vita owns has more apps of its own: see owned-link.ts.
//
// Errors for private senders go to `route`; those for senders behind a tunnel go back through `hub`.

import { Bindings } from "../apps/bindings.js";
import { Classify } from "../apps/classify.js";
import { Entrances } from "../apps/entrances.js";
import { Fib, type FibPort } from "../apps/fib.js";
import { Fragmenter } from "../apps/fragment.js";
import { HoldQueue, type Milliseconds } from "../apps/hold-queue.js";
import { Hub } from "../apps/hub.js";
import { type Addresses, IcmpErrors } from "../apps/icmp-errors.js";
import { IpInput } from "../apps/ip-input.js";
import { nextHopCounters } from "../apps/next-hops.js";
import { Protect } from "../apps/protect.js";
import { Route } from "../apps/route.js";
import { SaDomains } from "../apps/sa-domains.js";
import { SaRoutes } from "../apps/sa-routes.js";
import { type SlowPath, Transmit } from "../apps/transmit.js";
import type { App, AppContext } from "../engine/app.js";
import { counterIndex } from "../engine/app.js";
import { Engine } from "../engine/engine.js";
import { Link } from "../engine/link.js";
import type { AeadEngine } from "../ipsec/aead.js";
import { Decapsulate } from "../ipsec/decapsulate.js";
import { type Clock, Encapsulate } from "../ipsec/encapsulate.js";
import type { Sad } from "../ipsec/sad.js";
import type { Spd } from "../ipsec/spd.js";
import { SpdIndex } from "../ipsec/spd-index.js";
import { type Notifier, silentNotifier } from "../ipsec/worker-events.js";
import type { Port, PortOptions } from "../ports/port.js";
import { OwnedLink, type Ownership } from "./owned-link.js";

/** A port to be made: its place in the graph, and how to make it once its link is there. */
export interface PortPlan extends FibPort {
  open(context: AppContext, options: PortOptions): Port;
  /** A way through the kernel's stack for packets to neighbours that are not resolved; none without a kernel. */
  readonly slowPath?: SlowPath | undefined;
  /** There when Vita owns the interface; `owned` is true then. */
  readonly ownership?: Ownership | undefined;
}

export interface GraphParts {
  readonly context: AppContext;
  readonly sad: Sad;
  readonly spd: Spd;
  readonly aead: AeadEngine;
  readonly clock: Clock & Milliseconds;
  /** Who hears of packets that want an SA, and of peers that moved; nobody when left out. */
  readonly notifier?: Notifier;
  /** Bytes of the largest IP packet that is put into a tunnel; what the ways carry when left out. */
  readonly largest?: number | undefined;
  /** Number of this worker: its lane in the SAD's counters. */
  readonly worker: number;
}

export const linkCounters = {
  "drop.full": "packets that found a link between two apps full",
} as const;
const LINK = counterIndex(linkCounters);

export class Graph {
  readonly engine = new Engine();
  /** Those of the plans, and behind them the devices to the kernel. */
  readonly ports: readonly Port[];
  readonly ownedLinks: readonly OwnedLink[];
  readonly fib: Fib;
  readonly index: SpdIndex;
  /** Packets that wait for an SA. */
  readonly queue: HoldQueue;
  /** Names of the apps in the order in which they run, for those who measure. */
  readonly apps: readonly { name: string; app: App }[];
  readonly #errors: readonly IcmpErrors[];
  readonly #links: Link[] = [];
  readonly #linkCounters: Float64Array;
  readonly #decapsulate: Decapsulate;
  #linkDrops = 0;

  /** @throws what opening a port throws; the ports opened before are closed then */
  constructor(parts: GraphParts, plans: readonly PortPlan[]) {
    const { context, sad, spd, aead, clock, worker, largest, notifier = silentNotifier } = parts;
    const link = () => {
      const made = new Link(context.frames);
      this.#links.push(made);
      return made;
    };
    this.#linkCounters = context.counters("link", linkCounters);
    this.fib = new Fib(plans, context.counters("fib", nextHopCounters));
    this.index = new SpdIndex(spd, this.fib.domains);
    const saDomains = new SaDomains(sad, this.fib.domains);
    this.queue = new HoldQueue(context, clock, notifier, spd.capacity);
    const routes = new SaRoutes(sad, this.fib);
    const toHub = link();
    const toRoute = link();
    const routed = link();
    const toSenders = new IcmpErrors(context, this.fib, toRoute);
    const fragmenter = new Fragmenter(context);
    const { fib, index, queue } = this;
    const entrances = new Entrances(plans, fib.domains);
    const behind: Addresses = {
      localAddress: (port, family) => fib.localAddress(entrances.speaker(port), family),
    };
    const toFarSenders = new IcmpErrors(context, behind, toHub);

    // Each app is built with the one behind it. The ports' links follow when the ports are open.
    const outputs: Link[] = [];
    const slowPaths = plans.map(({ slowPath }) => slowPath);
    const transmit = new Transmit(context, { fib, routes, slowPaths, slow: link() }, plans, routed, outputs);
    const route = new Route(
      context,
      { fib, fragmenter, errors: toFarSenders, saDomains, entrances, transmit },
      plans,
      toRoute,
      link(),
      toHub,
    );
    const decapsulate = new Decapsulate(context, {
      sad,
      batches: aead.decryptor(),
      clock,
      worker,
      outlet: route,
      notifier,
    });
    const encapsulate = new Encapsulate(context, {
      sad,
      batches: aead.encryptor(),
      clock,
      worker,
      exit: transmit,
    });
    const bindings = new Bindings(spd, plans);
    const errors = { errors: toSenders, farErrors: toFarSenders };
    const protect = new Protect(
      context,
      { index, sad, routes, fib, entrances, fragmenter, ...errors, bindings, queue, encapsulate, largest },
      plans,
      { fragments: link(), bypass: routed },
    );
    this.#decapsulate = decapsulate;

    const first: { name: string; app: App }[] = [];
    const second: { name: string; app: App }[] = [];
    const ports: Port[] = [];
    const punts: Port[] = [];
    const owned: OwnedLink[] = [];
    try {
      for (const [number, plan] of plans.entries()) {
        const received = link();
        const port = plan.open(context, { name: plan.name, output: received });
        ports.push(port);
        outputs.push(port.sink.input);
        this.engine.addSource(port.source);
        const { ownership } = plan;
        if (ownership) {
          const ends = { received, toPort: port.sink.input, decapsulate, routed, link };
          const made = new OwnedLink(context, { ownership, fib, index, ports: plans, number, ...ends });
          owned.push(made);
          punts.push(made.punt);
          this.engine.addSource(made.punt.source);
          slowPaths[number] = made.neighbours;
          first.push(...made.apps);
        } else if (plan.side === "public")
          first.push({ name: "classify", app: new Classify(context, received, decapsulate) });
        else
          second.push({
            name: "ip-input",
            app: new IpInput(context, toSenders, number, plan.kind, received, protect),
          });
      }
    } catch (error) {
      for (const port of [...ports, ...punts]) port.close();
      throw error;
    }
    this.apps = [
      ...first,
      { name: "decapsulate", app: decapsulate },
      { name: "route", app: route },
      ...second,
      { name: "hub", app: new Hub(context.frames, toHub, protect) },
      { name: "protect", app: protect },
      { name: "encapsulate", app: encapsulate },
      { name: "transmit", app: transmit },
      ...[...ports, ...punts].map(({ name, sink }) => ({ name, app: sink })),
    ];
    for (const { app } of this.apps) this.engine.addApp(app);
    this.ports = [...ports, ...punts];
    this.ownedLinks = owned;
    for (const { sink } of this.ports) this.#links.push(sink.input);
    this.#errors = [toSenders, toFarSenders];
  }

  /** What is due every few milliseconds. @param milliseconds since the last call */
  tick(milliseconds: number): void {
    for (const errors of this.#errors) errors.refill(milliseconds);
    this.queue.tick();
    for (const owned of this.ownedLinks) owned.tick(milliseconds);
    let dropped = 0;
    for (const { dropped: count } of this.#links) dropped += count;
    this.#linkCounters[LINK["drop.full"]] += dropped - this.#linkDrops;
    this.#linkDrops = dropped;
  }

  /** Do packets wait on some link for the next breath? */
  get pending(): boolean {
    for (const { readable } of this.#links) if (readable > 0) return true;
    return false;
  }

  /** Packets that wait for something else than the next breath. */
  get held(): number {
    return this.#decapsulate.held;
  }

  /** Is some neighbour being looked for, so that the next tick must not wait for packets? */
  get busy(): boolean {
    for (const { busy } of this.ownedLinks) if (busy) return true;
    return false;
  }

  close(): void {
    for (const port of this.ports) port.close();
  }
}
