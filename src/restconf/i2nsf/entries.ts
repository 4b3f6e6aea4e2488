// The shape of a completed document's entries, and the names that tie them to the configuration.

import type { JsonObject } from "../json.js";

export type Way = "in" | "out";
export interface Ports extends JsonObject {
  start: number;
  end: number;
}

export type TrafficSelector = {
  "local-prefix": string;
  "remote-prefix": string;
  "inner-protocol": number | "any";
  "local-ports"?: Ports[];
  "remote-ports"?: Ports[];
};

export type Tunnel = { local: string; remote: string; "df-bit"?: string };

export type EspAlgorithms = {
  integrity?: number[];
  encryption?: { id: number; "algorithm-type": number; "key-length": number }[];
};

export type SpdEntry = {
  name: string;
  direction: "inbound" | "outbound";
  reqid: string;
  "ipsec-policy-config": {
    "anti-replay-window-size"?: number;
    "traffic-selector": TrafficSelector;
    "processing-info": {
      action: "protect" | "bypass" | "discard";
      "ipsec-sa-cfg"?: {
        "ext-seq-num"?: boolean;
        mode: "tunnel";
        "protocol-parameters": "esp";
        "esp-algorithms"?: EspAlgorithms;
        tunnel: Tunnel;
      };
    };
  };
};

export type SadEntry = {
  name: string;
  reqid: string;
  "ipsec-sa-config": {
    spi: number;
    "ext-seq-num": boolean;
    "anti-replay-window-size": number;
    "traffic-selector": TrafficSelector;
    "protocol-parameters": "esp";
    mode: "tunnel";
    "esp-sa": {
      encryption: { "encryption-algorithm": number; key: string };
      integrity?: { "integrity-algorithm"?: number; key?: string };
    };
    tunnel: Tunnel;
  };
};

export type Ikeless = { spd?: { "spd-entry"?: SpdEntry[] }; sad?: { "sad-entry"?: SadEntry[] } };

export const spdOf = (document: Ikeless): SpdEntry[] => document.spd?.["spd-entry"] ?? [];
export const sadOf = (document: Ikeless): SadEntry[] => document.sad?.["sad-entry"] ?? [];

export const ways: readonly Way[] = ["out", "in"];

/** `out/foo` for route foo, `out/policy/foo` for security policy foo. */
export const spdName = (way: Way, kind: "route" | "policy", id: string): string =>
  `${way}/${kind === "policy" ? "policy/" : ""}${id}`;

/** `in/1234` for the inbound SA with this SPI. */
export const sadName = (way: Way, spi: number): string => `${way}/${spi}`;

export function readSpdName(name: string): { way: Way; kind: "route" | "policy"; id: string } | undefined {
  const [, way, policy, id = ""] =
    /^(in|out)\/(policy\/)?([A-Za-z0-9][A-Za-z0-9._-]{0,62})$/.exec(name) ?? [];
  return way === undefined ? undefined : { way: way as Way, kind: policy ? "policy" : "route", id };
}

export function readSadName(name: string): { way: Way; spi: number } | undefined {
  const [, way, digits] = /^(in|out)\/([1-9]\d{0,9})$/.exec(name) ?? [];
  return way === undefined ? undefined : { way: way as Way, spi: Number(digits) };
}
