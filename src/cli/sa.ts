// `vita sa NODE`: the security associations, in the manner of `ip xfrm state`. Keys are never shown.

import { Command } from "commander";
import { readState } from "../gateway/state.js";

export function saCommand(): Command {
  return new Command("sa")
    .description("security associations of a node")
    .argument("<node>")
    .option("--json", "as a JSON array")
    .action((node: string, { json }: { json?: boolean }) => {
      const { sas } = readState(node);
      if (json) {
        process.stdout.write(`${JSON.stringify(sas)}\n`);
        return;
      }
      const lines = sas.flatMap((sa) => [
        `src ${sa.src} dst ${sa.dst}`,
        `  spi 0x${sa.spi} ${sa.direction} reqid ${sa.reqid} mode ${sa.mode} ${sa.algorithm}${sa.esn ? " esn" : ""}` +
          `${sa.direction === "in" ? ` replay-window ${sa.replayWindow}` : ""} ${sa.state}`,
        ...identityLine(sa),
        `  ${sa.srcSelectors.join(" ")} => ${sa.dstSelectors.join(" ")}`,
        `  ${sa.packets} packets, ${sa.bytes} bytes, sequence ${sa.sequence}, age ${sa.ageSeconds} s, ` +
          `${sa.idleSeconds === null ? "never used" : `used ${sa.idleSeconds} s ago`}`,
      ]);
      if (lines.length > 0) process.stdout.write(`${lines.join("\n")}\n`);
    });
}

/** Mark and interface id, where there are any. */
export function identityLine(sa: { mark: string | null; ifId: number; setMark?: string | null }): string[] {
  const words = [
    ...(sa.mark === null ? [] : [`mark ${sa.mark}`]),
    ...(sa.ifId === 0 ? [] : [`if_id ${sa.ifId} (0x${sa.ifId.toString(16)})`]),
    ...(sa.setMark ? [`set_mark ${sa.setMark}`] : []),
  ];
  return words.length === 0 ? [] : [`  ${words.join(" ")}`];
}
