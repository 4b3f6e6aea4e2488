// The worker process. The supervisor starts it as `node worker-main.js NODE INDEX`.

import { runWorker } from "./worker.js";

runWorker(process.argv[2], Number(process.argv[3]));
