// A charon of one's own in a namespace: configuration files in the lab's directory, its own vici socket, driven with
// swanctl like any other charon. Under it either Vita (plugin kernel-vita) or strongSwan's own user-space ESP
// (kernel-libipsec), which serves as a peer.

import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { run, until } from "./command.js";
import type { Lab } from "./lab.js";
import type { Child } from "./process.js";
import { connectionSection, swanctlFile } from "./swanctl.js";
import { parseViciText, section, text } from "./vici-text.js";

export type System = "vita" | "libipsec";

/** One site-to-site connection, as one side sees it. */
export interface Connection {
  localId: string;
  remoteId: string;
  localAddress: string;
  remoteAddress: string;
  /** Selectors: prefixes or addresses. */
  localSelectors: string[];
  remoteSelectors: string[];
  preSharedKey: string;
  ikeProposals: string;
  /** Without them charon has its own. */
  espProposals?: string;
  /** Force ESP in UDP, as kernel-libipsec needs it. */
  encapsulate?: boolean;
  /** Further lines for the connection, and for its child. */
  extra?: string[];
  childExtra?: string[];
}

export interface CharonOptions {
  /** Names its files and its log. */
  name: string;
  namespace: string;
  system: System;
  /** Vita's socket for kernel-vita. */
  vitaSocket?: string;
  /** One connection, or a whole swanctl.conf; without either charon is left as empty as it starts. */
  connection?: Connection | string;
  /** Plugins besides those that pre-shared keys need. */
  plugins?: string[];
  /** Further lines of `charon-systemd { }` in strongswan.conf. */
  settings?: string[];
  /** A folder with a Debian of its own, whose charon is run instead of this machine's. */
  root?: string;
}

/** A CHILD_SA as `swanctl --list-sas` tells it. */
export interface ChildSa {
  /** Of its configuration. */
  name: string;
  /** Of the IKE_SA. */
  ikeUniqueId: string;
  uniqueId: string;
  state: string;
  spiIn: string;
  spiOut: string;
  bytesIn: number;
  bytesOut: number;
  packetsIn: number;
  packetsOut: number;
  /** Seconds since its last packet, each way; undefined when there was none. */
  idleIn: number | undefined;
  idleOut: number | undefined;
  encapsulated: boolean;
  esn: boolean;
  algorithm: string;
}

export const connectionName = "site";
export const childName = "net";

// AppArmor profiles, which Debian installs with strongSwan, go by the path of a program and let it read only the
// system's own configuration. A copy under another path is free of them, whether or not AppArmor is there.
function ownCopy(lab: Lab, program: string): string {
  const copy = lab.path("bin", program.slice(program.lastIndexOf("/") + 1));
  if (!existsSync(copy)) {
    mkdirSync(lab.path("bin"), { recursive: true });
    copyFileSync(program, copy);
    chmodSync(copy, 0o755);
  }
  return copy;
}

/**
 * The command line that runs charon in a folder of its own. All that the two worlds share is the lab's directory, under its
 * own name; the mounts are of this process alone and go with it. Every step replaces itself, so that the pid stays.
 */
function inRoot(lab: Lab, root: string, program: string): [string, string[]] {
  const script = [
    "set -e",
    'mount -t tmpfs none "$1/run"',
    'mkdir -p "$1$2"',
    'mount --bind "$2" "$1$2"',
    'mount --rbind /dev "$1/dev"',
    'mount -t proc none "$1/proc"',
    'exec chroot "$1" "$3"',
  ].join("\n");
  return ["unshare", ["--mount", "sh", "-c", script, "sh", root, lab.directory, program]];
}

function strongswanConf(options: CharonOptions, viciUri: string): string {
  // The first provider of an ESP backend wins; `!` makes charon refuse to start rather than fall back to the kernel's.
  const backend = options.system === "vita" ? "kernel-vita!" : "kernel-libipsec!";
  return `charon-systemd {
  load_modular = no
  load = random nonce openssl curve25519 hmac kdf ${backend} kernel-netlink socket-default vici ${(options.plugins ?? []).join(" ")}
  install_virtual_ip = no
  ${(options.settings ?? []).join("\n  ")}
  plugins {
    vici {
      socket = ${viciUri}
    }
    kernel-vita {
      socket = ${options.vitaSocket ?? ""}
    }
  }
  journal {
    default = -1
  }
  filelog {
    stderr {
      time_format = %T
      time_add_ms = yes
      flush_line = yes
      default = 1
    }
  }
}
`;
}

/** A whole swanctl.conf with this one connection. */
export function swanctlConf(c: Connection): string {
  const connection = connectionSection({
    name: connectionName,
    local: { address: c.localAddress, id: c.localId },
    remote: { address: c.remoteAddress, id: c.remoteId },
    proposals: c.ikeProposals,
    lines: [`encap = ${c.encapsulate ? "yes" : "no"}`, ...(c.extra ?? [])],
    children: {
      [childName]: [
        `local_ts = ${c.localSelectors.join(",")}`,
        `remote_ts = ${c.remoteSelectors.join(",")}`,
        ...(c.espProposals === undefined ? [] : [`esp_proposals = ${c.espProposals}`]),
        ...(c.childExtra ?? []),
      ],
    },
  });
  return swanctlFile([connection], c.preSharedKey, [c.localId, c.remoteId]);
}

function textOf(connection: Connection | string): string {
  return typeof connection === "string" ? connection : swanctlConf(connection);
}

function seconds(value: string): number | undefined {
  return value === "" ? undefined : Number(value);
}

/** True when somebody answers at a UNIX socket; the file alone is there a moment earlier. */
function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const answer = (value: boolean) => {
      socket.destroy();
      resolve(value);
    };
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
  });
}

