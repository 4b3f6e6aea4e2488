// `vita config import-vita FILE`: a configuration of the Vita in Lua (vita-esp-gateway, in any of its spellings) as one of
// ours. Its routes with a pre-shared key become IKEv2 connections; with `data-plane true` they stay routes with static SAs.

import { readdirSync } from "node:fs";
import { Command } from "commander";
import { CliError, EXIT_USAGE } from "./exit-codes.js";
import { readFile } from "./input.js";
import { parseStatements, type Statement, StatementError } from "./statements.js";
import { writePrivate } from "./write-private.js";

interface Flags {
  readonly node: string;
  readonly private?: string;
  readonly public?: string;
  readonly output?: string;
}

export interface Import {
  /** RFC 7951, without module prefix at its top. */
  readonly configuration: Record<string, unknown>;
  /** What the operator has to see to. */
  readonly notes: readonly string[];
}

export function importVitaCommand(): Command {
  return new Command("import-vita")
    .description("turns a configuration of the Vita in Lua into one of ours, on standard output")
    .argument("<file>", "- for standard input")
    .requiredOption("--node <name>", "name of the node")
    .option("--private <device>", "private interface; otherwise the device with the PCI address in the file")
    .option("--public <device>", "public interface; otherwise the device with the PCI address in the file")
    .option("-o, --output <file>", "writes it to a file that only its owner can read")
    .action((file: string, flags: Flags) => {
      const text = readFile(file);
      let result: Import;
      try {
        result = importVita(text, { ...flags, deviceOf });
      } catch (error) {
        if (!(error instanceof StatementError) && !(error instanceof CliError)) throw error;
        throw new CliError(`${file}: ${error.message}`, EXIT_USAGE);
      }
      const json = `${JSON.stringify(result.configuration, null, 2)}\n`;
      if (flags.output) writePrivate(flags.output, json);
      else process.stdout.write(json);
      for (const note of result.notes) process.stderr.write(`note: ${note}\n`);
    });
}

/** Name of the network device with a PCI address, if the kernel has it. */
function deviceOf(pci: string): string | undefined {
  const address = /^[0-9a-f]{4}:/i.test(pci) ? pci : `0000:${pci}`;
  try {
    return readdirSync(`/sys/bus/pci/devices/${address.toLowerCase()}/net`)[0];
  } catch {
    return undefined;
  }
}

/** The statements of a block by name; `_` and `-` are the same, as the spelling changed over the years. */
class Block {
  readonly #statements: readonly Statement[];
  readonly #used = new Set<Statement>();

  constructor(statements: readonly Statement[]) {
    this.#statements = statements;
  }

  #named(names: readonly string[]): Statement[] {
    const found = this.#statements.filter(({ name }) => names.includes(name.replaceAll("_", "-")));
    for (const statement of found) this.#used.add(statement);
    return found;
  }

  value(...names: string[]): string | undefined {
    return this.#named(names).find(({ value }) => value !== undefined)?.value;
  }

  blocks(...names: string[]): Block[] {
    return this.#named(names)
      .filter(({ block }) => block !== undefined)
      .map(({ block }) => new Block(block ?? []));
  }

  /** What nobody asked for. */
  get rest(): string[] {
    return [
      ...new Set(this.#statements.filter((statement) => !this.#used.has(statement)).map(({ name }) => name)),
    ];
  }
}

/**
 * @param text of the file
 * @throws StatementError, CliError
 */
export function importVita(
  text: string,
  options: { node: string; private?: string; public?: string; deviceOf: (pci: string) => string | undefined },
): Import {
  const notes: string[] = [];
  const top = new Block(parseStatements(text));
  const inner = importInterface(top, "private", options.private, options.deviceOf, notes);
  const outer = importInterface(top, "public", options.public, options.deviceOf, notes);
  const isDataPlane = top.value("data-plane") === "true";
  const configuration: Record<string, unknown> = {
    node: options.node,
    "public-interface": [{ name: outer.name }],
    "private-interface": [{ name: inner.name }],
  };
  const mtu = top.value("mtu", "private-mtu");
  if (mtu !== undefined) configuration["mtu"] = Number(mtu);
  const ttl = top.value("sa-ttl");
  const routes = top.blocks("route", "route4", "route46", "route6");
  if (isDataPlane) {
    configuration["data-plane"] = true;
    configuration["route"] = routes.map((route) => importRoute(route, outer.ip));
    for (const list of ["inbound-sa", "outbound-sa"]) configuration[list] = top.blocks(list).map(importSa);
  } else {
    configuration["connection"] = routes.map((route) => importConnection(route, outer.ip, ttl));
    if (top.blocks("inbound-sa", "outbound-sa").length > 0)
      notes.push("static SAs are left out: without data-plane, keys are negotiated");
    if (routes.length > 0)
      notes.push(
        "both ends must be imported: IKEv2 with pre-shared keys takes the place of Vita's own key exchange",
      );
  }
  // Its key exchange is not ours, and what it retransmits is charon's affair.
  top.value("negotiation-ttl");
  for (const name of top.rest) notes.push(`${name} has no counterpart and is left out`);
  return { configuration, notes };
}

