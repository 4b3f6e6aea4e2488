// The shape of a node's configuration once it has been checked: every default filled in, every list there, if empty, and
// numbers as numbers. The model is yang/vita-gateway.yang, whose descriptions hold here as well; leaves have its names.

export interface Configuration {
  node: string;
  "public-interface": PublicInterface[];
  "private-interface": PrivateInterface[];
  workers: number;
  "worker-cpu": number[];
  engine: "auto" | "ipsec-mb" | "node";
  "busy-poll": boolean;
  mtu?: number;
  "route-table": number;
  "transport-route-table": number;
  limits: { "orphan-seconds": number; sas: number; policies: number; frames: number };
  "data-plane": boolean;
  route: StaticRoute[];
  "inbound-sa": InboundSa[];
  "outbound-sa": StaticSa[];
  "security-policy": SecurityPolicy[];
  charon: { vici: string };
  connection: Connection[];
  pool: Pool[];
  secret: Secret[];
  authority: { id: string; "ca-certificate": string }[];
  restconf: { tcp?: RestconfTcp };
}

/** A configuration as an operator writes it: what is left out has its default, and some numbers may be text. */
export type WrittenConfiguration =
  Pick<Configuration, "node" | "public-interface" | "private-interface"> extends infer Needed
    ? { [Name in keyof Needed]: Written<Needed[Name]> } & Written<Configuration>
    : never;

type Written<Value> = Value extends (infer Entry)[]
  ? Written<Entry>[]
  : Value extends object
    ? { [Name in keyof Value]?: Written<Value[Name]> | undefined }
    : Value;

interface ReceiveDriver {
  "xdp-mode": "auto" | "native" | "generic";
  "zero-copy": "auto" | "on" | "off";
}

export interface PublicInterface extends ReceiveDriver {
  name: string;
  driver: "xdp" | "packet";
  mode: "shared" | "owned";
  address?: string[];
  gateway?: string[];
  punt?: { device: string; traffic: "ike" | "all"; "route-table": number };
}

export interface PrivateInterface extends ReceiveDriver {
  name: string;
  driver: "xdp" | "packet" | "tun";
  mtu: number;
  "if-id": number;
  mark: number;
  "if-id-in"?: number;
  "mark-in"?: number;
}

/** `/route`. */
export interface StaticRoute {
  id: string;
  net: string[];
  "local-net": string[];
  gateway: { ip: string };
  "local-ip"?: string;
  "if-id": number;
  mark: number;
  /** Decimal digits: it has 64 bits. */
  "controller-reqid"?: string;
}

export type Aead =
  | "aes-gcm-16-icv"
  | "aes-256-gcm-16-icv"
  | "chacha20-poly1305"
  | "aes-cbc-hmac-sha2-256-128"
  | "aes-cbc-hmac-sha2-384-192"
  | "aes-cbc-hmac-sha2-512-256";

/** `/outbound-sa`, and what `/inbound-sa` has in common with it. */
export interface StaticSa {
  spi: number;
  route: string;
  aead: Aead;
  /** Hexadecimal digits, as the two behind it. */
  key: string;
  salt?: string;
  "integrity-key"?: string;
  esn: boolean;
}

export interface InboundSa extends StaticSa {
  "replay-window": number;
}

export interface SecurityPolicy {
  id: string;
  action: "bypass" | "discard";
  "local-ts": string[];
  "remote-ts": string[];
  priority?: number;
  "if-id": number;
  mark: number;
}

export interface Authentication {
  auth: "psk" | "pubkey" | "eap-mschapv2" | "eap-tls" | "eap-identity";
  id?: string;
  "eap-id"?: string;
  certificate: string[];
  "public-key": string[];
}

export interface Connection {
  id: string;
  "local-address": string[];
  "remote-address": string[];
  "local-port"?: number;
  "remote-port"?: number;
  proposal: string[];
  local: Authentication & { "private-key"?: string };
  remote: Authentication & { "ca-certificate": string[] };
  "pre-shared-key"?: string;
  "virtual-ip": string[];
  pool: string[];
  encapsulation: boolean;
  mobike: boolean;
  "dpd-delay"?: number;
  "rekey-time"?: number;
  "reauth-time"?: number;
  "over-time"?: number;
  keyingtries?: number;
  unique?: "never" | "no" | "keep" | "replace";
  fragmentation?: "yes" | "accept" | "force" | "no";
  "send-certificate"?: "always" | "ifasked" | "never";
  "if-id-in"?: number;
  "if-id-out"?: number;
  child: Child[];
}

export interface Child {
  id: string;
  "local-ts": string[];
  "remote-ts": string[];
  "esp-proposal": string[];
  mode: "tunnel" | "transport" | "pass" | "drop";
  "start-action": "none" | "trap" | "start" | "trap-start";
  "close-action": "none" | "trap" | "start";
  "dpd-action": "clear" | "trap" | "restart";
  "rekey-time"?: number;
  "life-time"?: number;
  "rand-time"?: number;
  /** Decimal digits: these have 64 bits. */
  "rekey-bytes"?: string;
  "life-bytes"?: string;
  "rekey-packets"?: string;
  "life-packets"?: string;
  "replay-window"?: number;
  reqid?: number;
  priority?: number;
  "mark-in"?: string;
  "mark-out"?: string;
  "if-id-in"?: number;
  "if-id-out"?: number;
}

export interface Pool {
  id: string;
  addresses: string;
  dns: string[];
}

export interface Secret {
  id: string;
  type: "ike" | "eap";
  identity: string[];
  data: string;
}

export interface RestconfTcp {
  address: string;
  port: number;
  certificate: string;
  "private-key": string;
  "client-ca-certificate"?: string;
  "token-file"?: string;
}
