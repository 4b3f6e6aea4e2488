// What V8 tells of the code that it has made (`--perf-prof`): which function an address belongs to, and from which line the
// instruction was made. Of what was compiled into another function that is its own line, but the other one's file (V8 11);
// where modules have lines of their own (line-profile.ts), the line says it all. The format is perf's
// (jitdump-specification.txt): records of code, and before each one that has lines a record of these.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A function's code as it was made once. */
export interface Code {
  readonly address: number;
  readonly size: number;
  /** As V8 says it: kind, name of the function, URL, line and column. */
  readonly name: string;
  /** Where parts of it begin, ascending, and the line from which each part was made. */
  readonly starts: readonly number[];
  readonly lines: readonly number[];
}

const HEADER_SIZE_AT = 8;
const RECORD_HEADER = 16;
const CODE_LOAD = 0;
const CODE_DEBUG_INFO = 2;
/** There are kinds of records from 0 to this. */
const LAST_KIND = 4;
/** In ns, what the records' time is in. */
const MINUTE = 60e9;
const FARTHEST_END = 16;
/** V8 counts lines' addresses from where perf will put a header of an ELF file. */
const ELF_HEADER = 0x40;

/** The file that a process with `--perf-prof` has made in its directory. */
export function jitDumpIn(directory: string): Buffer {
  const file = readdirSync(directory).find((name) => /^jit-\d+\.dump$/.test(name));
  if (file === undefined)
    throw new Error(
      "V8 has written no record of its code (--perf-prof); is the directory for temporary files noexec?",
    );
  return readFileSync(join(directory, file));
}

/**
 * Where a record ends: where its length says, or, because V8 14 pads some of lines with a few bytes more or less than it says, at the
 * next place with which a record of about the same time can begin.
 */
function endOfRecord(dump: Buffer, told: number, time: number): number {
  for (let distance = 0; distance <= FARTHEST_END; distance++)
    for (const at of [told - distance, told + distance]) {
      if (at + RECORD_HEADER > dump.length) continue;
      const later = Number(dump.readBigUInt64LE(at + 8)) - time;
      if (dump.readUInt32LE(at) <= LAST_KIND && later >= 0 && later < MINUTE) return at;
    }
  return told;
}

/** Reads all code of a dump, in the order in which it was made. What is incomplete at the end is left out. */
export function readJitDump(dump: Buffer): Code[] {
  const codes: Code[] = [];
  let starts: number[] = [];
  let lines: number[] = [];
  let linesOf = -1;
  const textAt = (at: number) => dump.toString("latin1", at, dump.indexOf(0, at));
  const numberAt = (at: number) => Number(dump.readBigUInt64LE(at));
  for (
    let at = dump.length >= 12 ? dump.readUInt32LE(HEADER_SIZE_AT) : 0;
    at + RECORD_HEADER <= dump.length;
  ) {
    const id = dump.readUInt32LE(at);
    const length = dump.readUInt32LE(at + 4);
    if (length < RECORD_HEADER || at + length > dump.length) break;
    const body = at + RECORD_HEADER;
    const end = endOfRecord(dump, at + length, numberAt(at + 8));
    if (id === CODE_DEBUG_INFO) {
      linesOf = numberAt(body);
      starts = [];
      lines = [];
      let entry = body + 16;
      for (let left = numberAt(body + 8); left > 0 && entry + 16 < end; left--) {
        // Address, line, column, and the file's name.
        starts.push(numberAt(entry) - ELF_HEADER);
        lines.push(dump.readUInt32LE(entry + 8));
        entry = dump.indexOf(0, entry + 16) + 1;
      }
    } else if (id === CODE_LOAD) {
      const address = numberAt(body + 16);
      const known = linesOf === address ? { starts, lines } : { starts: [], lines: [] };
      codes.push({ address, size: numberAt(body + 24), name: textAt(body + 40), ...known });
      linesOf = -1;
    }
    at = end;
  }
  return codes;
}

/** The code that an address belongs to; where one took another's place, the last one. */
export function codeAt(codes: readonly Code[], address: number): Code | undefined {
  return codes.findLast((code) => code.address <= address && address < code.address + code.size);
}

/** The line from which an instruction was made; of what is in front of the first one, that one. */
export function lineAt({ starts, lines }: Code, address: number): number | undefined {
  return lines[
    Math.max(
      0,
      starts.findLastIndex((start) => start <= address),
    )
  ];
}