function importInterface(
  top: Block,
  side: "private" | "public",
  device: string | undefined,
  deviceOf: (pci: string) => string | undefined,
  notes: string[],
): { name: string; ip: string | undefined } {
  const [block = new Block([])] = top.blocks(`${side}-interface`, `${side}-interface4`, `${side}-interface6`);
  const pci = block.value("pci", "pciaddr");
  const name = device ?? (pci === undefined ? undefined : deviceOf(pci));
  if (name === undefined)
    throw new CliError(
      `the ${side} interface ${pci === undefined ? "has no PCI address" : `at ${pci} is no network device of the kernel's`}: name it with --${side}`,
      EXIT_USAGE,
    );
  const ip = block.value("ip", "ip4", "ip6") ?? top.value(`${side}-ip4`, `${side}-ip6`);
  const nextHop =
    block.value("nexthop-ip", "nexthop-ip4", "nexthop-ip6") ??
    top.value(`${side}-nexthop-ip4`, `${side}-nexthop-ip6`);
  if (ip !== undefined || nextHop !== undefined)
    notes.push(
      `${name} keeps its addresses and routes in the kernel: see that it has ${[ip && `the address ${ip}`, nextHop && `routes by ${nextHop}`].filter(Boolean).join(" and ")}`,
    );
  block.value("mac", "macaddr");
  block.value("nexthop-mac");
  for (const leaf of block.rest) notes.push(`${side}-interface/${leaf} has no counterpart and is left out`);
  return { name, ip };
}

/** What all routes have. */
function routeLeaves(route: Block): { id: string; net: string; gateway: string; key: string | undefined } {
  const id = route.value("id");
  if (id === undefined) throw new CliError("a route has no id", EXIT_USAGE);
  const net = route.value("net", "net-cidr4", "net-cidr6");
  const [block] = route.blocks("gateway");
  const gateway = block?.value("ip", "ip4", "ip6") ?? route.value("gw-ip4", "gw-ip6");
  if (net === undefined || gateway === undefined)
    throw new CliError(`route ${id} has no ${net === undefined ? "net" : "gateway"}`, EXIT_USAGE);
  route.value("spi");
  return { id, net, gateway, key: route.value("preshared-key") };
}

function importRoute(route: Block, localIp: string | undefined): object {
  const { id, net, gateway } = routeLeaves(route);
  return {
    id,
    net: [net],
    gateway: { ip: gateway },
    ...(localIp === undefined ? {} : { "local-ip": localIp }),
  };
}

function importConnection(route: Block, localIp: string | undefined, ttl: string | undefined): object {
  const { id, net, gateway, key } = routeLeaves(route);
  if (key === undefined) throw new CliError(`route ${id} has no preshared-key`, EXIT_USAGE);
  const any = net.includes(":") ? "::/0" : "0.0.0.0/0";
  return {
    id,
    ...(localIp === undefined ? {} : { "local-address": [localIp] }),
    "remote-address": [gateway],
    ...(localIp === undefined ? {} : { local: { id: localIp } }),
    remote: { id: gateway },
    "pre-shared-key": `0x${key.replace(/\s/g, "")}`,
    child: [
      {
        id: "net",
        // Narrowed by the peer to what it has as its net.
        "local-ts": [any],
        "remote-ts": [net],
        "start-action": "trap",
        ...(ttl === undefined
          ? {}
          : { "life-time": Number(ttl), "rekey-time": Math.floor(Number(ttl) * 0.9) }),
      },
    ],
  };
}

function importSa(sa: Block): object {
  const leaf = (name: string) => sa.value(name);
  const queue = leaf("queue");
  return {
    spi: Number(leaf("spi")),
    ...(queue === undefined ? {} : { queue: Number(queue) }),
    route: leaf("route"),
    aead: leaf("aead"),
    key: leaf("key")?.replace(/\s/g, ""),
    salt: leaf("salt")?.replace(/\s/g, ""),
  };
}
