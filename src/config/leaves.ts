// Leaves that stand in more than one place of the configuration.

import { z } from "zod";

/** Linux: at most 15 bytes, no slash, no white space; and not "." or "..". */
export const interfaceName = z
  .string()
  .refine(
    (name) => /^[^\s/:]{1,15}$/.test(name) && Buffer.byteLength(name) <= 15 && name !== "." && name !== "..",
    "is not an interface name: 1 to 15 bytes without white space, '/' and ':'",
  );

export const count = (min: number, max: number) => z.int().min(min).max(max);

/**
 * A routing table of the kernel's that is Vita's alone: its routes are flushed in the end. 253 to 255 are the system's own:
 * default, main and local.
 */
export const routeTable = (max: number) =>
  count(1, max).refine(
    (table) => table < 253 || table > 255,
    "is a table of the system's own (default, main or local), and Vita needs one to itself",
  );

/** The largest number for tables whose number is the preference of rules too: these must stand before the main table's. */
export const LARGEST_PREFERENCE = 32_764;
