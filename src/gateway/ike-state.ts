// What charon says of its SAs, in the words of the model: `gateway-state/ike` as JSON (RFC 7951).

import type { ViciSection } from "../charon/vici-message.js";

export interface ChildSaState {
  "unique-id": number;
  child: string;
  state: string;
  mode?: string;
  "spi-in"?: string;
  "spi-out"?: string;
  algorithms?: string;
  "local-ts": string[];
  "remote-ts": string[];
  /** 64-bit numbers are strings in JSON. */
  "bytes-in"?: string;
  "bytes-out"?: string;
  "packets-in"?: string;
  "packets-out"?: string;
  installed?: number;
}

export interface IkeSaState {
  "unique-id": number;
  connection: string;
  state: string;
  "local-host"?: string;
  "local-id"?: string;
  "remote-host"?: string;
  "remote-id"?: string;
  "remote-virtual-ip": string[];
  algorithms?: string;
  established?: number;
  "rekey-time"?: number;
  "child-sa": ChildSaState[];
}

export interface IkeState {
  connected: boolean;
  version?: string;
  loaded?: boolean;
  problem?: readonly string[];
  "ike-sa": IkeSaState[];
}

/** Without what is undefined: JSON and comparisons shall not tell the difference. */
function defined<T extends object>(value: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
}

/** `192.0.2.1[500]`, as charon writes it. */
function host(sa: ViciSection, side: "local" | "remote"): string | undefined {
  const address = sa.text(`${side}-host`);
  const port = sa.text(`${side}-port`);
  return address === undefined || port === undefined ? address : `${address}[${port}]`;
}

/** `AES_GCM_16-128/PRF_HMAC_SHA2_256/CURVE_25519`. */
function algorithms(sa: ViciSection): string | undefined {
  const sized = (name: string) => {
    const algorithm = sa.text(`${name}-alg`);
    const size = sa.text(`${name}-keysize`);
    return algorithm === undefined || size === undefined ? algorithm : `${algorithm}-${size}`;
  };
  const names = [sized("encr"), sized("integ"), sa.text("prf-alg"), sa.text("dh-group")];
  const said = names.filter((name) => name !== undefined);
  if (sa.text("esn") === "1") said.push("ESN");
  return said.length === 0 ? undefined : said.join("/");
}

function childState(child: ViciSection): ChildSaState {
  return defined<ChildSaState>({
    "unique-id": child.number("uniqueid") ?? 0,
    child: child.text("name") ?? "",
    state: child.text("state") ?? "",
    mode: child.text("mode")?.toLowerCase(),
    "spi-in": child.text("spi-in"),
    "spi-out": child.text("spi-out"),
    algorithms: algorithms(child),
    "local-ts": child.texts("local-ts"),
    "remote-ts": child.texts("remote-ts"),
    "bytes-in": child.text("bytes-in"),
    "bytes-out": child.text("bytes-out"),
    "packets-in": child.text("packets-in"),
    "packets-out": child.text("packets-out"),
    installed: child.number("install-time"),
  });
}

/** The IKE_SAs of a `list-sa` event. */
export function ikeSas(event: ViciSection): IkeSaState[] {
  return [...event.sections].map(([connection, sa]) =>
    defined<IkeSaState>({
      "unique-id": sa.number("uniqueid") ?? 0,
      connection,
      state: sa.text("state") ?? "",
      "local-host": host(sa, "local"),
      "local-id": sa.text("local-id"),
      "remote-host": host(sa, "remote"),
      "remote-id": sa.text("remote-id"),
      "remote-virtual-ip": sa.texts("remote-vips"),
      algorithms: algorithms(sa),
      established: sa.number("established"),
      "rekey-time": sa.number("rekey-time"),
      "child-sa": [...sa.section("child-sas").sections.values()].map(childState),
    }),
  );
}