export class Charon {
  /** The daemon; its log is charon's. */
  readonly process: Child;
  /** Where `swanctl --uri` reaches it. */
  readonly uri: string;
  readonly #program: string;
  readonly #swanctlConf: string;

  private constructor(process: Child, uri: string, program: string, swanctlConfPath: string) {
    this.process = process;
    this.uri = uri;
    this.#program = program;
    this.#swanctlConf = swanctlConfPath;
  }

  /** Where the charon of this name has its vici socket. */
  static viciUri(lab: Lab, name: string): string {
    return `unix://${join(lab.path(name), "vici.sock")}`;
  }

  /** Starts charon and loads its configuration. With Vita, Vita's socket must be there. */
  static async start(lab: Lab, options: CharonOptions): Promise<Charon> {
    const directory = lab.path(options.name);
    mkdirSync(directory, { recursive: true });
    const viciSocket = join(directory, "vici.sock");
    const uri = Charon.viciUri(lab, options.name);
    const conf = join(directory, "strongswan.conf");
    const swanctl = join(directory, "swanctl.conf");
    writeFileSync(conf, strongswanConf(options, uri));
    if (options.connection !== undefined) writeFileSync(swanctl, textOf(options.connection), { mode: 0o600 });
    const program = "/usr/sbin/charon-systemd";
    const [command, args] =
      options.root === undefined ? [ownCopy(lab, program), []] : inRoot(lab, options.root, program);
    const child = lab.start(command, args, {
      name: `${options.name}-charon`,
      namespace: options.namespace,
      env: { ...process.env, STRONGSWAN_CONF: conf },
    });
    const charon = new Charon(child, uri, ownCopy(lab, "/usr/sbin/swanctl"), swanctl);
    await until(
      `${options.name}: charon's vici socket`,
      () => {
        child.assertRunning();
        return accepts(viciSocket);
      },
      10_000,
      10,
    );
    if (options.connection !== undefined) await charon.load();
    return charon;
  }

  /** Waits until somebody else, Vita, has told it its connections. */
  async untilConfigured(timeout = 10_000): Promise<void> {
    const hasConnections = async () => (await this.swanctl("--list-conns")).trim() !== "";
    await until("charon's connections", hasConnections, timeout);
  }

  /** Runs `swanctl COMMAND ARGS` and returns what it prints; throws when it fails. */
  async swanctl(command: string, args: string[] = [], timeout = 30_000): Promise<string> {
    return (await run(this.#program, [command, "--uri", this.uri, ...args], { timeout })).stdout;
  }

  /** Loads (again) what the configuration file says, or a new configuration in its place. */
  async load(connection?: Connection | string): Promise<void> {
    if (connection !== undefined) writeFileSync(this.#swanctlConf, textOf(connection), { mode: 0o600 });
    await this.swanctl("--load-all", ["--clear", "--noprompt", "--file", this.#swanctlConf]);
  }

  /** Sets the CHILD_SA up, and the IKE_SA before it; throws when the peer does not agree. */
  async initiate(timeoutSeconds = 15, child = childName): Promise<void> {
    const seconds = String(timeoutSeconds);
    await this.swanctl("--initiate", ["--child", child, "--timeout", seconds], (timeoutSeconds + 5) * 1000);
  }

  /** Rekeys the CHILD_SA that is in use, and waits until another one has taken its place here. */
  async rekeyChild(timeout = 10_000): Promise<void> {
    const old = await until("a CHILD_SA to rekey", () => this.installed(), timeout);
    // By its id: by name, one that was rekeyed before and waits for its end would be asked as well.
    await this.swanctl("--rekey", ["--child-id", old.uniqueId]);
    await until(
      "the rekeyed CHILD_SA",
      async () => {
        const now = await this.installed();
        return now !== undefined && now.uniqueId !== old.uniqueId;
      },
      timeout,
    );
  }

  async rekeyIke(): Promise<void> {
    await this.swanctl("--rekey", ["--ike", connectionName]);
  }

  async terminate(): Promise<void> {
    await this.swanctl("--terminate", ["--ike", connectionName]);
  }

  /** Every CHILD_SA that charon knows, those that are on their way out included. */
  async childSas(): Promise<ChildSa[]> {
    const output = await this.swanctl("--list-sas", ["--raw", "--pretty"]);
    return parseViciText(output)
      .filter(({ name }) => name.startsWith("list-sa event"))
      .flatMap(({ body }) => Object.keys(body).map((name) => section(body, name)))
      .flatMap((ike) => {
        const children = section(ike, "child-sas");
        return Object.keys(children).map((name) => ({ ike, child: section(children, name) }));
      })
      .map(({ ike, child }) => ({
        name: text(child, "name"),
        ikeUniqueId: text(ike, "uniqueid"),
        uniqueId: text(child, "uniqueid"),
        state: text(child, "state"),
        spiIn: text(child, "spi-in"),
        spiOut: text(child, "spi-out"),
        bytesIn: Number(text(child, "bytes-in")),
        bytesOut: Number(text(child, "bytes-out")),
        packetsIn: Number(text(child, "packets-in")),
        packetsOut: Number(text(child, "packets-out")),
        idleIn: seconds(text(child, "use-in")),
        idleOut: seconds(text(child, "use-out")),
        encapsulated: text(child, "encap") === "yes",
        esn: text(child, "esn") === "1",
        algorithm: ["encr-alg", "encr-keysize", "integ-alg"]
          .map((name) => text(child, name))
          .filter((value) => value !== "")
          .join("-"),
      }));
  }

  /** The CHILD_SA in use, when there is exactly one that is installed. */
  async installed(): Promise<ChildSa | undefined> {
    const installed = (await this.childSas()).filter(({ state }) => state === "INSTALLED");
    return installed.length === 1 ? installed[0] : undefined;
  }
}
