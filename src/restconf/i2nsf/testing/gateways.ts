// The entries of two gateways with a tunnel between them, as a controller writes them (RFC 9061, appendix B, has two hosts).

import type { JsonObject } from "../../json.js";

export const root = "/restconf/data/ietf-i2nsf-ikeless:ipsec-ikeless";
export const errorRoot = "/ietf-i2nsf-ikeless:ipsec-ikeless";

export interface Site {
  here: string;
  there: string;
  net: string;
  farNet: string;
  /** Its inbound SPI, and its outbound one. */
  spis: [number, number];
  keys: [string, string];
}

export const keys: [string, string] = [`${"a1:".repeat(19)}a1`, `${"b2:".repeat(19)}b2`];
export const left: Site = {
  here: "203.0.113.1",
  there: "203.0.113.2",
  net: "192.0.2.0/25",
  farNet: "192.0.2.128/25",
  spis: [34501, 34502],
  keys,
};
export const right: Site = {
  here: left.there,
  there: left.here,
  net: left.farNet,
  farNet: left.net,
  spis: [34502, 34501],
  keys: [keys[1], keys[0]],
};

export const selector = ({ net, farNet }: Site) => ({ "local-prefix": net, "remote-prefix": farNet });
export const tunnel = ({ here, there }: Site) => ({ local: here, remote: there, "df-bit": "copy" });

export function spd(site: Site, way: "in" | "out", more: JsonObject = {}) {
  return {
    name: `${way}/site`,
    direction: `${way}bound`,
    reqid: "1",
    "ipsec-policy-config": {
      "traffic-selector": { ...selector(site), "inner-protocol": "any" },
      "processing-info": {
        action: "protect",
        "ipsec-sa-cfg": {
          "pfp-flag": false,
          "ext-seq-num": true,
          "seq-overflow": false,
          "stateful-frag-check": false,
          mode: "tunnel",
          "protocol-parameters": "esp",
          "esp-algorithms": {
            encryption: [{ id: 1, "algorithm-type": 20, "key-length": 128 }],
            "tfc-pad": false,
          },
          tunnel: tunnel(site),
        },
      },
    },
    ...more,
  };
}

export function sad(site: Site, way: "in" | "out", config: JsonObject = {}) {
  const i = way === "in" ? 0 : 1;
  return {
    name: `${way}/${site.spis[i]}`,
    reqid: "1",
    "ipsec-sa-config": {
      spi: site.spis[i],
      "ext-seq-num": true,
      "seq-overflow": false,
      "anti-replay-window-size": 64,
      "traffic-selector": { ...selector(site), "inner-protocol": "any" },
      "protocol-parameters": "esp",
      mode: "tunnel",
      "esp-sa": { encryption: { "encryption-algorithm": 20, key: site.keys[i] } },
      "sa-lifetime-hard": { time: 0, bytes: "0", packets: 0, idle: 0 },
      tunnel: tunnel(site),
      ...config,
    },
  };
}

export const both = (site: Site) => ({
  "ietf-i2nsf-ikeless:ipsec-ikeless": {
    spd: { "spd-entry": [spd(site, "out"), spd(site, "in")] },
    sad: { "sad-entry": [sad(site, "out"), sad(site, "in")] },
  },
});

/** What is told of an entry: without what says only that a node does what every node does. */
export function told<Entry extends object>(entry: Entry): Entry {
  const only = ["pfp-flag", "seq-overflow", "stateful-frag-check", "tfc-pad", "sa-lifetime-hard"];
  const text = JSON.stringify(entry, (name, value) => (only.includes(name) ? undefined : value));
  return JSON.parse(text) as Entry;
}

export const at = (list: "spd" | "sad", name: string) =>
  `${root}/${list}/${list}-entry=${encodeURIComponent(name)}`;
export const errorAt = (list: "spd" | "sad", name: string) =>
  `${errorRoot}/${list}/${list}-entry[name='${name}']`;

/** An inbound SA that the left gateway gets beside the one it has, and the same with an SPI and a key of its own. */
export const newSa = { ...sad(left, "in"), name: "in/34510" };
export const rekeyed = {
  ...newSa,
  "ipsec-sa-config": {
    ...newSa["ipsec-sa-config"],
    spi: 34510,
    "esp-sa": { encryption: { "encryption-algorithm": 20, key: `${"c3:".repeat(19)}c3` } },
  },
};
