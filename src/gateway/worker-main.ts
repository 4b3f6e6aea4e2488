// The worker process. The supervisor starts it as `node worker-main.js NODE INDEX`, with `spare` behind it for one that
// waits to take another one's place, and `next` for one that works by the configuration that is to come.

import { runWorker } from "./worker.js";

const [, , node, index, ...words] = process.argv;
const file = words.includes("next") ? "next.json" : "config.json";
runWorker(node, Number(index), words.includes("spare"), file);
