// `vita run`: brings a node up and keeps it up until SIGTERM or SIGINT.

import { Command } from "commander";
import { loadConfiguration } from "../config/load.js";
import { makeLogger } from "../gateway/log.js";
import { Supervisor } from "../gateway/supervisor.js";

export function runCommand(): Command {
  return new Command("run")
    .description("run a node in the foreground: workers, and the kernel that charon talks to")
    .requiredOption("-c, --config <file>", "configuration, JSON")
    .option("--busy-poll", "workers never sleep, whatever the configuration says: a core each, for latency")
    .action(async ({ config, busyPoll }: { config: string; busyPoll?: boolean }) => {
      const written = loadConfiguration(config);
      const configuration = busyPoll ? { ...written, "busy-poll": true } : written;
      if (process.getuid?.() !== 0)
        throw new Error(
          "vita run needs root: it opens raw sockets, TUN devices and XDP programs (try: sudo vita run …)",
        );
      const log = makeLogger("vita");
      // Asked to end while it begins, it ends when it has begun.
      let stop = () => {};
      const ended = new Promise<void>((resolve) => {
        stop = resolve;
      });
      process.once("SIGTERM", stop);
      process.once("SIGINT", stop);
      const supervisor = await Supervisor.start(configuration, log);
      const isOver = await Promise.race([ended.then(() => false), supervisor.over.then(() => true)]);
      log.info("stopping");
      await supervisor.stop();
      if (isOver) process.exitCode = 1;
    });
}
