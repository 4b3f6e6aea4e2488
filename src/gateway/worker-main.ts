// The worker process. The supervisor starts it as `node worker-main.js NODE INDEX`, with `spare` behind it for
// one that waits to take another one's place.

import { runWorker } from "./worker.js";

runWorker(process.argv[2], Number(process.argv[3]), process.argv[4] === "spare");
