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
