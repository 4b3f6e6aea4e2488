// The configuration of a node, as a JSON document: what may stand in it, and what it means when it is left out. Errors
// name the place as a path, the value and what was expected: `/public-interface/0/name: "" is not an interface name`.

import { z } from "zod";
import { MAX_WORKERS } from "../ipsec/sad-layout.js";
import { count, interfaceName, LARGEST_PREFERENCE, routeTable } from "./leaves.js";
import { checkOwned, ownedLeaves } from "./owned.js";

/** 1 GiB: addresses of the frames, and of what lies behind them, are 31-bit numbers. */
const MOST_FRAMES = 524_288;

const nodeName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    "is not a node name: letters, digits, '.', '_' and '-', at most 63",
  );

const publicInterface = z.strictObject({
  /** Network device on the side where ESP goes. */
  name: interfaceName,
  /** How packets are taken from it: `xdp` (AF_XDP), or `packet` (AF_PACKET) where XDP is not to be had. */
  driver: z.enum(["xdp", "packet"]).default("xdp"),
  /** Who owns the interface: `shared` leaves it to the kernel, Vita takes ESP only; `owned` is Vita's alone. */
  mode: z.enum(["shared", "owned"]).default("shared"),
  ...ownedLeaves,
  "xdp-mode": z.enum(["auto", "native", "generic"]).default("auto"),
  "zero-copy": z.enum(["auto", "on", "off"]).default("auto"),
});

/** A 32-bit number: as such, or as text the way strongSwan writes them, decimal or hexadecimal. */
const number32 = z
  .union(
    [
      z.int().min(0).max(0xffffffff),
      z
        .string()
        .regex(/^(0x[0-9a-fA-F]{1,8}|\d{1,10})$/)
        .transform(Number),
    ],
    {
      error: 'is not a number from 0 to 4294967295 ("0x2a" will do)',
    },
  )
  .refine((value) => value <= 0xffffffff, 'is not a number from 0 to 4294967295 ("0x2a" will do)');

const privateInterface = z.strictObject({
  /** Network device on the side that is protected; for `tun`, the device to be made. */
  name: interfaceName,
  driver: z.enum(["xdp", "packet", "tun"]).default("xdp"),
  "xdp-mode": z.enum(["auto", "native", "generic"]).default("auto"),
  "zero-copy": z.enum(["auto", "on", "off"]).default("auto"),
  /** `tun` only: bytes of IP packet. */
  mtu: count(1280, 1700).default(1400),
  /** Interface id that the interface is bound to, as an xfrm interface is on Linux; 0 for none. */
  "if-id": number32.default(0),
  /** Mark of the packets that come from it; 0 for none. */
  mark: number32.default(0),
  /** Interface id and mark of the SAs whose packets go to it, where charon's differ by direction. */
  "if-id-in": number32.optional(),
  "mark-in": number32.optional(),
});

export const configurationModel = z
  .strictObject({
    node: nodeName,
    "public-interface": z.array(publicInterface).min(1).max(16),
    "private-interface": z.array(privateInterface).min(1).max(30),
    /** Worker processes. */
    workers: count(1, MAX_WORKERS).default(1),
    /** Crypto engine: `auto` takes libIPSec_MB where it can be had. */
    engine: z.enum(["auto", "ipsec-mb", "node"]).default("auto"),
    /** Workers never sleep: a packet waits for no wake-up, and each worker takes a core, with or without traffic. */
    "busy-poll": z.boolean().default(false),
    /** Kernel routing table for the routes that send protected traffic of this host to the TUN device. */
    "route-table": routeTable(LARGEST_PREFERENCE).default(221),
    /** The same for traffic that is protected in transport mode. */
    "transport-route-table": routeTable(0x7fffffff).default(223),
    limits: z
      .strictObject({
        /** Seconds for which the SAs and policies of a charon that went away are kept. */
        "orphan-seconds": count(1, 86_400).default(180),
        /** Security associations, both directions counted. */
        sas: count(2, 524_288).default(65_536),
        /** Policy entries. */
        policies: count(2, 1_048_576).default(131_072),
        /** Frames of packet memory a worker has, 2 KiB each. */
        frames: count(1024, 262_144).default(16_384),
      })
      .prefault({}),
  })
  .superRefine((configuration, context) => {
    const { workers, limits } = configuration;
    if (workers * limits.frames > MOST_FRAMES)
      context.addIssue({
        code: "custom",
        path: ["limits", "frames"],
        message: `is too much for ${workers} workers: together at most ${MOST_FRAMES}`,
        input: limits.frames,
      });
    configuration["public-interface"].forEach(({ mode }, i) => {
      if (mode === "owned" && workers > 1)
        context.addIssue({
          code: "custom",
          path: ["public-interface", i, "mode"],
          message:
            "needs /workers 1: what an owned interface hears of its neighbours, one worker alone can hear",
          input: mode,
        });
    });
    const names = new Map<string, string>();
    for (const side of ["public-interface", "private-interface"] as const)
      configuration[side].forEach(({ name }, i) => {
        const first = names.get(name);
        if (first)
          context.addIssue({
            code: "custom",
            path: [side, i, "name"],
            message: `is already at ${first}`,
            input: name,
          });
        names.set(name, `/${side}/${i}/name`);
      });
    checkOwned(configuration, (path, message, input) =>
      context.addIssue({ code: "custom", path, message, input }),
    );
    const tuns = configuration["private-interface"].filter(({ driver }) => driver === "tun").length;
    if (tuns > 1)
      context.addIssue({
        code: "custom",
        path: ["private-interface"],
        message: "has more than one tun device",
        input: tuns,
      });
  });

export type Configuration = z.output<typeof configurationModel>;
export type PublicInterface = Configuration["public-interface"][number];
export type PrivateInterface = Configuration["private-interface"][number];
