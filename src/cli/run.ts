// `vita run`: brings a node up and keeps it up until SIGTERM or SIGINT. SIGHUP has it read its configuration's file again.

import { Command } from "commander";
import type { Configuration } from "../config/configuration.js";
import { makeLogger } from "../gateway/log.js";

const polling = (configuration: Configuration) => ({ ...configuration, "busy-poll": true });

export function runCommand(): Command {
  return new Command("run")
    .description("run a node in the foreground: workers, and the kernel that charon talks to")
    .requiredOption("-c, --config <file>", "configuration, JSON")
    .option("--busy-poll", "workers never sleep, whatever the configuration says: a core each, for latency")
    .action(async ({ config, busyPoll }: { config: string; busyPoll?: boolean }) => {
      if (process.getuid?.() !== 0)
        throw new Error(
          "vita run needs root: it opens raw sockets, TUN devices and XDP programs (try: sudo vita run …)",
        );
      const log = makeLogger("vita");
      // Asked to end while it begins, it ends when it has begun; and what it is asked to read, it is about to read.
      let stop = () => {};
      const ended = new Promise<void>((resolve) => {
        stop = resolve;
      });
      process.once("SIGTERM", stop);
      process.once("SIGINT", stop);
      let reload = () => {};
      process.on("SIGHUP", () => reload());
      // No other command needs a whole gateway, and it takes a while to load.
      const { Node } = await import("../gateway/node.js");
      const node = await Node.start({ file: config, ...(busyPoll && { adjust: polling }), logger: log });
      reload = () => void node.reload();
      const isOver = await Promise.race([ended.then(() => false), node.over.then(() => true)]);
      log.info("stopping");
      await node.stop();
      if (isOver) process.exitCode = 1;
    });
}
