// The other end of the interoperability tests: one Python process with scapy, asked over pipes (../scapy_peer.py).

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Suite, suiteRequest } from "../../src/ipsec/testing/suites.js";

/** Debian's Python, for which the package python3-scapy installs; the first one in PATH may be another. */
const PYTHON = "/usr/bin/python3";
const script = fileURLToPath(new URL("../../../test/scapy_peer.py", import.meta.url));

/** One direction of a tunnel as scapy needs to know it. */
export interface ScapySa {
  spi: number;
  /** scapy's name of the cipher; without one it is AES-GCM. */
  cipher?: string;
  /** Key and salt. */
  key: Uint8Array;
  /** With AES-CBC: the HMAC. */
  auth?: string;
  authKey?: Uint8Array;
  esn: boolean;
  /** A scapy expression for the outer header of packets to encrypt; empty for transport mode. */
  outer: string;
  /** UDP ports, source and destination, where ESP is encapsulated. */
  natt?: [number, number];
}

/** What stands behind the payload, where a test wants something else than scapy writes. */
export interface Trailer {
  padding: Uint8Array;
  padLength: number;
  nextHeader: number;
}

export interface Encryption {
  packet: Uint8Array;
  /** 64 bits; without ESN the upper ones are 0. */
  sequence: bigint | number;
  trailer?: Trailer;
}

export interface Decrypted {
  /** The whole packet that was inside, as scapy dissected and rebuilt it. */
  inner: Uint8Array;
  /** The ESP payload as it was decrypted, padding for traffic flow confidentiality included. */
  data: Uint8Array;
  spi: number;
  seq: number;
  iv: string;
  nextHeader: number;
  padLength: number;
  padding: Uint8Array;
}

export interface Layer {
  layer: string;
  fields: Record<string, number | string>;
}

const cipherNames: Record<number, string> = { 12: "AES-CBC", 20: "AES-GCM", 28: "CHACHA20-POLY1305" };
const hmacNames: Record<number, string> = {
  2: "HMAC-SHA1-96",
  12: "SHA2-256-128",
  13: "SHA2-384-192",
  14: "SHA2-512-256",
};

/** A suite in scapy's words; the keys are those of `suiteRequest`. */
export function scapySuite(suite: Suite, spi: number): Pick<ScapySa, "cipher" | "auth" | "key" | "authKey"> {
  const { encryption, encryptionKey, integrity, integrityKey } = suiteRequest(suite, spi);
  return {
    cipher: cipherNames[encryption],
    key: encryptionKey,
    auth: hmacNames[integrity] ?? "",
    authKey: integrityKey,
  };
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const unhex = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));
const saArgument = ({ key, authKey = new Uint8Array(0), ...sa }: ScapySa) => ({
  cipher: "AES-GCM",
  auth: "",
  ...sa,
  key: hex(key),
  authKey: hex(authKey),
});

type Answer = string | { error: string } | Record<string, unknown> | unknown[];

export class Scapy {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  #last: Promise<unknown> = Promise.resolve();
  #stderr = "";

  constructor() {
    this.#child = spawn(PYTHON, [script], { stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stderr?.on("data", (text) => {
      this.#stderr += text;
    });
    this.#answers = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  close(): void {
    this.#child.stdin?.end();
    this.#child.kill();
  }

  #ask(requests: object[]): Promise<Answer[]> {
    const answer = this.#last.then(async () => {
      this.#child.stdin?.write(`${JSON.stringify(requests)}\n`);
      const line = await this.#answers.next();
      if (line.done) throw new Error(`scapy has ended: ${this.#stderr}`);
      return JSON.parse(line.value) as Answer[];
    });
    this.#last = answer.catch(() => {});
    return answer;
  }

  async #all<T>(requests: object[]): Promise<T[]> {
    const answers = await this.#ask(requests);
    for (const answer of answers)
      if (typeof answer === "object" && "error" in answer) throw new Error(`scapy: ${answer.error}`);
    return answers as T[];
  }

  /** Packets from scapy expressions. */
  async packets(...expressions: string[]): Promise<Uint8Array[]> {
    const requests = expressions.map((expression) => ({ operation: "packet", expression }));
    return (await this.#all<string>(requests)).map(unhex);
  }

  async packet(expression: string): Promise<Uint8Array> {
    return (await this.packets(expression))[0];
  }

  /** Outer IP packets with ESP. */
  async encrypt(sa: ScapySa, ...packets: Encryption[]): Promise<Uint8Array[]> {
    const requests = packets.map(({ packet, sequence, trailer }) => ({
      operation: "encrypt",
      sa: saArgument(sa),
      packet: hex(packet),
      seq: String(sequence),
      ...(trailer && { trailer: { ...trailer, padding: hex(trailer.padding) } }),
    }));
    return (await this.#all<string>(requests)).map(unhex);
  }

  /** @param high upper half of the packets' sequence numbers. Throws when a packet is not authentic. */
  async decrypt(sa: ScapySa, packets: Uint8Array[], high: number | number[] = 0): Promise<Decrypted[]> {
    const requests = packets.map((packet, i) => ({
      operation: "decrypt",
      sa: saArgument(sa),
      packet: hex(packet),
      high: typeof high === "number" ? high : high[i],
    }));
    type Raw = Omit<Decrypted, "inner" | "data" | "padding"> & Record<"inner" | "data" | "padding", string>;
    return (await this.#all<Raw>(requests)).map((raw) => ({
      ...raw,
      inner: unhex(raw.inner),
      data: unhex(raw.data),
      padding: unhex(raw.padding),
    }));
  }

  /**
   * Asserts that all lengths and checksums in the packets are those that scapy computes.
   * @param zero leaves UDP checksums of 0 alone
   */
  async assertSound(packets: Uint8Array[], zero = true): Promise<void> {
    const rebuilt = await this.#all<string>(
      packets.map((packet) => ({ operation: "rebuild", packet: hex(packet), zero })),
    );
    rebuilt.forEach((text, i) => {
      assert.equal(hex(packets[i]), text, "lengths and checksums");
    });
  }

  /** The packets' layers, outermost first. */
  async show(...packets: Uint8Array[]): Promise<Layer[][]> {
    return this.#all<Layer[]>(packets.map((packet) => ({ operation: "show", packet: hex(packet) })));
  }

  /** Puts fragments together. */
  async reassemble(packets: Uint8Array[]): Promise<Uint8Array[]> {
    const [whole] = await this.#all<string[]>([{ operation: "reassemble", packets: packets.map(hex) }]);
    return whole.map(unhex);
  }
}
