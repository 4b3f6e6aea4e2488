// Log lines of a gateway's processes: time, level and one line of text on stderr, written at once, so that a process
// that ends has said what it had to say.

import { writeSync } from "node:fs";

export interface Logger {
  info(text: string): void;
  warn(text: string): void;
}

export function makeLogger(name: string): Logger {
  const write = (level: string, text: string) => {
    try {
      writeSync(2, `${new Date().toISOString()} ${level} ${name}: ${text}\n`);
    } catch {
      // Nobody reads stderr any more; the work goes on.
    }
  };
  return { info: (text) => write("info", text), warn: (text) => write("warn", text) };
}
