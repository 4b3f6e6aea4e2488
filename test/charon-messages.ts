// Messages as charon sends them, and a Kernel that only takes note of what it is asked: for the tests of the protocol,
// of the service and of the plugin.

import type { AddSaMessage, PolicyMessage } from "../src/charon/protocol.js";
import type {
  AddSaRequest,
  Answer,
  Host,
  Kernel,
  PolicyId,
  PolicyRequest,
  SaId,
  Selector,
  UpdateSaRequest,
} from "../src/ipsec/kernel.js";
import { Status } from "../src/ipsec/kernel.js";
import { parseAddress } from "../src/net/address.js";

export function host(address: string, port = 500): Host {
  const bytes = parseAddress(address);
  if (bytes === undefined) throw new Error(`${address} is no address`);
  return { address: bytes, port };
}

export function selector(from: string, to: string): Selector {
  return { from: host(from).address, to: host(to).address, protocol: 0, fromPort: 0, toPort: 65535 };
}

export function saId(spi: number): SaId {
  return {
    src: host("192.0.2.1"),
    dst: host("192.0.2.2"),
    spi,
    protocol: 50,
    mark: { value: 0, mask: 0 },
    interfaceId: 0,
  };
}

/** An outbound AES-128-GCM SA in tunnel mode. */
export function sa(spi: number): AddSaMessage {
  return {
    id: saId(spi),
    inbound: false,
    update: false,
    initiator: true,
    reqid: 1,
    mode: 2,
    srcSelectors: [selector("10.1.0.0", "10.1.0.255")],
    dstSelectors: [selector("10.2.0.0", "10.2.0.255")],
    encryption: 20,
    encryptionKey: Uint8Array.from({ length: 20 }, (_, i) => i + 1),
    integrity: 1024,
    integrityKey: new Uint8Array(0),
    extendedSequenceNumbers: true,
    replayWindow: 32,
    udpEncapsulation: false,
    lifetime: {
      time: { rekey: 3000n, life: 3600n },
      bytes: { rekey: 0n, life: 0n },
      packets: { rekey: 0n, life: 0n },
    },
    tfc: 0,
    ipcomp: 0,
    cpi: 0,
    copyDf: true,
    copyEcn: true,
    copyDscp: 0,
    hardwareOffload: "no",
    setMark: { value: 0, mask: 0 },
    interface: "",
    labelled: false,
    acquireSequence: 0,
    cpu: undefined,
    iptfsDontFragment: false,
  };
}

export function policy(direction: number): PolicyMessage {
  return {
    id: {
      direction,
      srcSelector: selector("10.1.0.0", "10.1.0.255"),
      dstSelector: selector("10.2.0.0", "10.2.0.255"),
      mark: { value: 0, mask: 0 },
      interfaceId: 0,
      interface: "",
      labelled: false,
    },
    type: 1,
    priorityClass: 1,
    manualPriority: 0,
    src: host("192.0.2.1"),
    dst: host("192.0.2.2"),
    mode: 2,
    reqid: 1,
    espSpi: 0xc0000001,
    usesEsp: true,
    usesAh: false,
    ipcomp: 0,
    policyCount: 1,
    ahSpi: 0,
    cpi: 0,
    perCpuAcquires: false,
  };
}

/** What is kept of each call. */
interface NoteBodies {
  getSpi: object;
  getCpi: object;
  /** charon's calls bring the whole message. */
  addSa: { request: AddSaRequest & Partial<AddSaMessage> };
  updateSa: { request: UpdateSaRequest };
  querySa: { id: SaId };
  deleteSa: { id: SaId };
  flushSas: object;
  addPolicy: { request: PolicyRequest };
  queryPolicy: { id: PolicyId };
  deletePolicy: { request: PolicyRequest };
  flushPolicies: object;
  sessionOpened: { session: bigint };
  sessionClosed: { session: bigint };
}
type NoteOf<C extends keyof NoteBodies> = { call: C } & NoteBodies[C];
export type Note = { [C in keyof NoteBodies]: NoteOf<C> }[keyof NoteBodies];

/** Says yes to everything and takes note of it. Keys are kept as their lengths only, in fresh arrays of zeros. */
export class RecordingKernel implements Kernel {
  readonly notes: Note[] = [];
  /** Answers other than success, by method. */
  readonly answers = new Map<string, Answer>();
  #spi = 0xc0000001;

  notesOf<C extends keyof NoteBodies>(call: C): NoteOf<C>[] {
    return this.notes.filter((note) => note.call === call) as unknown as NoteOf<C>[];
  }

  #answer(note: Note): Answer {
    this.notes.push(note);
    return this.answers.get(note.call) ?? { status: Status.success };
  }

  getSpi() {
    return { ...this.#answer({ call: "getSpi" }), spi: this.#spi++ };
  }
  getCpi() {
    this.notes.push({ call: "getCpi" });
    return { status: Status.notSupported };
  }
  addSa(request: AddSaRequest) {
    const encryptionKey = new Uint8Array(request.encryptionKey.length);
    const integrityKey = new Uint8Array(request.integrityKey.length);
    return this.#answer({ call: "addSa", request: { ...request, encryptionKey, integrityKey } });
  }
  updateSa(request: UpdateSaRequest) {
    return this.#answer({ call: "updateSa", request });
  }
  querySa(id: SaId) {
    return {
      ...this.#answer({ call: "querySa", id }),
      usage: { bytes: 1000n, packets: 10n, idleSeconds: 3 },
    };
  }
  deleteSa(id: SaId) {
    return this.#answer({ call: "deleteSa", id });
  }
  flushSas() {
    return this.#answer({ call: "flushSas" });
  }
  addPolicy(request: PolicyRequest) {
    return this.#answer({ call: "addPolicy", request });
  }
  queryPolicy(id: PolicyId) {
    return { ...this.#answer({ call: "queryPolicy", id }), idleSeconds: 3 };
  }
  deletePolicy(request: PolicyRequest) {
    return this.#answer({ call: "deletePolicy", request });
  }
  flushPolicies() {
    return this.#answer({ call: "flushPolicies" });
  }
  sessionOpened(session: bigint) {
    this.notes.push({ call: "sessionOpened", session });
  }
  sessionClosed(session: bigint) {
    this.notes.push({ call: "sessionClosed", session });
  }
}

/** A logger that keeps its lines. */
export class RecordingLogger {
  readonly lines: string[] = [];
  info(text: string): void {
    this.lines.push(text);
  }
  warn(text: string): void {
    this.lines.push(text);
  }
}
