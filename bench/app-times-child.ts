// A contender that times apps: `app-times-child.js SIZE CIPHER`; asked for a number of rounds it answers with an
// AppTimesResult. In a process of its own for each size, because V8 compiles an app best when there is one of it.

import { parseCipher } from "./ciphers.js";
import { answerRounds } from "./contender.js";
import { giveLines } from "./line-profile.js";
import { parseSize } from "./sizes.js";

const [size = "", cipher = ""] = process.argv.slice(2);
giveLines();
const { AppTimes } = await import("./app-times.js");
const times = new AppTimes(parseSize(size), parseCipher(cipher));
answerRounds((rounds) => times.measure(rounds), 1);
